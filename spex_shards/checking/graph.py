"""`Graph`: the reachable part of some systems, with silent cycles collapsed, on which the equivalence algorithms work.

::

    LTS ──┐  number the reachable      collapse each silent
    LTS ──┴─ states, breadth first ──▶ cycle into one node  ──▶ nodes 0..n-1, with codes for actions

Under branching bisimilarity all states of a silent cycle are bisimilar (van Glabbeek and Weijland 1996), so a cycle
becomes one node. The remaining silent steps have no cycle, and each leads to a node with a smaller number.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State
from .arrays import Grouped, components


class Equivalence(StrEnum):
    """The equivalences by which systems can be compared."""

    BRANCHING = "branching"
    """Branching bisimilarity, blind to divergence: a silent cycle alone distinguishes nothing."""
    STRONG = "strong"
    """Strong bisimilarity: the internal action is an action like any other."""
    DIVERGENCE_PRESERVING_BRANCHING = "divergence_preserving_branching"
    """Branching bisimilarity that tells endless internal activity from none."""


def equivalence_of(value: str) -> Equivalence:
    """Return the equivalence of that name.

    Raises:
        ValueError: There is no such equivalence.
    """
    try:
        return Equivalence(value)
    except ValueError:
        names = ", ".join(Equivalence)
        raise ValueError(f"the equivalence must be one of {names}, got: {value!r}") from None


Steps = list[list[tuple[int, int]]]

SILENT: Final = 0
"""The code of the silent action."""


class Graph:
    """The disjoint union of the reachable parts of `systems`, with silent cycles collapsed.

    Attributes:
        visible: For each node its visible steps (code, target). A code is a multiple of `base`, so that the sum of a
            code and the number of a block identifies both.
        silent: For each node the targets of its silent steps; all of them have smaller numbers than the node.
        starts: For each system the node of its initial state.
        nodes: For each system the node of each reachable state.
        base: Larger than any number of a node or a block.
        actions: The action of each code, at index ``code // base``. Under divergence-preserving branching
            bisimilarity a collapsed cycle keeps a *visible* step to itself, at index `divergence`.
        divergence: That index; 0 under the other equivalences.

    A graph does not change.
    """

    __slots__ = ("actions", "base", "divergence", "nodes", "silent", "starts", "visible")

    def __init__(self, systems: Sequence[LTS], equivalence: Equivalence) -> None:
        # A system has at most one reachable state more than it has transitions.
        self.base = 1 + sum(len(lts.transitions) + 1 for lts in systems)
        self.visible: Steps = []
        self.silent: list[list[int]] = []
        codes = {} if equivalence is Equivalence.STRONG else {INTERNAL: SILENT}
        self.nodes = [self._explore(lts, codes) for lts in systems]
        preserving = equivalence is Equivalence.DIVERGENCE_PRESERVING_BRANCHING
        self.divergence = len(codes) + 1 if preserving else 0
        if any(self.silent):
            self._collapse(self.divergence * self.base)
        self.starts = [nodes[lts.initial_state] for nodes, lts in zip(self.nodes, systems, strict=True)]
        self.actions = [INTERNAL] * (len(codes) + 2)
        for action, code in codes.items():
            self.actions[code // self.base] = action

    def _explore(self, lts: LTS, codes: dict[str, int]) -> dict[State, int]:
        """Number the states that can be reached and add their steps; return the numbers."""
        outgoing: dict[State, list[tuple[str, State]]] = {}
        for source, action, target in lts.transitions:
            if source in outgoing:
                outgoing[source].append((action, target))
            else:
                outgoing[source] = [(action, target)]
        base, free = self.base, len(self.visible)
        numbers = {lts.initial_state: free}
        reached = [lts.initial_state]
        for state in reached:  # grows while the loop runs
            visible: list[tuple[int, int]] = []
            silent: list[int] = []
            for action, target in outgoing.get(state, ()):
                number = numbers.get(target)
                if number is None:
                    number = numbers[target] = free + len(reached)
                    reached.append(target)
                code = codes.get(action)
                if code is None:
                    code = codes[action] = (len(codes) + 1) * base
                if code:
                    visible.append((code, number))
                else:
                    silent.append(number)
            self.visible.append(visible)
            self.silent.append(silent)
        return numbers

    def _collapse(self, divergence: int) -> None:
        """Merge each silent cycle into one node; `divergence` is the code of its step to itself, 0 for none."""
        component, count = components(Grouped.of_targets(self.silent))
        visible: list[set[tuple[int, int]]] = [set() for _ in range(count)]
        silent: list[set[int]] = [set() for _ in range(count)]
        for state, own in enumerate(component):
            visible[own].update([(code, component[target]) for code, target in self.visible[state]])
            silent[own].update([component[target] for target in self.silent[state]])
        for own, targets in enumerate(silent):
            if own in targets:
                targets.remove(own)
                if divergence:
                    visible[own].add((divergence, own))
        self.visible = [list(steps) for steps in visible]
        self.silent = [list(targets) for targets in silent]
        self.nodes = [{state: component[number] for state, number in nodes.items()} for nodes in self.nodes]
