"""The states of a machine of the library ``transitions``, nested ones included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

from ..domain.nesting import Edge, Nested


def read(machine: Any, auto_transitions: bool) -> tuple[Nested | None, Iterable[Nested]]:
    """Return the initial state and all states of a machine.

    Args:
        machine: The machine.
        auto_transitions: Whether the transitions ``to_STATE`` count, which the library adds for each state.

    Raises:
        ValueError: States are parallel.
    """
    separator = getattr(machine.state_cls, "separator", "_")
    nodes = dict(_nodes(machine.states, "", None, separator))
    for name, state in _levels(machine.states, "", separator):
        nodes[name].initial = _initial(name, getattr(state, "initial", None), nodes, separator)
    automatic = set() if auto_transitions else {f"to_{state}" for state in _auto(machine, nodes, separator)}
    _connect(machine.events, "", nodes, automatic)
    for name, state in _levels(machine.states, "", separator):
        _connect(getattr(state, "events", {}), f"{name}{separator}", nodes, automatic)
    initial = None if machine.initial is None else _name(machine.initial, machine)
    return nodes.get(initial) if initial else None, nodes.values()


def _nodes(
    states: Mapping[str, Any], prefix: str, parent: Nested | None, separator: str
) -> Iterator[tuple[str, Nested]]:
    for key, state in states.items():
        node = Nested(f"{prefix}{key}", parent)
        yield node.name, node
        yield from _nodes(getattr(state, "states", {}), f"{node.name}{separator}", node, separator)


def _levels(states: Mapping[str, Any], prefix: str, separator: str) -> Iterator[tuple[str, Any]]:
    for key, state in states.items():
        yield f"{prefix}{key}", state
        yield from _levels(getattr(state, "states", {}), f"{prefix}{key}{separator}", separator)


def _initial(name: str, given: Any, nodes: Mapping[str, Nested], separator: str) -> Nested | None:
    if not given:
        return None
    if isinstance(given, (list, tuple)):
        if len(given) > 1:
            raise ValueError(
                f"the state {name!r} has parallel regions, which a specification of one instance cannot have: specify "
                f"each region, or give a specification of your own"
            )
        given = given[0]
    return nodes[f"{name}{separator}{given.name if isinstance(given, Enum) else given}"]


def _auto(machine: Any, nodes: Mapping[str, Nested], separator: str) -> Iterator[str]:
    if machine.auto_transitions:
        for name in nodes:
            yield name
            yield name.replace(separator, "_")


def _connect(events: Mapping[str, Any], prefix: str, nodes: Mapping[str, Nested], omitted: set[str]) -> None:
    for action, event in events.items():
        if action in omitted:
            continue
        for source, transitions in event.transitions.items():
            for transition in transitions:
                target = None if not transition.dest else nodes[f"{prefix}{transition.dest}"]
                edge = Edge(action, target, sure=not transition.conditions)
                nodes[f"{prefix}{source}"].edges.append(edge)


def _name(initial: Any, machine: Any) -> str:
    if isinstance(initial, (list, tuple)):
        if len(initial) > 1:
            raise ValueError("the machine begins in parallel states, which a specification of one instance cannot have")
        initial = initial[0]
    if isinstance(initial, Enum):
        path = getattr(machine, "_get_enum_path", None)
        return str(machine.state_cls.separator.join(path(initial)) if path is not None else initial.name)
    return str(initial)
