"""What is marked in a drawing of a model: steps that deviate from the specification, and steps that were not seen."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from ..domain.transition import Transition


class Mark(StrEnum):
    """Why a transition is marked."""

    DEVIATING = "extra"
    """It was seen, and is not specified, or is the cause of a violation."""
    MISSING = "missing"
    """It is specified, and was not seen; the model does not have it."""


Marks = Mapping[Transition, Mark]
"""The marked transitions; those that are missing are drawn as well."""
NONE: Final[Marks] = {}
WORDS: Final = {Mark.DEVIATING: "deviates", Mark.MISSING: "not seen"}


def only_by(marks: Marks, transitions: set[Transition]) -> dict[str, Mark]:
    """Return the states that marked transitions alone lead to, each with the mark; of two, the deviation."""
    plain = {t.target for t in transitions if t not in marks}
    found: dict[str, Mark] = {}
    for transition, mark in marks.items():
        if transition.target not in plain and found.get(transition.target) is not Mark.DEVIATING:
            found[transition.target] = mark
    return found
