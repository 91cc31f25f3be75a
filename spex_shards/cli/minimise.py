"""The command ``minimise``: writes the smallest equivalent model, and lists which states were merged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..checking.bisimulation import Equivalence
from ..checking.quotient import Quotient, quotient
from ..domain.difference import one_line
from ..domain.impl_model import ImplModel
from ..domain.specification import registered
from ..render import Form, form_of, written_as
from .formats import Case, Outcome, Report, ReportFormat
from .output import Output, command, imported
from .overrides import chosen_from
from .sources import (
    FormatOption,
    SourceName,
    SpecificationsOption,
    read_directory,
    read_source,
    write_each,
    write_target,
)


def minimise_model(
    source: SourceName,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET",
            help="The file to write; its ending says what. Of a directory: a directory. Default: none.",
        ),
    ] = None,
    equivalence: Annotated[
        Equivalence | None, typer.Option(help="Default: that of the specification if it is known, else branching.")
    ] = None,
    specification: SpecificationsOption = None,
    form: FormatOption = ReportFormat.TEXT,
) -> None:
    """Minimise a model, or all of a directory, under an equivalence, and list which states were merged.

    Exits with 0, or with 2 when it cannot be done.
    """
    with command(form, "minimise") as output:
        options = chosen_from(specifications=specification or None)
        imported(options["specifications"])
        if Path(source).is_dir():
            _minimise_all(output, read_directory(Path(source)), target, equivalence)
            return
        model = read_source(source)
        kind = equivalence or _equivalence_of(model)
        found = quotient(model, kind)
        if target is not None and not write_target(output, target, written_as(found.model, form_of(Path(target)))):
            return
        case, plain = _reported(model, found, kind, target)
        output.report(Report(command="minimise", cases=(case,), plain=plain))


def _minimise_all(output: Output, models: list[ImplModel], target: str | None, equivalence: Equivalence | None) -> None:
    found = [(model, kind, quotient(model, kind)) for model, kind in _with_kinds(models, equivalence)]
    texts = {model.specification: written_as(smaller.model, Form.SPEX) for model, _, smaller in found}
    paths = {} if target is None else write_each(target, texts, Form.SPEX.value)
    reported = [_reported(model, smaller, kind, paths.get(model.specification)) for model, kind, smaller in found]
    plain = {"models": [plain for _, plain in reported]}
    output.report(Report(command="minimise", cases=tuple(case for case, _ in reported), plain=plain))


def _with_kinds(models: list[ImplModel], equivalence: Equivalence | None) -> list[tuple[ImplModel, Equivalence]]:
    return [(model, equivalence or _equivalence_of(model)) for model in models]


def _equivalence_of(model: ImplModel) -> Equivalence:
    cls = registered(model.specification)
    return Equivalence.BRANCHING if cls is None else Equivalence(cls.equivalence)


def _reported(model: ImplModel, found: Quotient, kind: Equivalence, target: str | None) -> tuple[Case, dict[str, Any]]:
    before = sum(map(len, found.classes.values())) + len(found.unreachable)
    name, after = model.specification, len(found.classes)
    where = "" if target is None else f", written to {target}"
    sizes = f"{len(model.transitions)} to {len(found.model.transitions)} transitions"
    details = [
        f"{one_line(state)} stands for {', '.join(map(one_line, members[1:]))} too"
        for state, members in found.classes.items()
        if len(members) > 1
    ]
    if found.unreachable:
        details.append(f"cannot be reached, left out: {', '.join(map(one_line, found.unreachable))}")
    summary = f"{name}: {before} to {after} states, {sizes} ({kind}){where}"
    case = Case(name=name, outcome=Outcome.PASSED, summary=summary, details=tuple(details))
    plain = {
        "specification": name,
        "equivalence": kind.value,
        "states": [before, after],
        "transitions": [len(model.transitions), len(found.model.transitions)],
        "classes": [list(members) for members in found.classes.values()],
        "unreachable": list(found.unreachable),
        "file": target,
    }
    return case, plain
