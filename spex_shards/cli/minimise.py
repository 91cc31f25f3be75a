"""The command ``minimise``: writes the smallest equivalent model, and lists which states were merged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..checking.bisimulation import Equivalence
from ..checking.quotient import Quotient, quotient
from ..domain.difference import one_line
from ..domain.impl_model import ImplModel
from ..domain.specification import registered
from ..manager.options import UNSET
from ..manager.settings import options_from
from ..render import form_of, written_as
from .formats import Case, Outcome, Report, ReportFormat
from .output import command, imported
from .sources import FormatOption, SourceName, SpecificationsOption, read_source, write_target


def minimise_model(
    source: SourceName,
    target: Annotated[
        str | None, typer.Argument(metavar="[TARGET]", help="The file to write; its ending says what. Default: none.")
    ] = None,
    equivalence: Annotated[
        Equivalence | None, typer.Option(help="Default: that of the specification if it is known, else branching.")
    ] = None,
    specification: SpecificationsOption = None,
    form: FormatOption = ReportFormat.TEXT,
) -> None:
    """Minimise a model under an equivalence, and list which states were merged.

    Exits with 0, or with 2 when it cannot be done.
    """
    with command(form, "minimise") as output:
        options = options_from({"specifications": specification or UNSET})
        imported(options["specifications"])
        model = read_source(source)
        kind = equivalence or _equivalence_of(model)
        found = quotient(model, kind)
        if target is not None and not write_target(output, target, written_as(found.model, form_of(Path(target)))):
            return
        output.report(_report(model, found, kind, target))


def _equivalence_of(model: ImplModel) -> Equivalence:
    cls = registered(model.specification)
    return Equivalence.BRANCHING if cls is None else Equivalence(cls.equivalence)


def _report(model: ImplModel, found: Quotient, kind: Equivalence, target: str | None) -> Report:
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
    return Report(command="minimise", cases=(case,), plain=plain)
