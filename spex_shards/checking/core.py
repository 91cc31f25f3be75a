"""Finds a minimal irreparable part of a model: no extension repairs it, and each of its transitions is needed for that.

More transitions never repair a model, and fewer never break it. So the model's steps are sorted by their distance from
the start, and bisection finds the shortest irreparable beginning: its last step is needed. That step is moved to the
front, and the search is repeated, until the needed steps are irreparable by themselves. (This is the deletion of
Chinneck and Dravnieks 1991, with bisection as in Junker's QuickXplain of 2004.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ..domain.lts import LTS
from ..domain.transition import State, Transition
from .extension import extensible
from .graph import Graph
from .specified import Specified

MOST_WORK: Final = 3_000_000
"""The search ends after judging this many transitions, each time counted; then the part may not be minimal."""


class Core:
    """The search for an irreparable part of a model.

    Args:
        start: The model's initial state.
        specified: The specification.

    Attributes:
        exact: Whether all questions were answered; if not, a smaller part may be irreparable as well.
    """

    def __init__(self, start: State, specified: Specified) -> None:
        self._start, self._specified = start, specified
        self._work = 0
        self.exact = True

    def irreparable(self, part: Iterable[Transition]) -> bool:
        """Return whether the model of these transitions is known to be a violation."""
        steps: Any = tuple(part)
        self._work += len(steps) + len(self._specified.small.transitions)
        possible = extensible(Graph((LTS(self._start, steps), self._specified.small), self._specified.kind))
        self.exact &= possible is not None
        return possible is False

    def of(self, transitions: Iterable[Transition]) -> tuple[Transition, ...]:
        """Return an irreparable part of an irreparable model, in breadth-first order."""
        found = self._in_order(tuple(transitions))
        if (len(found) + len(self._specified.small.transitions)) * len(found).bit_length() > MOST_WORK:
            self.exact = False  # the first bisection would not end
            return found
        needed: list[Transition] = []
        while not self.irreparable(needed):
            others = [step for step in found if step not in needed]
            size = self._shortest(needed, others)
            if size is None or self._work > MOST_WORK:
                self.exact = False
                return found
            needed.append(others[size - 1])
            found = self._in_order((*others[:size], *needed))
        return self._in_order(needed)

    def _shortest(self, needed: Sequence[Transition], others: Sequence[Transition]) -> int | None:
        """Return how many of `others`, from the first on, make `needed` irreparable; None if not even all do."""
        low, high = 0, len(others)
        if not self.irreparable((*needed, *others)):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            if self._work <= MOST_WORK and self.irreparable((*needed, *others[:middle])):
                high = middle
            else:
                low = middle
        return high

    def _in_order(self, transitions: Sequence[Transition]) -> tuple[Transition, ...]:
        """Return the transitions that can be reached, breadth first."""
        outgoing: dict[State | None, list[Transition]] = {}
        for step in transitions:
            outgoing.setdefault(step.source, []).append(step)
        seen, todo, found = {self._start}, [self._start], []
        for state in todo:  # grows while the loop runs
            for step in outgoing.get(state, ()):
                found.append(step)
                if step.target not in seen:
                    seen.add(step.target)
                    todo.append(step.target)
        return tuple(found)
