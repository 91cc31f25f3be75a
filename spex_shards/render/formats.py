"""The forms in which models can be read and written; a file's ending selects one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

from ..domain.impl_model import ImplModel
from ..domain.specification import Specification
from ..domain.transition import INITIALISATION, Transition
from ..errors import DeserialisationFailed
from ..formats import aut_text, dot_text, json_text, mermaid_text
from ..formats.aut_text import Silent
from ..formats.marks import NONE, Marks
from ..formats.model_files import MAX_FILE_BYTES, read_model


class Form(StrEnum):
    """The forms."""

    SPEX = "spex"
    AUT = "aut"
    DOT = "dot"
    MERMAID = "mermaid"
    JSON = "json"
    SVG = "svg"
    HTML = "html"


READ: Final = (Form.SPEX, Form.AUT, Form.DOT, Form.JSON)
"""The forms that can be read."""
DRAWN: Final = (Form.SVG, Form.HTML)
"""The forms that are drawings, for which `written_as` has no text."""
_ENDINGS: Final = {
    ".spex": Form.SPEX, ".aut": Form.AUT, ".dot": Form.DOT, ".gv": Form.DOT, ".mmd": Form.MERMAID,
    ".mermaid": Form.MERMAID, ".json": Form.JSON, ".svg": Form.SVG, ".html": Form.HTML,
}  # fmt: skip


def form_of(path: Path) -> Form:
    """Return the form that a file's ending stands for.

    Raises:
        ValueError: The ending is unknown.
    """
    try:
        return _ENDINGS[path.suffix.lower()]
    except KeyError:
        endings = ", ".join(_ENDINGS)
        raise ValueError(f"{path}: the ending must be one of {endings}, or the form must be given") from None


def read_as(path: Path, form: Form, name: str | None = None) -> ImplModel:
    """Return the model in a file.

    Args:
        path: The file.
        form: The file's form.
        name: The name of the model's specification; by default the name in the file, or else the file's own name.

    Raises:
        DeserialisationFailed: The file is malformed or cannot be read; names file, line and rule. Context: `file`,
            `line`.
        ValueError: Files of that form cannot be read.
    """
    if form not in READ:
        raise ValueError(f"{path}: what is read must be {', '.join(READ)}, got: {form}")
    if form is Form.SPEX:
        model = read_model(path)
        return model if name is None else _named(model, name)
    text = _text_of(path)
    try:
        return _parsed(text, form, name, path.stem)
    except DeserialisationFailed as error:
        line = error.context["line"]
        raise DeserialisationFailed(f"{path}: {error.message}", file=str(path), line=line) from None


def written_as(model: ImplModel, form: Form, silent: Silent = "i", marks: Marks = NONE) -> str:
    """Return a model as text.

    Args:
        model: The model.
        form: A form that is not in `DRAWN`.
        silent: The name of the internal action in `.aut`.
        marks: The transitions that are marked in dot and Mermaid.

    Raises:
        ValueError: The form cannot hold this model, or is a drawing.
    """
    if form is Form.SPEX:
        return model.serialise()
    if form is Form.AUT:
        return aut_text.write(model.transitions, silent)
    if form is Form.DOT:
        return dot_text.write(model.specification, model.transitions, marks)
    if form is Form.MERMAID:
        return mermaid_text.write(model.transitions, marks)
    if form is Form.JSON:
        return json_text.write(model.specification, model.learning_mode, model.transitions)
    raise ValueError(f"{form} is drawn by `render`; a text must be {', '.join(f for f in Form if f not in DRAWN)}")


def model_of(cls: type[Specification]) -> ImplModel:
    """Return a model that has all transitions of a specification."""
    starts = [] if cls.initial_state is None else [Transition(None, INITIALISATION, cls.initial_state)]
    return ImplModel(specification=cls.name, transitions=frozenset([*starts, *cls.transitions]))


def _named(model: ImplModel, name: str) -> ImplModel:
    return ImplModel(specification=name, transitions=model.transitions, learning_mode=model.learning_mode)


def _parsed(text: str, form: Form, name: str | None, stem: str) -> ImplModel:
    if form is Form.JSON:
        parsed = json_text.parse(text)
        return ImplModel(
            specification=name or parsed.specification,
            transitions=parsed.transitions,
            learning_mode=parsed.learning_mode,
        )
    if form is Form.DOT:
        graph, transitions = dot_text.parse(text)
        return ImplModel(specification=name or graph or stem, transitions=transitions)
    return ImplModel(specification=name or stem, transitions=aut_text.parse(text))


def _text_of(path: Path) -> str:
    with path.open("rb") as file:
        raw = file.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise _refused(path, 1, f"the file is larger than {MAX_FILE_BYTES} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _refused(path, line, f"line {line}: the file must be UTF-8; {error.reason}") from None


def _refused(path: Path, line: int, rule: str) -> DeserialisationFailed:
    return DeserialisationFailed(f"{path}: {rule}", file=str(path), line=line)
