"""The command ``convert``: writes a model in another form."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..domain.impl_model import ImplModel
from ..domain.transition import INTERNAL
from ..formats.notebook import counted
from ..render import Form, form_of, written_as
from .formats import Case, Outcome, Report, ReportFormat
from .output import Output, command
from .sources import STDOUT, FormatOption, SourceName, read_directory, read_source, write_each, write_target


class SilentName(StrEnum):
    """The name of the internal action in an .aut file."""

    I = "i"  # noqa: E741 - CADP's own name
    TAU = "tau"


def convert_model(
    source: SourceName,
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="The file to write, or - for stdout, or a directory (both with --to)."),
    ],
    form_in: Annotated[
        Form | None, typer.Option("--from", help="What SOURCE is. Default: what its ending says.")
    ] = None,
    form_out: Annotated[
        Form | None, typer.Option("--to", help="What to write. Default: what TARGET's ending says.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the model's specification is called.")] = None,
    silent: Annotated[
        SilentName, typer.Option(help="What the internal action is called in .aut: i (CADP) or tau (mCRL2).")
    ] = SilentName.I,
    form: FormatOption = ReportFormat.TEXT,
) -> None:
    """Convert a model between .spex, Aldebaran .aut, Graphviz .dot and .json, or write it as Mermaid (.mmd).

    All models of a directory are written into the directory TARGET, each to a file that is named after it. Exits
    with 0, or with 2 when SOURCE is malformed or the form of TARGET cannot hold the model.
    """
    with command(form, "convert") as output:
        if target == STDOUT and form_out is None:
            raise ValueError("what is written to stdout must be named by --to")
        if Path(source).is_dir():
            _convert_all(output, read_directory(Path(source), _form_in(form_in, name)), target, form_out, silent)
            return
        model = read_source(source, form_in, name)
        chosen = form_out or form_of(Path(target))
        text = written_as(model, chosen, silent.value)
        if write_target(output, target, text):
            case, plain = _reported(model, chosen, target)
            output.report(Report(command="convert", cases=(case,), plain=plain))


def _form_in(form: Form | None, name: str | None) -> Form:
    if name is not None:
        raise ValueError("--name names one model, and SOURCE is a directory")
    return form or Form.SPEX


def _convert_all(output: Output, models: list[ImplModel], target: str, form: Form | None, silent: SilentName) -> None:
    if form is None:
        raise ValueError("of a directory, what is written must be named by --to")
    texts = {model.specification: written_as(model, form, silent.value) for model in models}
    paths = write_each(target, texts, form.value)
    reported = [_reported(model, form, paths[model.specification]) for model in models]
    plain = {"models": [plain for _, plain in reported]}
    summary = f"{counted(len(models), 'model')} written"
    output.report(Report(command="convert", cases=tuple(case for case, _ in reported), summary=summary, plain=plain))


def _reported(model: ImplModel, form: Form, target: str) -> tuple[Case, dict[str, Any]]:
    size = len(model.transitions)
    notes = [f"{INTERNAL} and the actions i and tau are mapped"] if form is Form.AUT and _mapped(model) else []
    summary = f"{model.specification}: {size} transitions written to {target}"
    case = Case(name=model.specification, outcome=Outcome.PASSED, summary=summary, details=tuple(notes))
    plain = {"specification": model.specification, "transitions": size, "form": form.value, "file": target}
    return case, plain


def _mapped(model: ImplModel) -> bool:
    return any(t.action.lstrip("'") in (INTERNAL, "i", "tau") for t in model.transitions)
