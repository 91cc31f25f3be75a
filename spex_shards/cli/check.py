"""``check``: stored models, judged by their specifications."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..domain.difference import shown
from ..domain.specification import Specification
from ..formats.notebook import counted
from ..review import Coverage, Finding, Reviewed, findings_of, percent_text, review, without_model
from ..review.findings import meaning, no_model, not_seen, reasons
from ..review.refining import Refined, refine
from .formats import Case, Outcome, Report, ReportFormat
from .output import UNUSABLE, command, imported
from .overrides import chosen_from
from .relations import HideOption, RelationOption, RenameOption, relation_report, view_from
from .sources import models_of, no_model_in

if TYPE_CHECKING:
    from ..checking.explanation import Explanation
    from ..checking.properties import PropertyResult

NOT_EQUIVALENT = 1
MOST_LINES = 10
"""So many transitions are listed in a text; JSON has all."""


def check_models(
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="PATH",
            help="A model file, a directory of them, or a namespace's URL. Default: the option impl_models_dir.",
        ),
    ] = None,
    specification: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:NAME",
            help="A specification to import; may be given often. Default: the option specifications.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail on warnings too: a specification without model, or a changed one.")
    ] = False,
    relation: RelationOption = None,
    hide: HideOption = None,
    rename: RenameOption = None,
    names_must_agree: Annotated[
        bool, typer.Option("--names-must-agree", help="Fail where a state is not called as the specification calls it.")
    ] = False,
    form: Annotated[ReportFormat, typer.Option("--format", help="How to write the verdicts.")] = ReportFormat.TEXT,
) -> None:
    """Check stored models against their specifications.

    Exits with 0 when all are equivalent (or the relation holds for all), with 1 when some are not or a file is
    malformed, and with 2 when there is nothing to check or a specification cannot be found.
    """
    with command(form, "check") as output, models_of(path) as folder:
        options = chosen_from(specifications=specification or None, impl_models_dir=folder)
        named = imported(options["specifications"])
        place = Path(options["impl_models_dir"])
        view = view_from(hide, rename)
        if relation is not None and names_must_agree:
            output.fail("--names-must-agree belongs to an equivalence, and --relation is given")
        reviewed = review(place, view, names_must_agree=names_must_agree) if relation is None else []
        refined = [] if relation is None else refine(place, relation, view)
        judged: list[Reviewed | Refined] = [*reviewed, *refined]
        if not judged:
            output.fail(no_model_in(place))
        lacking = without_model(named if place.is_dir() else (), [one.specification for one in judged])
        report = report_of(reviewed, lacking) if relation is None else relation_report(refined, lacking, relation)
        output.report(report)
        raise typer.Exit(_exit_code(judged, report.findings if strict else []))


def report_of(reviewed: list[Reviewed], lacking: list[type[Specification]]) -> Report:
    """Return the report of models, and of specifications without one."""
    return Report(
        command="check",
        cases=(*map(_case, reviewed), *map(_lacking_case, lacking)),
        summary=_summary(reviewed),
        plain={
            "equivalent": all(one.equivalent for one in reviewed),
            "models": [_plain(one) for one in reviewed],
            "specifications_without_model": [cls.name for cls in lacking],
        },
    )


def _case(one: Reviewed) -> Case:
    findings = tuple(findings_of(one))
    name = one.specification
    if one.result is None:
        outcome = Outcome.ERROR if one.unknown else Outcome.FAILED
        return Case(name=name, outcome=outcome, summary=f"{name}: no verdict: {one.error}", findings=findings)
    verdict = one.result.verdict.value
    return Case(
        name=name,
        outcome=Outcome.PASSED if one.equivalent and not one.broken else Outcome.FAILED,
        summary=f"{name}: {verdict}" + ("" if one.equivalent else f": {meaning(one.result)}"),
        details=tuple(_details(one)),
        findings=findings,
        facts={"verdict": verdict, "coverage": percent_text(one.coverage.percent)},
    )


def _details(one: Reviewed) -> list[str]:
    lines = [] if one.result is None else list(reasons(one.result))
    lines += [] if one.result is None else [f"property: {decided.text}" for decided in one.result.properties]
    lines.append(str(one.coverage))
    lacking = not_seen(one.coverage)
    lines += [f"not seen yet: {text}" for text in lacking[:MOST_LINES]]
    lines += [f"and {len(lacking) - MOST_LINES} more"] if len(lacking) > MOST_LINES else []
    lines += [f"names: {one.naming}"] if one.naming is not None else []
    if one.coverage.unreachable:
        count = counted(len(one.coverage.unreachable), "specified transition")
        lines.append(f"{count} cannot be reached, which does not count")
    if one.changed is not None:
        lines.append(str(one.changed))
        lines += [f"+ {shown(t)}" for t in one.changed.added[:MOST_LINES]]
        lines += [f"- {shown(t)}" for t in one.changed.removed[:MOST_LINES]]
    return lines + ([f"warning: {one.note}"] if one.note is not None else [])


def _lacking_case(cls: type[Specification]) -> Case:
    finding: Finding = no_model(cls)
    return Case(name=cls.name, outcome=Outcome.SKIPPED, summary=f"{cls.name}: no model", findings=(finding,))


def _plain(one: Reviewed) -> dict[str, Any]:
    result = one.result
    return {
        "specification": one.specification,
        "transitions": None if one.model is None else len(one.model.transitions),
        "verdict": None if result is None else result.verdict.value,
        "decided": None if result is None else result.decided,
        "error": one.error,
        "file": str(one.path),
        "coverage": None if result is None else _plain_coverage(one.coverage),
        "naming": one.naming,
        "properties": [] if result is None else [_plain_property(decided) for decided in result.properties],
        "explanation": None if result is None else _plain_explanation(result.explanation),
        "specification_changed": None
        if one.changed is None
        else {
            "added": [list(t) for t in one.changed.added],
            "removed": [list(t) for t in one.changed.removed],
            "otherwise": one.changed.otherwise,
        },
        "findings": [_plain_finding(finding) for finding in findings_of(one)],
    }


def _plain_property(decided: PropertyResult) -> dict[str, Any]:
    return {
        "property": str(decided.property),
        "verdict": decided.verdict.value,
        "run": [list(t) for t in decided.run],
        "text": decided.text,
    }


def _plain_coverage(coverage: Coverage) -> dict[str, Any]:
    return {
        "shown": len(coverage.shown),
        "of": len(coverage.shown) + len(coverage.missing),
        "percent": round(coverage.percent, 2),
        "whole": coverage.whole,
        "missing": [list(t) for t in coverage.missing],
        "unreachable": [list(t) for t in coverage.unreachable],
        "unexplained": [list(t) for t in coverage.unexplained],
        "unseen": [list(one) for one in coverage.unseen],
    }


def _plain_explanation(explanation: Explanation | None) -> dict[str, Any] | None:
    if explanation is None:
        return None
    return {
        "kind": explanation.kind.value,
        "sentence": explanation.sentence,
        "text": explanation.text,
        "cause": [list(t) for t in explanation.cause],
        "step": None if explanation.step is None else list(explanation.step),
        "minimal": explanation.minimal,
        "runs": [[list(t) for t in run] for run in explanation.runs],
        "formula": None if explanation.formula is None else str(explanation.formula),
        "side": explanation.side,
        "trace": [list(t) for t in explanation.trace],
        "missing": [list(t) for t in explanation.missing],
        "extra": [list(t) for t in explanation.extra],
        "unseen": [list(one) for one in explanation.unseen],
    }


def _plain_finding(finding: Finding) -> dict[str, Any]:
    place = finding.place
    return {
        "rule": finding.rule.value,
        "level": finding.level.value,
        "text": finding.text,
        "file": None if place is None else place.file,
        "line": None if place is None else place.line,
    }


def _summary(reviewed: list[Reviewed]) -> str:
    total, failed = len(reviewed), sum(not one.equivalent for one in reviewed)
    broken = sum(bool(one.broken) for one in reviewed)
    more = f"; {counted(broken, 'model')} {'breaks' if broken == 1 else 'break'} a property" if broken else ""
    if failed:
        return f"{failed} of {total} {'model is' if total == 1 else 'models are'} not equivalent{more}"
    if not total:
        return "no model was checked"
    return ("the only model is equivalent" if total == 1 else f"all {total} models are equivalent") + more


def _exit_code(judged: list[Reviewed | Refined], counted: list[Finding]) -> int:
    if any(one.unknown for one in judged):
        return UNUSABLE
    good = all(one.holds if isinstance(one, Refined) else one.equivalent and not one.broken for one in judged)
    return 0 if good and not counted else NOT_EQUIVALENT
