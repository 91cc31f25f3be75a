"""Weak trace inclusion: decides whether each sequence of visible actions of one system is also one of another.

::

    state of the model ──┐  one step of the model; the specification's states follow its action
    set of states of ────┴─▶ (state, set) ─▶ (state, set) ─▶ … ─▶ an action without a state after it: not allowed
    the specification

The specification is made deterministic during the search, so only sets that a run of the model leads to are created
(Vardi and Wolper 1986). A pair is left out if a pair with the same state and a subset of its set was found before: each
run that is refused from the larger set is also refused from the smaller one, at the same step or earlier (De Wulf,
Doyen, Henzinger and Raskin 2006).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ..domain.transition import INTERNAL, State
from .weak import Weak

MOST_PAIRS: Final = 1_000_000
"""The most pairs of a state and a set that a search examines."""
MOST_MEMBERS: Final = 5_000_000
"""The most members of all sets together; with this many pairs and members, a search takes about a gigabyte."""
MOST_EFFORT: Final = 50_000_000
"""The most comparisons of sets."""

Edge = tuple[State, str, State]


class TooManyPairs(Exception):
    """The search hit one of its bounds."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A run of the model that the specification does not allow.

    Attributes:
        run: The run; its last step is not allowed, unless `waits` is true.
        nodes: The nodes that the specification could be in before that.
        waits: Whether the run is allowed, and waiting at its end is not; for `ioco` only.
        labels: The observations: the visible actions of the run, and `QUIESCENCE` where it waited.
    """

    run: tuple[Edge, ...]
    nodes: frozenset[int]
    waits: bool = False
    labels: tuple[str, ...] = ()


class Subsets:
    """Sets of nodes, each identified by a number; 0 is the empty set. The moves between sets are computed once.

    Raises:
        TooManyPairs: The sets have more than `MOST_MEMBERS` members together (raised by methods that add a set).
    """

    def __init__(self, system: Weak) -> None:
        self._system = system
        self._numbers: dict[frozenset[int], int] = {frozenset(): 0}
        self._after: dict[tuple[int, str], int] = {}
        self._members = 0
        self.sets: list[frozenset[int]] = [frozenset()]

    def number(self, nodes: frozenset[int]) -> int:
        """Return the number of a set."""
        known = self._numbers.get(nodes)
        if known is None:
            self._members += len(nodes)
            if self._members > MOST_MEMBERS:
                raise TooManyPairs
            known = self._numbers[nodes] = len(self.sets)
            self.sets.append(nodes)
        return known

    def after(self, number: int, action: str) -> int:
        """Return the number of the set that a visible action leads to from a set."""
        known = self._after.get((number, action))
        if known is None:
            known = self._after[number, action] = self.number(self._system.after(self.sets[number], action))
        return known


def refused(impl: Weak, spec: Weak, most: int | None = None) -> Refusal | None:
    """Return a shortest run of `impl`, counting silent steps, that `spec` does not allow; None if it allows all.

    Args:
        impl: The model, not collapsed.
        spec: The specification.
        most: The most pairs that are examined; by default `MOST_PAIRS`.

    Raises:
        TooManyPairs: A bound was hit before an answer was found.
    """
    subsets = Subsets(spec)
    first = subsets.number(frozenset([spec.start]))
    found = _Pairs(impl, subsets.sets, MOST_PAIRS if most is None else most)
    found.add(impl.start, first, None, None)
    for entry, (state, number) in found.entries():
        for action, target in impl.steps[state]:
            there = number if action == INTERNAL else subsets.after(number, action)
            if not there:
                run = (*found.run(entry), (impl.states[state][0], action, impl.states[target][0]))
                return Refusal(run, subsets.sets[number])
            found.add(target, there, entry, action)
    return None


class _Pairs:
    """The pairs that were reached, in the order of the length of the runs that lead there."""

    def __init__(self, impl: Weak, sets: list[frozenset[int]], most: int) -> None:
        self._impl, self._most = impl, most
        self._sets = sets
        self._pairs: list[tuple[int, int]] = []
        self._came: list[tuple[int, str] | None] = []
        self._smallest: dict[int, list[int]] = {}
        self._effort = 0

    def add(self, state: int, number: int, before: int | None, action: str | None) -> None:
        """Add a pair, unless there is one with the same state and a subset of the set.

        Raises:
            TooManyPairs: There are too many pairs.
        """
        kept = self._smallest.get(state)
        if kept is None:
            self._smallest[state] = [number]
        else:
            if number in kept:
                return
            own, sets = self._sets[number], self._sets
            self._effort += len(kept)
            if any(sets[other] <= own for other in kept):
                return
            kept[:] = [other for other in kept if not own <= sets[other]]
            kept.append(number)
        self._pairs.append((state, number))
        self._came.append(None if before is None or action is None else (before, action))
        if len(self._pairs) > self._most or self._effort > MOST_EFFORT:
            raise TooManyPairs

    def entries(self) -> Iterator[tuple[int, tuple[int, int]]]:
        """Yield each pair with its index, also those that are added during the iteration."""
        yield from enumerate(self._pairs)

    def run(self, entry: int) -> list[Edge]:
        """Return the run that led to an entry."""
        steps: list[Edge] = []
        while (came := self._came[entry]) is not None:
            before, action = came
            source, target = self._pairs[before][0], self._pairs[entry][0]
            steps.append((self._impl.states[source][0], action, self._impl.states[target][0]))
            entry = before
        return steps[::-1]
