"""The inputs and outputs of commands: a model's file in any form, or a specification by its name."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ..domain.impl_model import ImplModel
from ..errors import ImplModelError
from ..formats.model_files import SUFFIX, file_name, read_models, replace_file, write_models
from ..render import Form, form_of, model_of, read_as
from ..review.offline import learned_models
from ..runtime.store.location import is_url, shown
from .formats import ReportFormat
from .output import Output, imported

STDOUT = "-"

SourceName = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE", help="A model's file (.spex, .aut, .dot, .json), a directory of models, or MODULE:NAME."
    ),
]
FormatOption = Annotated[ReportFormat, typer.Option("--format", help="How to report what was done.")]
SpecificationsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MODULE:NAME", help="A specification to import; may be given often. Default: the option specifications."
    ),
]


@contextmanager
def models_of(source: str | None) -> Iterator[str | None]:
    """Return, within a ``with`` block, a folder with the models of a namespace; anything else is returned as it is.

    Raises:
        ImplModelError: The namespace has no models.
    """
    if source is None or not is_url(source):
        yield source
        return
    learned = learned_models(source)
    if not learned:
        raise ImplModelError(f"the namespace {shown(source)} has no models: nothing was learned in it")
    with tempfile.TemporaryDirectory(prefix="spex-shards-") as folder:
        found = [
            ImplModel(specification=name, transitions=model, learning_mode=True) for name, model in learned.items()
        ]
        write_models(Path(folder), found)
        yield folder


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
    if path.is_dir():
        raise ValueError(f"here one model's file must be named, got the directory {source}")
    if not path.exists() and ":" in source:
        model = model_of(imported([source])[0])
        return model if name is None else ImplModel(specification=name, transitions=model.transitions)
    if not path.exists():
        raise FileNotFoundError(2, "there is no such file or directory of models", source)
    return read_as(path, form or form_of(path), name)


def read_directory(directory: Path, form: Form = Form.SPEX) -> list[ImplModel]:
    """Return all models of a directory, ordered by their names.

    Args:
        directory: The directory.
        form: The form of its model files; files with another ending are ignored.

    Raises:
        ImplModelError: There is none, two are of one specification, or one is malformed.
    """
    if form is Form.SPEX:
        found, malformed = read_models(directory)
        if malformed:
            raise ImplModelError(str(next(iter(malformed.values()))))
    else:
        paths = [path for path in sorted(directory.iterdir()) if path.is_file() and _has_form(path, form)]
        found = {}
        for path in paths:
            model = read_as(path, form)
            if found.setdefault(model.specification, model) is not model:
                raise ImplModelError(f"two files of {directory} are models of {model.specification}, {path} is one")
    if not found:
        ending = SUFFIX if form is Form.SPEX else f".{form}"
        raise ImplModelError(no_model_in(directory, ending))
    return [model for _, model in sorted(found.items())]


def no_model_in(directory: Path, ending: str = SUFFIX) -> str:
    """Return the text of the error that a directory has no model files."""
    text = f"there is no model in {directory}: no file there ends in {ending}"
    if (directory / "layout").is_file():
        text += f"; it is a data directory: write its models first, by spex-shards export --data-dir {directory}"
    return text


def _has_form(path: Path, form: Form) -> bool:
    try:
        return not path.name.startswith(".") and form_of(path) is form
    except ValueError:
        return False


def write_each(directory: str, texts: dict[str, str], ending: str) -> dict[str, str]:
    """Write texts into a directory, each to a file that is named after its specification; return their paths.

    Raises:
        ValueError: The target is no directory, has the name of a file, or is stdout.
        ImplModelError: A specification's name cannot be a file name; then nothing is written.
        OSError: A file cannot be written.
    """
    target = Path(directory)
    names_file = target.suffix.removeprefix(".") in list(Form)
    if directory == STDOUT or (not target.is_dir() and (names_file or target.exists())):
        raise ValueError(f"the models of a directory are written into a directory, and TARGET is {directory!r}")
    paths = {name: target / f"{file_name(name).removesuffix(SUFFIX)}.{ending}" for name in texts}
    target.mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        replace_file(path, texts[name].encode())
    return {name: str(path) for name, path in paths.items()}


def write_target(output: Output, target: str, text: str) -> bool:
    """Write a text atomically to a file, or to stdout for ``-``; return whether a report may follow."""
    if target == STDOUT:
        output.text(text)
        return False
    replace_file(Path(target), text.encode())
    return True
