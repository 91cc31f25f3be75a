"""The states of a machine of the library ``python-statemachine``, compound ones included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..domain.nesting import Edge, Nested
from ..domain.transition import INTERNAL

SEPARATOR = "."


def read(machine: Any, _: bool) -> tuple[Nested | None, Iterable[Nested]]:
    """Return the initial state and all states of a machine, or of a class of machines.

    Raises:
        ValueError: States are parallel, or remember a history.
    """
    declared: Any = machine if isinstance(machine, type) else type(machine)  # a machine has proxies of its states
    pairs = list(_pairs(declared.states, None))
    nodes = {id(state): node for state, node in pairs}
    for state, node in pairs:
        for transition in state.transitions:
            targets = [nodes[id(target)] for target in transition.targets]
            if len(targets) > 1:
                raise ValueError(f"a transition of {node.name!r} leads to several states: {transition}")
            target = targets[0] if targets else None
            if transition.initial:
                node.initial = target
                continue
            sure = not any(spec.group.name in ("COND", "VALIDATOR") for spec in transition._specs)
            for action in _actions(transition):
                node.edges.append(Edge(action, target, sure=sure))
    initial = declared.initial_state
    return None if initial is None else nodes[id(initial)], nodes.values()


def path_of(state: Any) -> str:
    """Return a state's name with those of the states around it, outermost first."""
    names = [state.id]
    while state.parent is not None:
        state = state.parent
        names.append(state.id)
    return SEPARATOR.join(reversed(names))


def _pairs(states: Iterable[Any], parent: Nested | None) -> Iterator[tuple[Any, Nested]]:
    for state in states:
        if state.parallel or state.history:
            what = "has parallel regions" if state.parallel else "remembers a history"
            raise ValueError(
                f"the state {path_of(state)!r} {what}, which a specification of one instance cannot have: give a "
                "specification of your own"
            )
        node = Nested(path_of(state), parent)
        yield state, node
        yield from _pairs(state.states, node)


def _actions(transition: Any) -> list[str]:
    return [str(event) for event in transition.events] or [INTERNAL]
