"""Steps as arrays, grouped by their source nodes, and the strongly connected components of such steps."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import Self

Column = list[int]


class Grouped:
    """Steps grouped by their source: those of `node` are at the indices ``first[node]`` to ``first[node + 1] - 1``.

    Attributes:
        first: For each node, the index of its first step; and at the end, the number of steps.
        codes: The action of each step, as a number.
        targets: The target of each step.
    """

    __slots__ = ("codes", "first", "targets")
    first: array[int] | list[int]

    @classmethod
    def of_targets(cls, successors: Sequence[Sequence[int]]) -> Self:
        """Return steps without codes, given as the targets of each node."""
        made = cls.__new__(cls)
        made.first = array("l", accumulate(map(len, successors), initial=0))
        made.codes, made.targets = [], [target for targets in successors for target in targets]
        return made

    @classmethod
    def of_steps(cls, steps: Sequence[Sequence[tuple[int, int]]]) -> Self:
        """Return steps given as (code, target) of each node."""
        made = cls.__new__(cls)
        made.first = array("l", accumulate(map(len, steps), initial=0))
        made.codes = [code for of_node in steps for code, _ in of_node]
        made.targets = [target for of_node in steps for _, target in of_node]
        return made

    @classmethod
    def of_lists(cls, first: list[int], codes: Column, targets: Column) -> Self:
        """Return steps whose lists are known."""
        made = cls.__new__(cls)
        made.first, made.codes, made.targets = first, codes, targets
        return made

    def __init__(self, size: int, sources: Column, targets: Column, codes: Column | None = None) -> None:
        counts = array("l", bytes(8 * (size + 1)))
        for source in sources:
            counts[source] += 1
        first = array("l", accumulate(counts, initial=0))
        first.pop()
        self.first, place = first, first[:]
        self.targets = [0] * len(targets)
        self.codes: Column = [0] * len(targets) if codes is not None else []
        if codes is None:
            for source, target in zip(sources, targets, strict=True):
                at = place[source]
                place[source] = at + 1
                self.targets[at] = target
            return
        for source, code, target in zip(sources, codes, targets, strict=True):
            at = place[source]
            place[source] = at + 1
            self.codes[at] = code
            self.targets[at] = target


def reversed_steps(steps: Grouped, size: int) -> Grouped:
    """Return steps by their targets, with their sources as `targets` and without codes."""
    sources = [node for node in range(size) for _ in range(steps.first[node], steps.first[node + 1])]
    return Grouped(size, steps.targets, sources)


def components(steps: Grouped) -> tuple[Column, int]:
    """Find the strongly connected components (Tarjan 1972, without recursion).

    Returns:
        The component of each node, and how many there are. A component has a larger number than those it leads to.
    """
    size = len(steps.first) - 1
    first, targets = steps.first, steps.targets
    ends = [first[node] == first[node + 1] for node in range(size)]
    component = [number if end else -1 for number, end in zip(accumulate(ends, initial=0), ends, strict=False)]
    count, clock = sum(ends), 0
    low = [0] * size
    ahead = first[:]
    waiting: list[int] = []
    for root in range(size):
        if component[root] >= 0:
            continue
        path = [root]
        clock += 1
        low[root] = clock
        entered = {root: clock}
        waiting.append(root)
        while path:
            node = path[-1]
            at = ahead[node]
            if at < first[node + 1]:
                ahead[node] = at + 1
                target = targets[at]
                if component[target] >= 0:
                    continue
                if not low[target]:
                    clock += 1
                    low[target] = entered[target] = clock
                    path.append(target)
                    waiting.append(target)
                elif low[target] < low[node]:
                    low[node] = low[target]
                continue
            path.pop()
            if path and low[node] < low[path[-1]]:
                low[path[-1]] = low[node]
            if low[node] == entered.pop(node):
                _close(waiting, node, component, count)
                count += 1
    return component, count


def _close(open_nodes: list[int], root: int, component: list[int], number: int) -> None:
    """Remove the nodes of a component, which begin with `root`, from the open ones, and give them its number."""
    while True:
        node = open_nodes.pop()
        component[node] = number
        if node == root:
            return


def pause() -> None:
    """Do nothing. Compiled loops call this now and then, so that signals are handled and other threads can run."""
