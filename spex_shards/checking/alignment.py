"""Alignments: the fewest edits that turn what was observed into a run of a specification.

::

    observed         pay           refund   ship
    run        new ──pay──▶ paid ───────────ship──▶ shipped
    move           same            surplus  same               cost 1

An alignment is a sequence of moves. An observed action may be dropped (*surplus*), and a visible specified action may
be added (*missing*); each costs 1. An action of both sides and a silent step of the specification cost nothing. The
best alignment is a shortest path through the pairs (place in the observed sequence, specified state); see Adriansyah,
"Aligning Observed and Modeled Behavior", 2014.

The search goes from the end to the beginning. A *column* has, for one place, the cost from each state to the end. The
column before an action depends on nothing but the column after it and the action, and differences between costs are
small: so few columns differ, each is computed once, and a step mostly costs one look-up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from heapq import heapify, heappop, heappush
from math import isqrt
from typing import Final, NamedTuple

from ..domain.lts import LTS
from ..domain.transition import INTERNAL
from .systems import NO_BEHAVIOUR

_MISSING: Final = 1 << 24
_SURPLUS: Final = _MISSING + 1
"""One more than `_MISSING`: of the alignments with the fewest edits, those with the fewest surplus actions are best."""
_MOST_KEPT: Final = 1_000_000
"""So many costs of columns are remembered."""


class MoveKind(StrEnum):
    """What a move of an alignment is."""

    SAME = "same"
    """Observed, and a step of the run."""
    MISSING = "missing"
    """A step of the run that was not observed."""
    SURPLUS = "surplus"
    """Observed, and no step of the run."""
    SILENT = "silent"
    """A silent step of the run."""


class Move(NamedTuple):
    """A move of an alignment.

    Attributes:
        kind: What it is.
        action: The action.
        state: The specified state after it.
    """

    kind: MoveKind
    action: str
    state: str


class Alignment(NamedTuple):
    """The best alignment of an observed sequence of actions with a run.

    Attributes:
        moves: The moves, in order. Without the missing and silent ones they are what was observed; without the surplus
            ones they are the run.
        cost: The number of missing and surplus actions.
    """

    moves: tuple[Move, ...]
    cost: int

    @property
    def run(self) -> tuple[str, ...]:
        """The visible actions of the run."""
        return tuple(move.action for move in self.moves if move.kind in (MoveKind.SAME, MoveKind.MISSING))

    def __str__(self) -> str:
        """Return the moves in one line: ``+action`` is missing, ``-action`` is surplus."""
        return ", ".join(_SIGNS[move.kind] + move.action for move in self.moves if move.kind is not MoveKind.SILENT)


_SIGNS: Final = {MoveKind.SAME: "", MoveKind.MISSING: "+", MoveKind.SURPLUS: "-"}


class NoCompleteRun(ValueError):
    """A run must be complete, and the specification has no terminal state that a run can reach."""


class _Column:
    """The costs from each state to the end, less the least of them, and the columns before it that are known."""

    __slots__ = ("before", "costs")

    def __init__(self, costs: tuple[int, ...]) -> None:
        self.costs = costs
        self.before: dict[str, tuple[_Column, int]] = {}


class Aligner:
    """Aligns sequences of actions with the runs of one specification.

    Args:
        lts: The specification's system; None for one without transitions.
        complete: Whether a run must end in a terminal state. Otherwise it may end anywhere, as that of an instance that
            still lives.

    Attributes:
        shortest: The number of visible actions of a shortest run: 0 unless runs must be complete.

    Besides what is remembered (a bounded number of columns), aligning n actions needs about twice the square root of n
    columns at a time; a column has one cost for each reachable state. Not to be shared between threads.

    Raises:
        NoCompleteRun: `complete` is true, and there is no complete run.
    """

    def __init__(self, lts: LTS | None, *, complete: bool = False) -> None:
        lts = NO_BEHAVIOUR if lts is None else lts
        self._states, steps = _useful(lts, complete)
        numbers = {state: number for number, state in enumerate(self._states)}
        self._leads: list[list[tuple[str, int]]] = [[] for _ in self._states]
        self._into: list[list[tuple[int, int]]] = [[] for _ in self._states]
        self._by_action: dict[str, list[tuple[int, int]]] = {}
        for before, action, after in steps:
            source, target = numbers[before], numbers[after]
            self._leads[source].append((action, target))
            self._into[target].append((source, 0 if action == INTERNAL else _MISSING))
            self._by_action.setdefault(action, []).append((source, target))
        self._ends = [not complete or not leads for leads in self._leads]
        self._columns: dict[tuple[int, ...], _Column] = {}
        # No cost is larger than that of a path through all states.
        far = _MISSING * len(self._states)
        costs = [0 if end else far for end in self._ends]
        self._relax(costs, [(0, number) for number, end in enumerate(self._ends) if end])
        self.shortest = costs[0] // _MISSING
        self._last, _ = self._column(costs)

    def align(self, actions: Sequence[str]) -> Alignment:
        """Return the best alignment of a sequence of actions with a run.

        Of all alignments with the fewest edits it is one with the fewest surplus actions. Of those it is the one that,
        from the beginning on, prefers a move of both sides to a surplus action, and that to a missing one, then fewer
        silent steps, then the step that the specification has first.

        Args:
            actions: What was observed; silent actions in it are left out.
        """
        seen = [action for action in actions if action != INTERNAL]
        moves: list[Move] = []
        state = 0
        for place, (column, after, offset) in enumerate(self._walk(seen)):
            state = self._advance(seen[place], state, column, after, offset, moves)
        self._finish(state, moves)
        return Alignment(tuple(moves), sum(move.kind in (MoveKind.MISSING, MoveKind.SURPLUS) for move in moves))

    def _walk(self, actions: list[str]) -> Iterator[tuple[_Column, _Column, int]]:
        """Yield for each place its column, the next one, and what must be added to the first to compare their costs.

        Columns are computed from the end, and wanted from the beginning. Only every √n-th is kept, and those between
        two of them are computed again when they are wanted.
        """
        count, stride = len(actions), isqrt(len(actions)) + 1
        column, kept = self._last, {}
        for place in range(count - 1, -1, -1):
            if (place + 1) % stride == 0 or place + 1 == count:
                kept[place // stride] = column
            column, _ = self._before(column, actions[place])
        for block in range(-(-count // stride)):
            column = kept.pop(block)
            columns = []
            for action in reversed(actions[block * stride : (block + 1) * stride]):
                after = column
                column, offset = self._before(after, action)
                columns.append((column, after, offset))
            yield from reversed(columns)

    def _before(self, column: _Column, action: str) -> tuple[_Column, int]:
        known = column.before.get(action)
        if known is not None:
            return known
        costs = [cost + _SURPLUS for cost in column.costs]
        better: list[tuple[int, int]] = []
        for source, target in self._by_action.get(action, ()):
            cost = column.costs[target]
            if cost < costs[source]:
                costs[source] = cost
                better.append((cost, source))
        heapify(better)
        self._relax(costs, better)
        found = column.before[action] = self._column(costs)
        return found

    def _relax(self, costs: list[int], better: list[tuple[int, int]]) -> None:
        """Lower the costs of states from which steps lead to those that got better; `better` is a heap."""
        while better:
            cost, target = heappop(better)
            if cost > costs[target]:
                continue
            for source, step in self._into[target]:
                if cost + step < costs[source]:
                    costs[source] = cost + step
                    heappush(better, (cost + step, source))

    def _column(self, costs: list[int]) -> tuple[_Column, int]:
        least = min(costs)
        key = tuple(cost - least for cost in costs)
        found = self._columns.get(key)
        if found is None:
            if (len(self._columns) + 1) * len(key) > _MOST_KEPT:
                for column in self._columns.values():
                    column.before.clear()
                self._columns.clear()
            found = self._columns[key] = _Column(key)
        return found, least

    def _advance(self, action: str, state: int, here: _Column, after: _Column, offset: int, moves: list[Move]) -> int:
        """Append the moves up to the one that takes an observed action; return the state after it."""
        while True:
            paths, cost = self._silently(state, here.costs), here.costs[state] + offset
            for source in paths:
                for label, target in self._leads[source]:
                    if label == action and cost == after.costs[target]:
                        self._append(moves, paths, source, MoveKind.SAME, label, target)
                        return target
            if cost == after.costs[state] + _SURPLUS:
                moves.append(Move(MoveKind.SURPLUS, action, str(self._states[state])))
                return state
            state = self._add(paths, here.costs, moves)

    def _finish(self, state: int, moves: list[Move]) -> None:
        """Append the moves that complete the run."""
        costs = self._last.costs
        while not self._ends[state]:
            paths = self._silently(state, costs)
            end = next((source for source in paths if self._ends[source]), None)
            if end is not None:
                self._append_silent(moves, paths, end)
                return
            state = self._add(paths, costs, moves)

    def _add(self, paths: dict[int, int], costs: tuple[int, ...], moves: list[Move]) -> int:
        """Append the nearest missing action that a best alignment has here; return the state after it."""
        source, action, target = next(
            (source, action, target)
            for source in paths
            for action, target in self._leads[source]
            if action != INTERNAL and costs[source] == costs[target] + _MISSING
        )
        self._append(moves, paths, source, MoveKind.MISSING, action, target)
        return target

    def _silently(self, state: int, costs: tuple[int, ...]) -> dict[int, int]:
        """Return the states that silent steps of best alignments lead to, nearest first, with the one before each."""
        found, todo = {state: state}, [state]
        for source in todo:
            for action, target in self._leads[source]:
                if action == INTERNAL and target not in found and costs[target] == costs[source]:
                    found[target] = source
                    todo.append(target)
        return found

    def _append(
        self, moves: list[Move], paths: dict[int, int], source: int, kind: MoveKind, action: str, target: int
    ) -> None:
        self._append_silent(moves, paths, source)
        moves.append(Move(kind, action, str(self._states[target])))

    def _append_silent(self, moves: list[Move], paths: dict[int, int], state: int) -> None:
        silent = []
        while paths[state] != state:
            silent.append(Move(MoveKind.SILENT, INTERNAL, str(self._states[state])))
            state = paths[state]
        moves.extend(reversed(silent))


def _useful(lts: LTS, complete: bool) -> tuple[list[str | int], list[tuple[str | int, str, str | int]]]:
    """Return the states that a run can be in, the initial one first, and the steps between them.

    Where runs must be complete, only states from which a terminal state can be reached are in such a run.
    """
    forth: dict[str | int, list[str | int]] = {}
    back: dict[str | int, list[str | int]] = {}
    for source, _, target in lts.transitions:
        forth.setdefault(source, []).append(target)
        back.setdefault(target, []).append(source)
    states = _reached([lts.initial_state], forth)
    if complete:
        ending = set(_reached([state for state in states if state not in forth], back))
        states = [state for state in states if state in ending]
        if lts.initial_state not in ending:
            raise NoCompleteRun("no terminal state of the specification can be reached, so no run is complete")
    known = set(states)
    return states, [step for step in lts.transitions if step[0] in known and step[2] in known]


def _reached(states: list[str | int], leads: dict[str | int, list[str | int]]) -> list[str | int]:
    found = dict.fromkeys(states)
    todo = list(found)
    for state in todo:
        for target in leads.get(state, ()):
            if target not in found:
                found[target] = None
                todo.append(target)
    return todo
