"""The end of a run: the models are saved, or united in memory; then they are judged, as ``spex-shards check`` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..checking.conformance import Verdict
from ..domain.difference import in_order
from ..domain.specification import Specification, registered
from ..domain.transition import Transition
from ..errors import SpexError
from ..facade import check
from ..formats.model_files import SUFFIX
from ..manager.settings import load_specifications
from ..review.judging import Known, Reviewed, Stored, judged, without_model
from ..review.provenance import Tests, united_tests
from ..review.refining import Refined, related
from ..review.sidecar import read_tests
from ..testing.saving import Learned, Union, save, unite
from .settings import Mode, Settings

if TYPE_CHECKING:
    from ..cli.formats import Report
    from .gathering import Gathered


@dataclass(slots=True)
class Conclusion:
    """The result of a run.

    Attributes:
        mode: What was done.
        folder: The folder of models, as it is shown.
        failures: Why the session fails, in sentences; empty: it does not.
        notes: What else the reader should know, in sentences.
        report: The report that ``spex-shards check`` prints; None: there is no model.
        added: Specification → the transitions that are not in the model file (check), or were not before (update).
        gone: Specification → the transitions of the model file that a complete run did not show.
        left_out: Specification → the transitions that only failed tests showed.
        causes: Specification → the transitions that make its model a violation.
        tests: Specification → which tests showed its transitions first.
        partial: Why not all tests were run.
    """

    mode: Mode
    folder: str
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    report: Report | None = None
    added: dict[str, tuple[Transition, ...]] = field(default_factory=dict)
    gone: dict[str, tuple[Transition, ...]] = field(default_factory=dict)
    left_out: dict[str, tuple[Transition, ...]] = field(default_factory=dict)
    causes: dict[str, tuple[Transition, ...]] = field(default_factory=dict)
    tests: dict[str, Tests] = field(default_factory=dict)
    partial: Sequence[str] = ()


def conclude(settings: Settings, gathered: Gathered, *, partial: Sequence[str], whole: bool) -> Conclusion:
    """Save or unite the models, judge them, and write the report if one is asked for.

    Args:
        settings: The options of the run.
        gathered: What all tests showed.
        partial: Why not all tests were run.
        whole: Whether all tests were run and none failed.

    Returns:
        The result. What could not be done is among its failures.
    """
    result = Conclusion(settings.mode, _from_here(settings.folder), partial=partial)
    result.failures += [f"not everything could be observed: {problem}" for problem in gathered.problems]
    learned = Learned(
        transitions={name: tuple(steps) for name, steps in gathered.shown.items()},
        declarations={name: _class(gathered, name).declaration for name in gathered.classes if name in gathered.shown},
        shown=gathered.shown,
        ran=gathered.ran if whole else None,
    )
    try:
        named = load_specifications(settings.specifications)
    except ValueError as error:
        result.failures.append(str(error))
        named = ()
    try:
        union = (save if settings.mode is Mode.UPDATE else unite)(settings.folder, learned)
        _compare(result, union, gathered, whole=whole)
        _judge(result, settings, union, gathered, named)
    except (SpexError, OSError, ExceptionGroup) as error:
        result.failures.append(str(error))
    except Exception as error:  # whatever it is, the tests' own results must reach the user
        result.failures.append(f"the models could not be judged: {type(error).__name__}: {error}")
    return result


def _from_here(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _class(gathered: Gathered, name: str) -> type[Specification]:
    """Return a specification: the class of this process, else one made of the data of a process that has it."""
    return registered(name) or gathered.classes[name]


def _compare(result: Conclusion, union: Union, gathered: Gathered, *, whole: bool) -> None:
    for name, model in union.models.items():
        shown = gathered.shown.get(name, {})
        result.added |= {name: added} if (added := union.added(name)) else {}
        left_out = in_order(gathered.failed_only.get(name, {}).keys() - model.transitions)
        result.left_out |= {name: left_out} if left_out else {}
        gone = in_order(model.transitions - shown.keys()) if whole and name in gathered.shown else ()
        result.gone |= {name: gone} if gone else {}
        result.tests[name] = united_tests(_known_tests(union.paths.get(name)), shown)
    for name, steps in gathered.failed_only.items():
        if name not in union.models:
            result.left_out[name] = in_order(steps)
        tests = result.tests.setdefault(name, {})
        for transition, names in steps.items():
            tests.setdefault(transition, tuple(names))


def _known_tests(path: Path | None) -> Tests:
    try:
        return {} if path is None else read_tests(path)
    except (OSError, ValueError):
        return {}  # the review says so


def _judge(
    result: Conclusion, settings: Settings, union: Union, gathered: Gathered, named: Sequence[type[Specification]]
) -> None:
    from ..cli.check import report_of  # needed at the end of a run only, and heavy
    from ..cli.relations import relation_report

    def known(name: str) -> type[Specification] | None:
        return registered(name) or gathered.classes.get(name)

    entries = _entries(settings.folder, union)
    lacking = without_model(named, [name for name, _, _ in entries])
    reviewed = judged(entries, known=known) if settings.relation is None else []
    refined = [] if settings.relation is None else related(entries, settings.relation, known=known)
    if entries or lacking:
        result.report = (
            report_of(reviewed, lacking)
            if settings.relation is None
            else relation_report(refined, lacking, settings.relation)
        )
    result.causes = {one.specification: _cause(one) for one in reviewed}
    if settings.mode is Mode.CHECK:
        result.failures += _failures(settings, union, [*reviewed, *refined], known)
        result.failures += [f"{cls.name}: no test has shown anything of it" for cls in lacking if settings.complete]
    if settings.report is not None:
        _write_report(result, settings.report, union, known, refined)


def _cause(one: Reviewed) -> tuple[Transition, ...]:
    """Return the steps that no later observation repairs."""
    explanation = None if one.result is None else one.result.explanation
    violation = one.result is not None and one.result.verdict is Verdict.VIOLATION
    if not violation or explanation is None:
        return ()
    return tuple(explanation.cause) if explanation.step is None else (explanation.step,)


def _entries(folder: Path, union: Union) -> list[Stored]:
    entries: list[Stored] = [
        (name, model, union.paths.get(name, folder / (name + SUFFIX))) for name, model in union.models.items()
    ]
    entries += [(name, error, union.paths.get(name, folder)) for name, error in union.malformed.items()]
    return sorted(entries, key=lambda entry: entry[0])


def _failures(
    settings: Settings, union: Union, judgements: Sequence[Reviewed | Refined], known: Known
) -> Iterator[str]:
    """Yield why the session fails, by the table in docs/testing.md."""
    for one in judgements:
        name, added = one.specification, union.added(one.specification)
        if one.result is None:
            if not one.unknown:
                yield f"{name}: {one.error}"
        elif one.result.verdict.value == Verdict.VIOLATION.value:
            yield f"{name} does what its specification does not allow"
        elif isinstance(one, Reviewed):
            yield from (f"{name} breaks the property: {broken.property}" for broken in one.broken)
        if one.result is not None and one.result.verdict.value == Verdict.INCOMPLETE.value:
            if settings.complete:
                yield f"{name}: no test has shown everything that is specified"
            elif added and _was_equivalent(one, union, known):
                yield f"{name} was equivalent to its specification, and is not with what is new"
        if added and settings.frozen:
            yield f"{name} has {len(added)} new {'step' if len(added) == 1 else 'steps'}, and the models are frozen"


def _was_equivalent(one: Reviewed | Refined, union: Union, known: Known) -> bool:
    before, cls = union.committed.get(one.specification), known(one.specification)
    return isinstance(one, Reviewed) and before is not None and check(before, cls).equivalent


def _write_report(result: Conclusion, file: Path, union: Union, known: Known, refined: Sequence[Refined]) -> None:
    from ..formats.model_files import replace_file
    from ..render.html import report
    from ..render.view import view_of

    if not union.models:
        result.notes.append("the HTML report was not written: there is no model")
        return
    views, related_to = [], {one.specification: one.result for one in refined}
    for name, model in union.models.items():
        cls = known(name)
        judged_as = related_to[name] if refined else None if cls is None else check(model, cls)
        views.append(view_of(model, cls, judged_as))
    replace_file(file, report(views, "Review of the models that the tests showed").encode())
    result.notes.append(f"the HTML report is in {_from_here(file)}")
