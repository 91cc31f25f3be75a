"""The inputs and outputs of commands: a model's file in any form, or a specification by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..domain.impl_model import ImplModel
from ..formats.model_files import replace_file
from ..render import Form, form_of, model_of, read_as
from .formats import ReportFormat
from .output import Output, imported

STDOUT = "-"

SourceName = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A model's file (.spex, .aut, .dot, .json), or MODULE:NAME.")
]
FormatOption = Annotated[ReportFormat, typer.Option("--format", help="How to report what was done.")]
SpecificationsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MODULE:NAME", help="A specification to import; may be given often. Default: the option specifications."
    ),
]


def read_source(source: str, form: Form | None = None, name: str | None = None) -> ImplModel:
    """Return a model from a file, or one with all transitions of a specification.

    Args:
        source: A path, or ``MODULE:NAME`` if there is no file of that name.
        form: The file's form; by default the one of its ending.
        name: The name of the model's specification.

    Raises:
        ValueError, SpexError, OSError: It cannot be read, or is malformed.
    """
    path = Path(source)
    if not path.exists() and ":" in source:
        model = model_of(imported([source])[0])
        return model if name is None else ImplModel(specification=name, transitions=model.transitions)
    if not path.exists():
        raise FileNotFoundError(2, "there is no such file", source)
    return read_as(path, form or form_of(path), name)


def write_target(output: Output, target: str, text: str) -> bool:
    """Write a text atomically to a file, or to stdout for ``-``; return whether a report may follow."""
    if target == STDOUT:
        output.text(text)
        return False
    replace_file(Path(target), text.encode())
    return True
