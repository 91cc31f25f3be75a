"""Finds what an incomplete model was not observed to do: states of the model, each with an action that it lacks.

Each state of an incomplete model can be assigned a class of the specification. An action is *unseen* if the class can
do it, and the state was not observed to do it, also after silent steps inside the class. There is always an unseen
action: a state that lacks none is equivalent to its class.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State, Transition
from .arrays import Grouped, components
from .extension import mapping
from .graph import SILENT, Graph
from .pairs import Pairs
from .specified import Specified


class Unseen(NamedTuple):
    """A step that was not seen.

    Attributes:
        state: A state of the model.
        action: The action that it was not observed to do; the internal action if endless silent steps are missing.
        target: The specification's name of the state after the action.
    """

    state: State
    action: str
    target: State


class Reading:
    """An incomplete model, with a class of the specification for each state.

    Args:
        impl: The model.
        specified: The specification.

    Attributes:
        own: The class of each state, in breadth-first order; empty if no assignment was found with bounded effort.
        unseen: The actions that are missing for equivalence, the nearest to the start first.
        ends: The class after each of `unseen`.
    """

    def __init__(self, impl: LTS, specified: Specified) -> None:
        self._impl = impl
        self.own: dict[State, int] = {}
        self.unseen: tuple[Unseen, ...] = ()
        self.ends: tuple[int, ...] = ()
        self._before: dict[State, Transition] = {}
        graph = Graph((impl, specified.small), specified.kind)
        found = mapping(graph)
        order = _order(impl, self._before)
        if found is None:
            self._guess(order, specified)
            return
        number = {node: int(own) for own, node in graph.nodes[1].items()}
        nodes = graph.nodes[0]
        self.own = {state: number[found[nodes[state]]] for state in order}
        lacking = _lacking(graph, {node: number[own] for node, own in found.items()}, specified)
        told: set[int] = set()
        listed: list[tuple[Unseen, int]] = []
        for state in order:
            node = nodes[state]
            if node not in told:
                told.add(node)
                for action, end in lacking.get(node, ()):
                    steps = specified.step(specified.named(self.own[state], state), action, end)
                    target: State = steps[-1].target if steps else specified.named(end)
                    listed.append((Unseen(state, action, target), end))
        self.unseen = tuple(unseen for unseen, _ in listed)
        self.ends = tuple(end for _, end in listed)

    def run(self, state: State) -> tuple[tuple[Transition, int], ...]:
        """Return a shortest run to a state, each step with the class after it; without steps if `own` is empty."""
        found: list[tuple[Transition, int]] = []
        while self.own and state in self._before:
            step = self._before[state]
            found.append((step, self.own[state]))
            state = step.source  # type: ignore[assignment]  # no step here is an initialisation
        return tuple(found[::-1])

    def way(self, state: State) -> tuple[Transition, ...]:
        """Return a shortest run to a state."""
        found: list[Transition] = []
        while state in self._before:
            found.append(self._before[state])
            state = found[-1].source  # type: ignore[assignment]
        return tuple(found[::-1])

    def does(self, state: State, action: str) -> bool:
        """Return whether a state was observed to do an action."""
        return any(source == state and done == action for source, done, _ in self._impl.transitions)

    def _guess(self, order: Iterable[State], specified: Specified) -> None:
        """List actions that all possible classes of a state can do, and that the state was not observed to do."""
        pairs = Pairs(self._impl, specified)
        seen, allowed = _seen(pairs, specified), cache(specified.allowed)
        listed: list[tuple[Unseen, int]] = []
        for state in order:
            classes = pairs.classes.get(state, [])
            for action in allowed(classes[0]) if classes else ():
                if action not in seen.get(state, ()) and all(action in allowed(own) for own in classes):
                    end = next(e for own in specified.near(classes[0]) for e in specified.moves(own).get(action, ()))
                    listed.append((Unseen(state, action, specified.named(end)), end))
        self.unseen = tuple(unseen for unseen, _ in listed)
        self.ends = tuple(end for _, end in listed)


def _order(impl: LTS, before: dict[State, Transition]) -> list[State]:
    """Return the states in breadth-first order, and add to `before` the step by which each is reached."""
    outgoing: dict[State, list[Transition]] = {}
    steps: Any = impl.transitions
    for step in steps:
        outgoing.setdefault(step[0], []).append(Transition(*step))
    order = [impl.initial_state]
    for state in order:  # grows while the loop runs
        for taken in outgoing.get(state, ()):
            if taken.target not in before and taken.target != impl.initial_state:
                before[taken.target] = taken
                order.append(taken.target)
    return order


def _lacking(graph: Graph, own: dict[int, int], specified: Specified) -> dict[int, list[tuple[str, int]]]:
    """Return for each node of the model the unseen actions, each with the class after it.

    A node with a silent step inside its class is left out: whatever it lacks, the target of that step lacks as well.
    """
    place = {action: at for at, action in enumerate(specified.actions)}
    done: dict[int, set[tuple[str, int]]] = {}
    found: dict[int, list[tuple[str, int]]] = {}
    for node in sorted(own):  # silent steps lead to smaller numbers
        shown = done[node] = {(_action(graph, code), own[target]) for code, target in graph.visible[node]}
        inside = [target for target in graph.silent[node] if own[target] == own[node]]
        for target in graph.silent[node]:
            shown |= done[target] if own[target] == own[node] else {(INTERNAL, own[target])}
        if not inside:
            required = ((a, end) for a, ends in specified.moves(own[node]).items() for end in ends)
            lacks = [one for one in required if one not in shown]
            found[node] = sorted(lacks, key=lambda one: (place.get(one[0], len(place)), one[1]))
    return found


def _action(graph: Graph, code: int) -> str:
    return INTERNAL if code in (SILENT, graph.divergence * graph.base) else graph.actions[code // graph.base]


def _seen(pairs: Pairs, specified: Specified) -> dict[State, set[str]]:
    """Return the actions that each state was observed to do, also after silent steps."""
    states = list(dict.fromkeys([*pairs.steps, *(end for steps in pairs.steps.values() for _, end in steps)]))
    number = {state: at for at, state in enumerate(states)}
    silent = [
        [] if specified.strong else [number[end] for action, end in pairs.steps.get(state, ()) if action == INTERNAL]
        for state in states
    ]
    component, count = components(Grouped.of_targets(silent))
    found: list[set[str]] = [set() for _ in range(count)]
    for at in sorted(range(len(states)), key=component.__getitem__):  # silent steps lead to smaller components
        own = found[component[at]]
        own.update(action for action, _ in pairs.steps.get(states[at], ()))
        own.update(*(found[component[end]] for end in silent[at] if component[end] != component[at]))
    return {state: found[component[at]] for state, at in number.items()}
