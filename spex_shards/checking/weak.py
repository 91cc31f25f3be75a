"""`Weak`: a system as seen from outside, where silent steps are not visible.

A state is *at rest* if it has no silent step, or only steps inside its silent cycle, from which no silent step leads
out. The actions that are possible in a state at rest are its *menu*. A silent cycle counts as one state that is left
in the end, as under branching bisimilarity: relations do not observe endless silent activity.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State
from .arrays import Grouped, components

_NOTHING: Final[dict[str, tuple[int, ...]]] = {}


class Weak:
    """A system with its states as numbers; answers to questions about them are remembered.

    Args:
        lts: The system.
        collapse: Whether the states of a silent cycle become one node. They agree in all questions here, but runs can
            be followed only if they stay separate.

    Attributes:
        start: The node of the initial state.
        states: The states of each node.
        steps: The steps of each node: (action, target), with silent ones, but without those inside a node.
        at_rest: Whether each node is at rest.
    """

    def __init__(self, lts: LTS, *, collapse: bool) -> None:
        number: dict[State, int] = {lts.initial_state: 0}
        silent: list[tuple[int, int]] = []
        for source, action, target in lts.transitions:
            here, there = number.setdefault(source, len(number)), number.setdefault(target, len(number))
            if action == INTERNAL:
                silent.append((here, there))
        size = len(number)
        cycle, cycles = list(range(size)), size
        if silent:
            cycle, cycles = components(Grouped(size, [s for s, _ in silent], [t for _, t in silent]))
        self._leaving = bytearray(cycles)
        for here, there in silent:
            self._leaving[cycle[here]] |= cycle[here] != cycle[there]
        self._cycle = cycle
        node = cycle if collapse else list(range(size))
        count = cycles if collapse else size
        self.states: list[list[State]] = [[] for _ in range(count)]
        for state, own in number.items():
            self.states[node[own]].append(state)
        found: list[dict[tuple[str, int], None]] = [{} for _ in range(count)]
        for source, action, target in lts.transitions:
            here, there = node[number[source]], node[number[target]]
            if action != INTERNAL or here != there:
                found[here][action, there] = None
        self.steps = [list(steps) for steps in found]
        self.at_rest = [not self._leaving[cycle[own] if not collapse else own] for own in range(count)]
        self.start = node[0]
        self._near: dict[int, tuple[int, ...]] = {}
        self._moves: dict[int, dict[str, tuple[int, ...]]] = {}
        self._menus: dict[int, frozenset[str]] = {}

    def near(self, node: int) -> tuple[int, ...]:
        """Return the nodes that silent steps lead to, `node` first."""
        known = self._near.get(node)
        if known is None:
            found = {node: None}
            for here in (order := [node]):  # grows while the loop runs
                for action, target in self.steps[here]:
                    if action == INTERNAL and target not in found:
                        found[target] = None
                        order.append(target)
            known = self._near[node] = tuple(found)
        return known

    def moves(self, node: int) -> dict[str, tuple[int, ...]]:
        """Return the targets of each visible action, also after silent steps, but without silent steps after it."""
        known = self._moves.get(node)
        if known is None:
            found: dict[str, dict[int, None]] = {}
            for here in self.near(node):
                for action, target in self.steps[here]:
                    if action != INTERNAL:
                        found.setdefault(action, {})[target] = None
            known = self._moves[node] = {action: tuple(targets) for action, targets in found.items()} or _NOTHING
        return known

    def menu(self, node: int) -> frozenset[str]:
        """Return the actions that are possible in a node at rest."""
        known = self._menus.get(node)
        if known is None:
            known = self._menus[node] = frozenset(self.moves(node))
        return known

    def resting(self, node: int) -> list[int]:
        """Return the nodes at rest that silent steps lead to; there is always one."""
        return [here for here in self.near(node) if self.at_rest[here]]

    def after(self, nodes: Iterable[int], action: str) -> frozenset[int]:
        """Return the targets of a visible action from any of `nodes`."""
        return frozenset(target for node in nodes for target in self.moves(node).get(action, ()))

    def possible(self, nodes: Iterable[int]) -> tuple[str, ...]:
        """Return the visible actions that are possible in any of `nodes`, sorted."""
        return tuple(sorted({action for node in nodes for action in self.moves(node)}))

    def named(self, nodes: Iterable[int]) -> tuple[State, ...]:
        """Return the states of nodes, sorted by their names."""
        return tuple(sorted({state for node in nodes for state in self.states[node]}, key=str))
