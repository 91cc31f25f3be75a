"""The most frequent part of a drawing, as process-mining tools show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .ranking import heaviest_tree
from .svg import Shown

STOPS: Final = (50, 70, 80, 90, 95, 98, 100)
"""The shares that can be chosen, in per cent."""
FEWEST: Final = 12
"""A drawing with fewer steps is shown whole."""
MOST_KEPT: Final = 4_000
"""The most transitions in all shares of one drawing together; the rarest stops are left out above that."""


def shares(shown: Sequence[Shown]) -> list[tuple[int, list[Shown]]]:
    """Return the shares of a drawing that differ, from the smallest to the whole: per cent, and what is kept.

    A share is made of the most frequent steps that together are at least so many per cent of all steps that instances
    took; of a way to each of them from the start, the one whose rarest step is the most frequent; and of all steps that
    deviate. Without frequencies, or with few steps, the whole is the only one.
    """
    whole = [(100, list(shown))]
    if len(shown) < FEWEST or any(one.count is None for one in shown):
        return whole
    found: list[tuple[int, list[Shown]]] = []
    left = MOST_KEPT - len(shown)
    for percent in STOPS[:-1]:
        kept = _kept(shown, percent)
        known = found[-1][1] if found else []
        if len(kept) > left or len(kept) == len(shown):
            break
        if len(kept) > len(known):
            found.append((percent, kept))
            left -= len(kept)
    return [*found, *whole]


def _kept(shown: Sequence[Shown], percent: int) -> list[Shown]:
    steps = [one for one in shown if one.transition.source is not None]
    wanted, sum_of = sum(one.count or 0 for one in steps) * percent / 100, 0
    chosen: dict[int, None] = {one.number: None for one in shown if one.kind == "extra"}
    for one in sorted(steps, key=lambda one: -(one.count or 0)):
        if sum_of >= wanted:
            break
        sum_of += one.count or 0
        chosen[one.number] = None
    ways = _Ways(shown)
    keep = {number for own in chosen for number in ways.to(own)}
    return [one for one in shown if one.number in keep]


class _Ways:
    """The way to each step from the start whose rarest step is the most frequent."""

    def __init__(self, shown: Sequence[Shown]) -> None:
        self._shown = {one.number: one for one in shown}
        names: dict[str | None, int] = {None: 0}
        for one in shown:
            for name in (one.transition.source, one.transition.target):
                names.setdefault(name, len(names))
        edges = [(names[one.transition.source], names[one.transition.target]) for one in shown]
        into = heaviest_tree(len(names), edges, [float(one.count or 0) for one in shown])
        state_of = {number: name for name, number in names.items()}
        self._into = {state_of[n]: shown[edge] for n, edge in enumerate(into) if edge is not None}

    def to(self, number: int) -> list[int]:
        way, state = [number], self._shown[number].transition.source
        while state is not None and state in self._into:
            step = self._into[state]
            way.append(step.number)
            state = step.transition.source
        return way
