"""The report of ``check --relation``, and the options that hide and rename actions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from ..checking.relabelling import Relabelling
from ..checking.relations import Relation, RelationResult
from ..domain.specification import Specification
from ..review.findings import no_model
from ..review.refining import MEANING, Refined
from .formats import Case, Outcome, Report

RelationOption = Annotated[
    Relation | None,
    typer.Option("--relation", help="Ask for a relation that allows a model to do less, in place of equivalence."),
]
HideOption = Annotated[
    list[str] | None,
    typer.Option("--hide", metavar="ACTION", help="Make an action silent first; may be given often."),
]
RenameOption = Annotated[
    list[str] | None,
    typer.Option("--rename", metavar="OLD=NEW", help="Call an action otherwise first; may be given often."),
]


def view_from(hide: Iterable[str] | None, rename: Iterable[str] | None) -> Relabelling:
    """Return the relabelling for the options ``--hide`` and ``--rename``.

    Raises:
        ValueError: An entry of `rename` is not ``OLD=NEW`` or gives an action a second name, or an action is reserved.
    """
    renamed: dict[str, str] = {}
    for entry in rename or ():
        old, separator, new = entry.partition("=")
        if not separator or not old or not new:
            raise ValueError(f"--rename must be OLD=NEW, got: {entry!r}")
        if renamed.setdefault(old, new) != new:
            raise ValueError(f"--rename must give an action one new name, got: {old}={renamed[old]} and {entry}")
    return Relabelling.of(hide or (), renamed)


def relation_report(refined: list[Refined], lacking: list[type[Specification]], relation: Relation) -> Report:
    """Return the report of ``check --relation``."""
    return Report(
        command="check",
        cases=(*map(_case, refined), *map(_lacking_case, lacking)),
        summary=_summary(refined, relation),
        plain={
            "relation": relation.value,
            "holds": all(one.holds for one in refined),
            "models": [_plain(one) for one in refined],
            "specifications_without_model": [cls.name for cls in lacking],
        },
    )


def _case(one: Refined) -> Case:
    name = one.specification
    if one.result is None:
        outcome = Outcome.ERROR if one.unknown else Outcome.FAILED
        return Case(name=name, outcome=outcome, summary=f"{name}: no verdict: {one.error}", findings=one.findings)
    verdict, why = one.result.verdict, one.result.counterexample
    return Case(
        name=name,
        outcome=Outcome.PASSED if one.holds else Outcome.FAILED,
        summary=f"{name}: {one.result.relation}: {verdict}" + ("" if one.holds else f": {MEANING[verdict]}"),
        details=() if why is None else tuple(why.text.splitlines()),
        findings=one.findings,
        facts={"relation": one.result.relation.value, "verdict": verdict.value},
    )


def _lacking_case(cls: type[Specification]) -> Case:
    return Case(name=cls.name, outcome=Outcome.SKIPPED, summary=f"{cls.name}: no model", findings=(no_model(cls),))


def _plain(one: Refined) -> dict[str, Any]:
    result = one.result
    return {
        "specification": one.specification,
        "transitions": None if one.model is None else len(one.model.transitions),
        "verdict": None if result is None else result.verdict.value,
        "error": one.error,
        "file": str(one.path),
        "counterexample": None if result is None else _plain_counterexample(result),
    }


def _plain_counterexample(result: RelationResult) -> dict[str, Any] | None:
    found = result.counterexample
    if found is None:
        return None
    return {
        "kind": found.kind.value,
        "text": found.text,
        "run": [list(step) for step in found.run],
        "observed": list(found.observed),
        "states": [str(state) for state in found.states],
        "allowed": list(found.allowed),
        "formula": None if found.formula is None else str(found.formula),
    }


def _summary(refined: list[Refined], relation: Relation) -> str:
    total, failed = len(refined), sum(not one.holds for one in refined)
    undecided = sum(one.unknown for one in refined)
    if undecided:
        return f"{relation} is not decided for {undecided} of {total} {'model' if total == 1 else 'models'}"
    if failed:
        return f"{relation} does not hold for {failed} of {total} {'model' if total == 1 else 'models'}"
    return f"{relation} holds for the only model" if total == 1 else f"{relation} holds for all {total} models"
