"""The command ``diff``: compares two models, or two directories of models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ..checking.conformance import Result
from ..domain.difference import Difference, shown
from ..domain.impl_model import ImplModel
from ..domain.specification import registered
from ..errors import ImplModelError
from ..facade import check
from ..formats.model_files import read_models
from ..review import Finding, Level, Rule, locate
from .formats import Case, Outcome, Report, ReportFormat
from .output import command, imported
from .overrides import chosen_from
from .sources import FormatOption, SpecificationsOption, read_source

DIFFERENT = 1


@dataclass(frozen=True, slots=True)
class Pair:
    """A model before and after; None if there was, or is, no model."""

    name: str
    old: ImplModel | None
    new: ImplModel | None

    @property
    def difference(self) -> Difference:
        """The transitions added and removed."""
        empty = ImplModel(specification=self.name)
        return (self.old or empty).diff(self.new or empty)

    @property
    def same(self) -> bool:
        """Whether nothing has changed."""
        return self.old is not None and self.new is not None and not self.difference


def diff_models(
    old: Annotated[str, typer.Argument(metavar="OLD", help="A model's file, MODULE:NAME, or a directory of models.")],
    new: Annotated[
        str, typer.Argument(metavar="NEW", help="Likewise. Of a directory and a file, the models of one name.")
    ],
    specification: SpecificationsOption = None,
    form: FormatOption = ReportFormat.TEXT,
) -> None:
    """Show which transitions were added and removed, and the verdicts before and after.

    Exits with 0 when there is no difference, with 1 when there is one, and with 2 when the models cannot be compared.
    """
    with command(form, "diff") as output:
        options = chosen_from(specifications=specification or None)
        imported(options["specifications"])
        pairs = _pairs(old, new)
        if not pairs:
            output.fail(f"there is no model in {old} and {new}: no file there ends in .spex")
        output.report(_report(pairs))
        raise typer.Exit(0 if all(pair.same for pair in pairs) else DIFFERENT)


def _pairs(old: str, new: str) -> list[Pair]:
    if not Path(old).is_dir() and not Path(new).is_dir():
        before, after = read_source(old), read_source(new)
        return [Pair(after.specification, before, after)]
    old_models, new_models = _models(old), _models(new)
    if (
        not Path(old).is_dir() or not Path(new).is_dir()
    ):  # of a directory, the model that the other one is compared with
        one = next(iter(new_models if Path(old).is_dir() else old_models))
        return [Pair(one, old_models.get(one), new_models.get(one))]
    return [Pair(name, old_models.get(name), new_models.get(name)) for name in sorted({*old_models, *new_models})]


def _models(source: str) -> dict[str, ImplModel]:
    if not Path(source).is_dir():
        model = read_source(source)
        return {model.specification: model}
    models, malformed = read_models(Path(source))
    if malformed:
        raise ImplModelError(str(next(iter(malformed.values()))))
    return models


def _report(pairs: list[Pair]) -> Report:
    changed = sum(not pair.same for pair in pairs)
    total = len(pairs)
    summary = "no difference" if not changed else f"{changed} of {total} {'model' if total == 1 else 'models'} changed"
    return Report(
        command="diff",
        cases=tuple(map(_case, pairs)),
        summary=summary,
        plain={"different": bool(changed), "models": [_plain(pair) for pair in pairs]},
    )


def _verdict(model: ImplModel | None, name: str) -> Result | None:
    cls = registered(name)
    return None if model is None or cls is None else check(model, cls)


def _case(pair: Pair) -> Case:
    name, difference = pair.name, pair.difference
    before, after = _verdict(pair.old, name), _verdict(pair.new, name)
    verdicts = " → ".join("unknown" if result is None else result.verdict.value for result in (before, after))
    facts = {"added": str(len(difference.added)), "removed": str(len(difference.removed)), "verdict": verdicts}
    if pair.same:
        return Case(name=name, outcome=Outcome.PASSED, summary=f"{name}: no difference", facts=facts)
    what = "new" if pair.old is None else "gone" if pair.new is None else "changed"
    summary = f"{name}: {what}: {facts['added']} added, {facts['removed']} removed"
    summary += "" if before is None and after is None else f"; {verdicts}"
    return Case(
        name=name,
        outcome=Outcome.FAILED,
        summary=summary,
        details=tuple(str(difference).splitlines()),
        findings=tuple(_findings(name, difference)),
        facts=facts,
    )


def _findings(name: str, difference: Difference) -> list[Finding]:
    cls = registered(name)
    place = None if cls is None else locate(cls).declared
    marked = [*((t, "removed") for t in difference.removed), *((t, "added") for t in difference.added)]
    return [
        Finding(Rule.DIFFERENT, Level.WARNING, name, f"{name}: {shown(transition)} was {word}", place)
        for transition, word in marked
    ]


def _plain(pair: Pair) -> dict[str, Any]:
    results = {"before": _verdict(pair.old, pair.name), "after": _verdict(pair.new, pair.name)}
    return {
        "specification": pair.name,
        "added": [list(t) for t in pair.difference.added],
        "removed": [list(t) for t in pair.difference.removed],
        "is_new": pair.old is None,
        "is_gone": pair.new is None,
        "verdict": {when: None if result is None else result.verdict.value for when, result in results.items()},
    }
