"""A step of a stored model, as it is named on the command line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from ..domain.difference import shown
from ..domain.impl_model import ImplModel
from ..domain.transition import INITIALISATION, Transition
from ..errors import DeserialisationFailed
from ..formats.spex_text import NO_STATE, line_of
from ..manager.options import UNSET
from ..manager.settings import options_from
from ..review.judging import stored_models

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model's file, a directory of them, or a specification's name (then in the option impl_models_dir).",
    ),
]
StepNames = Annotated[
    list[str],
    typer.Argument(metavar="STEP", help="As a model file has it, 'source --[action]-> target', or as three arguments."),
]


class Step(NamedTuple):
    """A step of a model file."""

    model: ImplModel
    path: Path
    transition: Transition


def steps_named(model: str, names: Sequence[str]) -> list[Step]:
    """Return the steps of that name, one for each model that has it.

    Args:
        model: A file, a directory, or a specification's name.
        names: The step: one text, or source, action and target.

    Raises:
        ValueError: No model has it; the message has the nearest step.
        DeserialisationFailed: A model file is malformed.
        ImplModelError, FileNotFoundError: The models cannot be read.
    """
    models = _models(model)
    found = [Step(one, path, t) for one, path in models for t in sorted(one.transitions, key=str) if _is(t, names)]
    if found:
        return found
    wanted = names[0] if len(names) == 1 else f"{names[0]} --[{' '.join(names[1:-1])}]-> {names[-1]}"
    if len(names) not in (1, 3):
        raise ValueError(f"a step must be one argument, or source, action and target, got: {' '.join(names)!r}")
    texts = [shown(t) for one, _ in models for t in one.transitions]
    near = difflib.get_close_matches(wanted, texts, 1, 0.4)
    raise ValueError(f"no model in {model} has the step {wanted}" + (f"; the nearest is: {near[0]}" if near else ""))


def _is(transition: Transition, names: Sequence[str]) -> bool:
    if len(names) == 1:
        return names[0].strip() in (shown(transition), line_of(transition))
    source = NO_STATE if transition.action == INITIALISATION else transition.source
    return tuple(names) == (source, transition.action, transition.target)


def _models(model: str) -> list[tuple[ImplModel, Path]]:
    place = Path(model)
    if not place.exists():
        folder = Path(options_from({"impl_models_dir": UNSET})["impl_models_dir"])
        entries = [entry for entry in (stored_models(folder) if folder.is_dir() else []) if entry[0] == model]
        if not entries:
            raise ValueError(f"there is no file or directory {model}, and no model of that name in {folder}")
    else:
        entries = stored_models(place)
    for _, found, _ in entries:
        if isinstance(found, DeserialisationFailed):
            raise found
    if not entries:
        raise ValueError(f"there is no model in {model}: no file there ends in .spex")
    return [(found, path) for _, found, path in entries if isinstance(found, ImplModel)]
