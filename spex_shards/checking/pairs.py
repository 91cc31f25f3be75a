"""Finds the classes of specified states that each state of a model may be equivalent to, by the runs that lead to it.

Runs of the model and of the specification are followed side by side. A *pair* (state, class) is found if some run to
the state can end in the class. An extension of the model adds pairs, and never removes one. So a step that no class of
its state allows stays a violation, whatever is observed later.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State, Transition
from .specified import Specified

MOST_PAIRS: Final = 1_000_000
"""The most pairs that are examined; a model may have more if its states have many possible classes each."""

Pair = tuple[State, int]
Run = tuple[Transition, ...]


class Pairs:
    """The pairs of a model, found breadth first, so that the runs to them are shortest.

    Args:
        impl: The model.
        specified: The specification.

    Attributes:
        classes: For each reached state its classes, in the order in which they were found.
        steps: For each state the steps from it, in the model's order.
        conflict: The first pair found whose state had another class already, and that earlier pair; None if each state
            has one class. In all pairs found before, each state has one class.
        whole: Whether all pairs were examined.
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
        before, classes, steps, inert = self._before, self.classes, self.steps, not specified.strong
        todo = deque([first])
        while todo:
            pair = todo.popleft()
            state, own = pair
            moves = specified.moves(own)
            for action, target in steps.get(state, ()):
                ends = specified.leads(own, action) if inert and action == INTERNAL else moves.get(action, ())
                for end in ends:
                    new = target, end
                    if new in before:
                        continue
                    if len(before) >= MOST_PAIRS:
                        self.whole = False
                        return
                    before[new] = pair, action
                    known = classes.get(target)
                    if known is None:
                        classes[target] = [end]
                    else:
                        if self.conflict is None:
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
