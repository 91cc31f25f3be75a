"""Input-output conformance (ioco): after each run that the specification describes, it must allow the model's outputs.

::

    specified:   idle --?coin--> paid --!coffee--> idle        may output coffee after a coin; must not be silent there
    seen:        idle --?coin--> paid --!tea-----> idle        violates it: tea after coin
                 idle --?kick--> mad  --!smoke---> idle        does not: the specification says nothing about kicks

Waiting without an output is an observation as well, *quiescence*. It is allowed if the specification may be in a state
at rest without outputs (Tretmans 1996; 2008). Inputs that a model does not accept are no error: they were not observed.
A silent cycle without outputs counts as waiting.
"""

from __future__ import annotations

from typing import Final

from ..domain.transition import INTERNAL
from .inclusion import MOST_PAIRS, Edge, Refusal, Subsets, TooManyPairs
from .weak import Weak

QUIESCENCE: Final = "__quiescence__"
"""The observation that a system waits for an input."""

Came = tuple[int, str, Edge | None]


def unexpected(impl: Weak, spec: Weak, inputs: frozenset[str], *, waiting: bool = True) -> Refusal | None:
    """Return a shortest run of `impl`, counting silent steps and waits, to an output that is not specified, or None.

    Args:
        impl: The model, not collapsed.
        spec: The specification.
        inputs: The actions that are inputs; all others are outputs.
        waiting: Whether waiting is an observation. If not, only outputs can be wrong.

    Raises:
        TooManyPairs: A bound was hit before an answer was found.
    """
    return _Search(impl, spec, inputs).run(waiting=waiting)


class _Search:
    """Searches pairs of a state of the model and the set of states that the specification may be in, breadth first.

    Unlike in `inclusion`, a pair with a smaller set does not replace one with a larger set: it describes fewer inputs.
    """

    def __init__(self, impl: Weak, spec: Weak, inputs: frozenset[str]) -> None:
        self._impl, self._spec, self._inputs = impl, spec, inputs
        self._subsets = Subsets(spec)
        self._pairs: list[tuple[int, int]] = []
        self._came: list[Came | None] = []
        self._seen: set[tuple[int, int]] = set()
        self._waits: dict[int, int] = {}

    def run(self, *, waiting: bool) -> Refusal | None:
        self._add(self._impl.start, self._subsets.number(frozenset([self._spec.start])), None)
        for entry, (state, number) in enumerate(self._pairs):
            if waiting and _waits(self._impl, state, self._inputs):
                rests = self._after_waiting(number)
                if not rests:
                    return self._refusal(entry, number, None)
                self._add(state, rests, (entry, QUIESCENCE, None))
            for action, target in self._impl.steps[state]:
                there = number if action == INTERNAL else self._subsets.after(number, action)
                edge = (self._impl.states[state][0], action, self._impl.states[target][0])
                if there:
                    self._add(target, there, (entry, action, edge))
                elif action not in self._inputs:
                    return self._refusal(entry, number, edge)
        return None

    def _add(self, state: int, number: int, came: Came | None) -> None:
        if (state, number) not in self._seen:
            self._seen.add((state, number))
            self._pairs.append((state, number))
            self._came.append(came)
            if len(self._pairs) > MOST_PAIRS:
                raise TooManyPairs

    def _after_waiting(self, number: int) -> int:
        known = self._waits.get(number)
        if known is None:
            near = {here for node in self._subsets.sets[number] for here in self._spec.near(node)}
            rests = frozenset(here for here in near if _waits(self._spec, here, self._inputs))
            known = self._waits[number] = self._subsets.number(rests)
        return known

    def _refusal(self, entry: int, number: int, last: Edge | None) -> Refusal:
        steps, labels = ([], [QUIESCENCE]) if last is None else ([last], [last[1]])
        while (came := self._came[entry]) is not None:
            entry, label, edge = came
            if edge is not None:
                steps.append(edge)
            if label != INTERNAL:
                labels.append(label)
        return Refusal(tuple(steps[::-1]), self._subsets.sets[number], waits=last is None, labels=tuple(labels[::-1]))


def _waits(system: Weak, node: int, inputs: frozenset[str]) -> bool:
    return system.at_rest[node] and system.menu(node) <= inputs
