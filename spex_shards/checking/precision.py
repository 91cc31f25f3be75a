"""Precision: how much of what a specification allows along some runs is really done there.

::

    ● ──pay 9──▶ ● ──ship 6──▶          after pay: taken ship and cancel, allowed ship, cancel and refund
                  ╰─cancel 3─▶          of 9 * 3 allowed steps 9 * 1 escape

The runs are put into a tree of their beginnings. A beginning counts once for each run that goes on after it. An action
*escapes* there if the specification allows it and no run takes it (Muñoz-Gama and Carmona, "A Fresh Look at Precision
in Process Conformance", 2010). Precision is the share of allowed actions that do not escape.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .runs import Position, RunChecker


class Precision(NamedTuple):
    """How many actions were allowed along runs, and how many of them escape.

    Attributes:
        allowed: The sum, over each step of each run, of the number of actions allowed in its place.
        escaping: The sum of those that no run takes in that place.
    """

    allowed: int
    escaping: int

    @property
    def ratio(self) -> float:
        """The share of allowed actions that some run takes; 1 if nothing was allowed, or no run goes a step."""
        return 1 - self.escaping / self.allowed if self.allowed else 1.0


def precision(checker: RunChecker, runs: Iterable[tuple[Sequence[str], int]]) -> Precision:
    """Return the precision of a specification along runs.

    Args:
        checker: Follows runs through the specification.
        runs: Sequences of visible actions, each with the number of its occurrences. What comes in a sequence after an
            action that is not allowed does not count; that action counts as a step.
    """
    beginnings = [_Beginning(checker.start)]
    for actions, count in runs:
        place: _Beginning | None = beginnings[0]
        for action in actions:
            if place is None:
                break
            place.weight += count
            if action not in place.after:
                position = checker.step(place.position, action)
                place.after[action] = after = None if position is None else _Beginning(position)
                beginnings += [] if after is None else [after]
            place = place.after[action]
    allowed = escaping = 0
    known: dict[Position, frozenset[str]] = {}
    for one in beginnings:
        if one.weight and one.position not in known:
            known[one.position] = frozenset(step.action for step in checker.allowed(one.position))
        if one.weight:
            allowed += one.weight * len(known[one.position])
            escaping += one.weight * len(known[one.position] - one.after.keys())
    return Precision(allowed, escaping)


class _Beginning:
    """The beginning of some runs: where they are then, how many go on, and how. What is not allowed leads to None."""

    __slots__ = ("after", "position", "weight")

    def __init__(self, position: Position) -> None:
        self.position = position
        self.weight = 0
        self.after: dict[str, _Beginning | None] = {}
