"""States within states: a statechart's hierarchy, and the flat transitions that it stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .transition import INTERNAL, Transition


class Edge(NamedTuple):
    """A transition of a statechart.

    Attributes:
        action: The action.
        target: The state that it leads to; None: no state is left.
        sure: Whether it is taken whenever its action happens; if not, it has a condition.
    """

    action: str
    target: Nested | None
    sure: bool = True


@dataclass(eq=False)
class Nested:
    """A state that may have states of its own.

    Attributes:
        name: Its full name.
        parent: The state that it belongs to, or None.
        initial: The state of its own that is entered with it; None: it is enough to be in this one.
        edges: The transitions that leave it, or any state within it, in order of precedence.
    """

    name: str
    parent: Nested | None = None
    initial: Nested | None = None
    edges: list[Edge] = field(default_factory=list)

    def settled(self) -> Nested:
        """Return the state in which a chart is that has entered this one."""
        state = self
        while state.initial is not None:
            state = state.initial
        return state


def flattened(states: Iterable[Nested]) -> list[Transition]:
    """Return the transitions between the states in which a chart can be, in the order of the states.

    A state takes its own transitions before those of the states around it. An action that it surely takes itself is
    never left to those, and a silent step that it surely takes leaves no time for anything else.
    """
    found: dict[Transition, None] = {}
    for state in states:
        if state.initial is None:
            found.update(dict.fromkeys(_of(state)))
    return list(found)


def _of(state: Nested) -> Iterator[Transition]:
    steps: list[Transition] = []
    taken: set[str] = set()
    level: Nested | None = state
    while level is not None:
        for action, target, sure in level.edges:
            if action not in taken:
                steps.append(Transition(state.name, action, (target or state).settled().name))
                if sure:
                    taken.add(action)
        level = level.parent
    if INTERNAL in taken:
        steps = [step for step in steps if step.action == INTERNAL]
    yield from steps
