"""Which specified states a state of a model may stand for, by the runs that lead to it.

A run of the model and the classes of the specification are followed side by side, step by step: a *pair* (state, class)
is there if some run to the state can end in the class. What no class of a state allows was seen and is not specified,
whatever else the model holds: no extension takes a pair away.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from ..domain.lts import LTS
from ..domain.transition import State, Transition
from .specified import Specified

MOST_PAIRS: Final = 1_000_000
"""So many pairs are looked at; a model whose states stand for many classes each may have more."""

Pair = tuple[State, int]
Run = tuple[Transition, ...]


class Pairs:
    """The pairs of a model, found breadth first, so that the runs to them are shortest.

    Args:
        impl: The model.
        specified: What it is judged by.

    Attributes:
        classes: For each reached state its classes, in the order in which they were found.
        steps: For each state the steps from it, in the model's order.
        conflict: The first pair found of a state that had another one, with that one; None if each state has one.
            All pairs found before are of states of one class each.
        whole: Whether all pairs were looked at.
    """

    def __init__(self, impl: LTS, specified: Specified) -> None:
        self.steps: dict[State, list[tuple[str, State]]] = {}
        for source, action, target in impl.transitions:
            self.steps.setdefault(source, []).append((action, target))
        first: Pair = (impl.initial_state, 0)
        self._before: dict[Pair, tuple[Pair, str] | None] = {first: None}
        self.classes: dict[State, list[int]] = {first[0]: [0]}
        self.conflict: tuple[Pair, Pair] | None = None
        self.whole = True
        self._walk(first, specified)

    def _walk(self, first: Pair, specified: Specified) -> None:
        todo = deque([first])
        while todo:
            state, own = pair = todo.popleft()
            for action, target in self.steps.get(state, ()):
                for end in specified.leads(own, action):
                    new = target, end
                    if new in self._before:
                        continue
                    if len(self._before) >= MOST_PAIRS:
                        self.whole = False
                        return
                    self._before[new] = pair, action
                    known = self.classes.setdefault(target, [])
                    if known and self.conflict is None:
                        self.conflict = (target, known[0]), new
                    known.append(end)
                    todo.append(new)

    def run(self, state: State, own: int) -> tuple[tuple[Transition, int], ...]:
        """Return a shortest run to a pair: each step with the class after it."""
        found: list[tuple[Transition, int]] = []
        pair: Pair = (state, own)
        while (lead := self._before[pair]) is not None:
            before, action = lead
            step: Any = (before[0], action, pair[0])
            found.append((Transition(*step), pair[1]))
            pair = before
        return tuple(found[::-1])
