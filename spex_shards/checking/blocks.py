"""`Blocks`: the partition of `splitting`: the nodes of each block, which of them are dirty, and which block comes next.

The members of a block are a range of one array of nodes, with the dirty ones first (Valmari and Lehtinen 2008). Blocks
wait in queues by the order of magnitude of their cost, the cheapest first.
"""

from __future__ import annotations

from typing import Final

from librt.vecs import vec
from mypy_extensions import i64

from .packed import Arrays, as_list, reversed_arrays, zeros
from .signing import Signing
from .sorting import magnitude

_QUEUES: Final = 64


class Blocks(Signing):
    """The blocks of some nodes; all nodes are in one block, and dirty, at first.

    Args:
        size: The number of nodes.
        visible: The visible steps.
        silent: The silent steps.
    """

    def __init__(self, size: i64, visible: Arrays, silent: Arrays) -> None:
        super().__init__(size)
        self._size = size
        self._first, self._codes, self._targets = visible.first, visible.codes, visible.targets
        self._silent_first, self._silent_targets = silent.first, silent.targets
        into, into_silently = reversed_arrays(visible, size), reversed_arrays(silent, size)
        self._into_first, self._into = into.first, into.targets
        self._into_silently_first, self._into_silently = into_silently.first, into_silently.targets
        self._inert = len(silent.targets) > 0
        self._block = zeros(size)
        self._nodes = zeros(size)
        self._place = zeros(size)
        node: i64 = 0
        while node < size:
            self._nodes[node] = node
            self._place[node] = node
            node += 1
        # For each block: its range of `_nodes`, how many nodes count, how many are dirty, what treating these costs.
        self._begin = zeros(size + 2)
        self._end = zeros(size + 2)
        self._dirty = zeros(size + 2)
        self._cost = zeros(size + 2)
        self._blocks: i64 = 1
        self._end[0] = size
        self._dirty[0] = size
        # The signature of each block: a range of `_kept`.
        self._kept_at = zeros(size + 2)
        self._kept_size = zeros(size + 2)
        self._kept = vec[i64]([-1])  # a signature that no node has
        self._kept_size[0] = 1
        self._most_kept: i64 = 4 * size + 1024
        # Queues of blocks: the first block of each, and the next one of each block, plus 1; 0 is none.
        self._heads = zeros(_QUEUES)
        self._next = zeros(size + 2)
        self._cost[0] = 1
        if size > 0:
            self._enqueue(0)

    @property
    def block(self) -> list[int]:
        """The block of each node."""
        return as_list(self._block)

    def keep(self, nodes: list[int]) -> None:
        """Refine only some nodes from now on; no step may lead from one of them to another node."""
        size = self._size
        was_dirty = self._all_dirty()
        gone = self._blocks
        count = zeros(gone + 1)
        kept = zeros(size)
        node: i64 = 0
        for node in nodes:
            kept[node] = 1
            count[self._block[node]] += 1
        total: i64 = 0
        number: i64 = 0
        while number < gone:
            self._begin[number] = total
            self._end[number] = total
            self._dirty[number] = 0
            self._cost[number] = 0
            total += count[number]
            number += 1
        self._heads = zeros(_QUEUES)
        self._begin[gone] = total
        self._end[gone] = total
        self._dirty[gone] = 0
        self._blocks = gone + 1
        node = 0
        while node < size:
            own = self._block[node] if kept[node] != 0 else gone
            if kept[node] == 0:
                self._block[node] = gone
            at = self._end[own]
            self._nodes[at] = node
            self._place[node] = at
            self._end[own] = at + 1
            node += 1
        self._end[gone] = self._begin[gone]  # nodes there are never dirty
        node = 0
        while node < size:
            if was_dirty[node] != 0 and kept[node] != 0:
                self._mark(node)
            node += 1

    def _all_dirty(self) -> vec[i64]:
        """Return whether each node is dirty."""
        size = self._size
        was_dirty = zeros(size)
        node: i64 = 0
        while node < size:
            own = self._block[node]
            if self._place[node] < self._begin[own] + self._dirty[own]:
                was_dirty[node] = 1
            node += 1
        return was_dirty

    def _enqueue(self, number: i64) -> None:
        queue = magnitude(self._cost[number])
        self._next[number] = self._heads[queue]
        self._heads[queue] = number + 1

    def _cheapest(self) -> i64:
        """Remove a block with a cost of the least order of magnitude from the queues; return it, or -1."""
        queue: i64 = 0
        while queue < _QUEUES:
            number = self._heads[queue] - 1
            if number < 0:
                queue += 1
                continue
            self._heads[queue] = self._next[number]
            if magnitude(self._cost[number]) > queue:
                self._enqueue(number)  # it grew while it waited
                continue
            self._cost[number] = 0
            return number
        return -1

    def _mark(self, node: i64) -> None:
        """Mark a node as dirty, if it is not and its block has other nodes."""
        own = self._block[node]
        begin = self._begin[own]
        at, to = self._place[node], begin + self._dirty[own]
        if at < to or self._end[own] - begin < 2:
            return
        other = self._nodes[to]
        self._nodes[to] = node
        self._place[node] = to
        self._nodes[at] = other
        self._place[other] = at
        self._dirty[own] += 1
        waits = self._cost[own] > 0
        self._cost[own] += 1 + self._first[node + 1] - self._first[node]
        self._cost[own] += self._silent_first[node + 1] - self._silent_first[node]
        if not waits:
            self._enqueue(own)
