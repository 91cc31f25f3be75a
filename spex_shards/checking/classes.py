"""The classes of a large specification, and where each action leads from them; the steps of a system on arrays."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, repeat
from typing import NamedTuple

from .arrays import Grouped
from .graph import SILENT

Domain = int | frozenset[int]
Moves = dict[int, Domain]


class PackedSteps(NamedTuple):
    """The steps of a system on arrays.

    Attributes:
        visible: The visible steps.
        silent: The silent steps, without codes.
    """

    visible: Grouped
    silent: Grouped

    def of(self, node: int) -> Iterable[tuple[int, int]]:
        """Return the steps of a node as (action, target), also several times."""
        visible, silent = self.visible, self.silent
        start, end = visible.first[node], visible.first[node + 1]
        found = zip(visible.codes[start:end], visible.targets[start:end], strict=True)
        start, end = silent.first[node], silent.first[node + 1]
        return found if start == end else chain(found, zip(repeat(SILENT), silent.targets[start:end]))

    def reached(self, start: int) -> list[int]:
        """Return the nodes that can be reached from one of them."""
        seen, found = bytearray(len(self.visible.first)), [start]
        seen[start] = 1
        for node in found:  # grows while the loop runs
            for steps in (self.visible, self.silent):
                for target in steps.targets[steps.first[node] : steps.first[node + 1]]:
                    if not seen[target]:
                        seen[target] = 1
                        found.append(target)
        return found


class Classes(dict[int, Moves]):
    """For each class of a system the classes that each action leads to; a silent action may also stay in the class.

    Args:
        steps: The steps of the system.
        block: The class of each node.
        nodes: The nodes that count.
        alike: A number for each node; two nodes with different numbers are in different classes.
    """

    def __init__(self, steps: PackedSteps, block: list[int], nodes: list[int], alike: list[int]) -> None:
        super().__init__()
        self._steps, self._block, self._alike = steps, block, alike
        # Silent steps lead to smaller numbers, so none leads from the smallest node of a class to another node of it.
        # So that node has all steps of the class.
        self._node: dict[int, int] = {}
        for node in nodes:
            before = self._node.get(block[node])
            if before is None or node < before:
                self._node[block[node]] = node

    @property
    def silent(self) -> bool:
        """Whether a silent step leads from one class to another."""
        first = self._steps.silent.first
        return any(first[node] < first[node + 1] for node in self._node.values())

    def alike(self, own: int) -> int:
        """Return the number that the nodes of a class have in `alike`."""
        return self._alike[self._node[own]]

    def __missing__(self, own: int) -> Moves:
        found: Moves = {}
        several: dict[int, set[int]] = {}
        block = self._block
        for action, target in self._steps.of(self._node[own]):
            lead = block[target]
            if found.setdefault(action, lead) != lead:
                several.setdefault(action, set()).add(lead)
        if SILENT in found:
            several.setdefault(SILENT, set()).add(own)
        for action, leads in several.items():
            found[action] = frozenset({found[action], *leads})  # type: ignore[arg-type]  # a number so far
        found.setdefault(SILENT, own)
        self[own] = found
        return found
