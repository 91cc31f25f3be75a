"""Checks whether a cause proves a violation, by the definition alone. Each cause is checked by this before it is shown.

On purpose it shares nothing with the modules that find causes (`pairs`, `core`, `extension`, `Graph`). It tries every
assignment of classes to the few states of the cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State, Transition
from .graph import Equivalence

Step = tuple[State, str, State]

MOST_TRIED: Final = 1_000_000
"""After trying this many classes, the question stays open."""


def irreparable(start: State, cause: Iterable[Transition], small: LTS, kind: Equivalence) -> bool | None:
    """Return whether no extension of a model with these transitions is equivalent to a minimised specification.

    In an equivalent extension, each state is equivalent to one class, and each step is a step of that class, or silent
    and inside the class.

    Args:
        start: The model's initial state.
        cause: The model's transitions; unreachable ones are ignored.
        small: The minimised specification, 0 its initial state.
        kind: The equivalence.

    Returns:
        The answer, or None if the effort is too large.
    """
    steps = [(t.source, t.action, t.target) for t in cause if t.source is not None]
    return _Assignments(start, steps, small, kind).none_fits()


class _Assignments:
    """All assignments of a class to each state of some steps, in the order in which the states are reached."""

    def __init__(self, start: State, steps: Sequence[Step], small: LTS, kind: Equivalence) -> None:
        self._order = _reached(start, steps)
        self._allowed = set(small.transitions)
        self._leads: dict[tuple[State, str], list[State]] = {}
        for source, action, target in small.transitions:
            self._leads.setdefault((source, action), []).append(target)
        self._inert = kind is not Equivalence.STRONG
        preserving = kind is Equivalence.DIVERGENCE_PRESERVING_BRANCHING
        self._endless = _endless(self._order, steps) if preserving else set()
        # A step is checked as soon as both its states have a class. Each state is the target of a step from an earlier
        # state.
        self._settled: dict[State, list[Step]] = {state: [] for state in self._order}
        self._lead: dict[State, tuple[State, str]] = {}
        place = {state: at for at, state in enumerate(self._order)}
        for source, action, target in steps:
            if source in place:
                self._settled[max(source, target, key=place.__getitem__)].append((source, action, target))
                if place[source] < place[target]:
                    self._lead.setdefault(target, (source, action))
        self._own: dict[State, State] = {}

    def none_fits(self) -> bool | None:
        """Return whether no assignment fits all steps; None if there are too many assignments."""
        choices: list[list[State]] = [[0]]
        tried = 0
        while choices:
            if not choices[-1]:
                choices.pop()
                continue
            tried += 1
            if tried > MOST_TRIED:
                return None
            state = self._order[len(choices) - 1]
            self._own[state] = choices[-1].pop()
            if not self._fits(state):
                continue
            if len(choices) == len(self._order):
                return False
            choices.append(self._classes(self._order[len(choices)]))
        return True

    def _fits(self, state: State) -> bool:
        own = self._own
        if state in self._endless and (own[state], INTERNAL, own[state]) not in self._allowed:
            return False
        for source, action, target in self._settled[state]:
            step = own[source], action, own[target]
            if step not in self._allowed and not (self._inert and action == INTERNAL and step[0] == step[2]):
                return False
        return True

    def _classes(self, state: State) -> list[State]:
        """Return the classes that the step to a state allows."""
        source, action = self._lead[state]
        own = self._own[source]
        ends = self._leads.get((own, action), ())
        return [*ends, own] if self._inert and action == INTERNAL else [*ends]


def _reached(start: State, steps: Sequence[Step]) -> list[State]:
    outgoing: dict[State, list[State]] = {}
    for source, _, target in steps:
        outgoing.setdefault(source, []).append(target)
    order = {start: None}
    todo = [start]
    for state in todo:  # grows while the loop runs
        for target in outgoing.get(state, ()):
            if target not in order:
                order[target] = None
                todo.append(target)
    return list(order)


def _endless(order: list[State], steps: Sequence[Step]) -> set[State]:
    """Return the states on silent cycles, that is, those that silent steps lead back to."""
    silent: dict[State, set[State]] = {state: set() for state in order}
    for source, action, target in steps:
        if action == INTERNAL and source in silent:
            silent[source].add(target)
    for state in reversed(order):  # backwards: so a long run of silent steps without a cycle is removed in one pass
        silent[state] = {target for target in silent[state] if silent[target] or target == state}
    found = set()
    for state in order:
        seen: set[State] = set()
        todo = list(silent[state])
        while todo:
            here = todo.pop()
            if here not in seen:
                seen.add(here)
                todo += silent[here]
        if state in seen:
            found.add(state)
    return found
