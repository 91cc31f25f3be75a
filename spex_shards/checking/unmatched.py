"""Lists the transitions of one system that nothing in another can match, and the other way round.

States of both systems are *paired* if the same visible actions can lead to both. A transition is unmatched if no state
that its source is paired with can do its action, also after silent steps. Each transition in the list has no
counterpart. But the list may be empty for systems that are not equivalent, if they differ only in where choices are
made.
"""

from __future__ import annotations

from typing import Any, Final

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State, Transition
from .graph import Equivalence
from .model_checker import ModelChecker

MOST_EFFORT: Final = 1_000_000
"""After examining this many pairs and steps, only transitions with actions that the other system lacks are listed."""

Moves = dict[str, list[State]]


def unmatched(impl: LTS, spec: LTS, equivalence: Equivalence) -> tuple[tuple[Transition, ...], tuple[Transition, ...]]:
    """Return the transitions of `spec` that `impl` does not match, and those of `impl` that `spec` does not.

    Unreachable transitions are ignored; silent steps count under strong bisimilarity only.
    """
    ours, theirs = (_Side(lts, strong=equivalence is Equivalence.STRONG) for lts in (impl, spec))
    if _pair(ours, theirs):
        return theirs.unmatched(theirs.allowed()), ours.unmatched(ours.allowed())
    alphabets = [{action for _, action, _ in side.steps} for side in (ours, theirs)]
    return theirs.unmatched(dict.fromkeys(theirs.reachable, alphabets[0])), ours.unmatched(
        dict.fromkeys(ours.reachable, alphabets[1])
    )


class _Side:
    """One system.

    Attributes:
        matched: For each paired state, the actions that are possible in the states it is paired with.
        effort: How many steps were examined.
    """

    def __init__(self, lts: LTS, *, strong: bool) -> None:
        self._strong = strong
        self._system = ModelChecker(lts)
        self._moves: dict[State, Moves] = {}
        self._near: dict[State, list[State]] = {}
        self.initial_state = lts.initial_state
        self.reachable = {lts.initial_state}
        todo = [lts.initial_state]
        while todo:
            here = todo.pop()
            for action in self._system.actions(here):
                new = set(self._system.after(here, action)) - self.reachable
                self.reachable |= new
                todo += new
        self.steps = [step for step in lts.transitions if step[0] in self.reachable]
        self.matched: dict[State, set[str]] = {}
        self.effort = 0

    def near(self, state: State) -> list[State]:
        """Return the states whose steps count as those of `state`."""
        if state not in self._near:
            alone = self._strong or INTERNAL not in self._system.actions(state)
            self._near[state] = [state] if alone else [s for s, _ in self._system.silent_tree(state)]
            self.effort += len(self._near[state])
        return self._near[state]

    def moves(self, state: State) -> Moves:
        """Return the actions that are possible in a state, with their targets."""
        if state not in self._moves:
            found: dict[str, dict[State, None]] = {}
            for here in self.near(state):
                for action in self._system.actions(here):
                    if self._strong or action != INTERNAL:
                        targets = self._system.after(here, action)
                        self.effort += len(targets)
                        if action in found:
                            found[action].update(dict.fromkeys(targets))
                        else:
                            found[action] = dict.fromkeys(targets)
            self._moves[state] = {action: list(targets) for action, targets in found.items()}
        return self._moves[state]

    def allowed(self) -> dict[State, set[str]]:
        """Return for each state the actions of it that are matched."""
        allowed: dict[State, set[str]] = {}
        for state, actions in self.matched.items():
            for here in self.near(state):
                allowed.setdefault(here, set()).update(actions)
        return allowed

    def unmatched(self, allowed: dict[State, set[str]]) -> tuple[Transition, ...]:
        """Return the steps that are not allowed, in the system's order."""
        nothing: set[str] = set()
        found: list[Any] = [s for s in self.steps if s[1] not in allowed.get(s[0], nothing)]
        return tuple(Transition(*step) for step in found if self._strong or step[1] != INTERNAL)


def _pair(ours: _Side, theirs: _Side) -> bool:
    """Pair all states, from the initial ones on; return False if the effort was too large."""
    first = ours.initial_state, theirs.initial_state
    seen, todo = {first}, [first]
    while todo:
        one, other = todo.pop()
        mine, yours = ours.moves(one), theirs.moves(other)
        ours.matched.setdefault(one, set()).update(yours)
        theirs.matched.setdefault(other, set()).update(mine)
        for action in mine.keys() & yours.keys():
            ours.effort += len(mine[action]) * len(yours[action])
            if ours.effort + theirs.effort > MOST_EFFORT:
                return False
            ends = [(target, end) for target in mine[action] for end in yours[action]]
            new = set(ends) - seen
            seen |= new
            todo += new
    return True
