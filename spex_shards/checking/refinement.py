"""Signature refinement: finds the bisimilar nodes of a graph, on flat arrays.

The partition of the nodes begins as one block, and is split until it is stable. The *signature* of a node is the set of
(action, block of the target) of its steps. A block is split if its nodes have different signatures. Three things make
this fast:

- *Inductive* signatures (Blom and van de Pol 2009): the nodes of a block are visited against the direction of silent
  steps. A node gets the class of a silent successor if it adds nothing to that node's signature. So no signature is
  copied along a silent path.
- Only *dirty* nodes are visited, those with a step to a node that has changed its block. When a block is split, its
  largest part keeps the number, so each node changes its block at most log n times (Hopcroft's idea; for signatures
  Martens and Laveaux, TACAS 2026).
- The cheapest block is treated first: a node with many steps waits until its targets have settled.

No signature is stored for a block with one node, which cannot be split.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Self

from .arrays import Grouped, reversed_steps
from .graph import SILENT, Graph

Signature = tuple[int, ...]


class Refinement:
    """One run of the refinement.

    Args:
        size: The number of nodes.
        visible: The visible steps. A code is a multiple of a number that is larger than any block's number.
        silent: The silent steps; each leads to a node with a smaller number.

    Attributes:
        block: The block of each node.

    Invariant between two steps: in a block B with several nodes, each node that is not dirty has the signature
    ``_signatures[B]``, or has a silent step to such a node of B and adds nothing to its signature.
    """

    def __init__(self, size: int, visible: Grouped, silent: Grouped) -> None:
        self.block = [0] * size
        self._first, self._codes, self._targets = visible.first, visible.codes, visible.targets
        self._silent_first, self._silent_targets = silent.first, silent.targets
        self._inert = bool(silent.targets)
        self._into_visibly = reversed_steps(visible, size)
        self._into_silently = reversed_steps(silent, size)
        self._signatures: list[Signature | None] = [(-1,)]  # a signature that no node has
        self._members: list[list[int] | None] = [list(range(size))]  # may also list nodes that have left the block
        self._sizes = array("l", [size])
        self._is_dirty = bytearray(b"\x01") * size
        self._dirty: dict[int, list[int]] = {0: list(range(size))}
        self._costs: dict[int, int] = {0: 0}
        self._queue = [(0, 0)]

    @classmethod
    def of(cls, graph: Graph) -> Self:
        """Return the refinement of a graph's nodes."""
        return cls(len(graph.visible), Grouped.of_steps(graph.visible), Grouped.of_targets(graph.silent))

    def run(self, one: int = 0, other: int = 0) -> bool:
        """Refine until the partition is stable, or until two nodes are in different blocks.

        Returns:
            Whether the two nodes are in the same block.
        """
        queue, costs, block = self._queue, self._costs, self.block
        classify = self._classify if self._inert else self._classify_plainly
        while queue:
            cost, number = heappop(queue)
            if cost < costs[number]:  # it grew while it waited
                heappush(queue, (costs[number], number))
                continue
            dirty = self._dirty.pop(number)
            del costs[number]
            self._split(number, *classify(number, dirty))
            if block[one] != block[other]:
                return False
        return True

    def keep(self, nodes: list[int]) -> None:
        """Refine only some nodes from now on; no step may lead from one of them to another node."""
        gone = len(self._sizes)
        block, numbers = self.block, [self.block[node] for node in nodes]
        self.block[:] = [gone] * len(block)
        self._members.append(None)
        self._signatures.append(None)
        self._sizes = array("l", bytes(8 * (gone + 1)))
        for node, number in zip(nodes, numbers, strict=True):
            block[node] = number
            self._sizes[number] += 1
        for number, dirty in self._dirty.items():
            self._dirty[number] = [node for node in dirty if block[node] != gone]

    def _classify_plainly(self, number: int, dirty: list[int]) -> tuple[dict[int, int], list[Signature]]:
        """Sort the dirty nodes of a block without silent steps into classes by their signatures.

        Returns:
            The class of each dirty node, and the signature of each class; class 0 is that of the other nodes.
        """
        block, first, codes, targets = self.block, self._first, self._codes, self._targets
        is_dirty = self._is_dirty
        signatures = [self._signatures[number] or ()]
        known = {signatures[0]: 0}
        found: dict[int, int] = {}
        for node in dirty:
            start, end = first[node], first[node + 1]
            if end - start == 1:
                key: Signature = (codes[start] + block[targets[start]],)
            else:
                pairs = zip(codes[start:end], targets[start:end], strict=True)
                key = tuple(sorted({code + block[target] for code, target in pairs}))
            is_dirty[node] = 0
            own = found[node] = known.setdefault(key, len(signatures))
            if own == len(signatures):
                signatures.append(key)
        return found, signatures

    def _classify(self, number: int, dirty: list[int]) -> tuple[dict[int, int], list[Signature]]:
        """Sort the dirty nodes of a block with silent steps into classes, as `_classify_plainly` does without them.

        A silent step to class k of the same block stands in a signature as -1 - k.
        """
        block, first, codes, targets = self.block, self._first, self._codes, self._targets
        silent_first, led_to = self._silent_first, self._into_silently.first
        found: dict[int, int] = {}
        signatures = [self._signatures[number] or ()]
        known = {signatures[0]: 0}
        wide: dict[int, set[int]] = {}
        order = _Order(dirty, self._is_dirty)
        for node in order:
            start, end = first[node], first[node + 1]
            signature = set()
            if start < end:
                pairs = zip(codes[start:end], targets[start:end], strict=True)
                signature = {code + block[target] for code, target in pairs}
            own = -1
            if silent_first[node] < silent_first[node + 1]:
                inert = self._add_silent(node, number, found, signature)
                # If the node belongs to the class of any silent successor, it is the newest of these classes: each
                # class has silent steps to older classes only.
                if inert is not None and len(signature) <= 1 + len(signatures[inert]):
                    if inert not in wide:
                        wide[inert] = {*signatures[inert], -1 - inert}
                    if signature <= wide[inert]:
                        own = inert
            if own < 0:
                key = tuple(sorted(signature)) if len(signature) > 1 else tuple(signature)
                own = known.setdefault(key, len(signatures))
                if own == len(signatures):
                    signatures.append(key)
            found[node] = own
            if own and led_to[node] < led_to[node + 1]:
                self._look_at_sources(node, number, found, order)
        return found, signatures

    def _look_at_sources(self, node: int, number: int, found: dict[int, int], order: _Order) -> None:
        """Add to the order those nodes of the block that have a silent step to a node whose class has changed."""
        into, block, is_dirty = self._into_silently, self.block, self._is_dirty
        for source in into.targets[into.first[node] : into.first[node + 1]]:
            if block[source] == number and not is_dirty[source] and source not in found:
                order.add(source)

    def _add_silent(self, node: int, number: int, found: dict[int, int], signature: set[int]) -> int | None:
        """Add the silent steps of `node` to its signature; return the newest class of its block that it leads to."""
        newest = None
        for target in self._silent_targets[self._silent_first[node] : self._silent_first[node + 1]]:
            block = self.block[target]
            if block == number:
                own = found.get(target, 0)
                signature.add(-1 - own)
                if newest is None or own > newest:
                    newest = own
            else:
                signature.add(SILENT + block)
        return newest

    def _split(self, number: int, found: dict[int, int], signatures: list[Signature]) -> None:
        if len(signatures) == 1:
            return  # all dirty nodes still have the signature of the block
        if len(signatures) == 2 and len(found) == self._sizes[number] and 0 not in found.values():
            self._signatures[number] = signatures[1]  # all nodes have the same new signature; it contains no -1 - k
            return
        parts: list[list[int]] = [[] for _ in signatures]
        for node, own in found.items():
            parts[own].append(node)
        rest = self._sizes[number] - len(found)
        sizes = [len(part) for part in parts]
        sizes[0] += rest
        largest = max(range(len(parts)), key=sizes.__getitem__)
        if largest:
            if rest:
                block = self.block
                parts[0] += [n for n in self._members[number] or () if block[n] == number and n not in found]
            self._members[number] = parts[largest]
        numbers = self._number_parts(number, largest, parts)
        for own, signature in enumerate(signatures):
            if sizes[own] > 1:
                if own and self._inert and signature and signature[0] < 0:
                    signature = tuple(sorted({code if code >= 0 else numbers[-1 - code] for code in signature}))
                self._signatures[numbers[own]] = signature
        self._sizes[number] = sizes[largest]
        self._move(number, [(numbers[own], part) for own, part in enumerate(parts) if own != largest and part])

    def _number_parts(self, number: int, largest: int, parts: list[list[int]]) -> list[int]:
        """Return the block number of each part; the largest part keeps the old number."""
        numbers = []
        for own, part in enumerate(parts):
            if own == largest or not part:
                numbers.append(number)
                continue
            numbers.append(len(self._members))
            self._members.append(part if len(part) > 1 else None)
            self._signatures.append(None)
            self._sizes.append(len(part))
        return numbers

    def _move(self, number: int, moved: list[tuple[int, list[int]]]) -> None:
        """Move nodes of block `number` into new blocks, and mark as dirty the nodes whose signatures change by that."""
        block, touched = self.block, []
        into, into_silently = self._into_visibly, self._into_silently
        for _, part in moved:
            for node in part:
                touched += into.targets[into.first[node] : into.first[node + 1]]
        if self._inert:
            for _, part in moved:
                for node in part:
                    sources = into_silently.targets[into_silently.first[node] : into_silently.first[node + 1]]
                    # Silent steps inside the old block are in the new signatures already.
                    touched += [source for source in sources if block[source] != number]
        for new, part in moved:
            for node in part:
                block[node] = new
        is_dirty, sizes, first, silent_first = self._is_dirty, self._sizes, self._first, self._silent_first
        for node in touched:
            own = block[node]
            if not is_dirty[node] and sizes[own] > 1:
                is_dirty[node] = 1
                cost = 1 + first[node + 1] - first[node] + silent_first[node + 1] - silent_first[node]
                if own in self._dirty:
                    self._dirty[own].append(node)
                    self._costs[own] += cost
                else:
                    heappush(self._queue, (0, own))
                    self._dirty[own] = [node]
                    self._costs[own] = cost


class _Order:
    """The nodes to visit, smallest first; a node that is added must be larger than the newest one returned."""

    def __init__(self, nodes: list[int], is_dirty: bytearray) -> None:
        self._nodes = sorted(nodes, reverse=True)
        self._added: list[int] = []
        self._is_dirty = is_dirty

    def __iter__(self) -> Iterator[int]:
        nodes, added, is_dirty = self._nodes, self._added, self._is_dirty
        while nodes or added:
            node = heappop(added) if added and (not nodes or added[0] < nodes[-1]) else nodes.pop()
            is_dirty[node] = 0
            yield node

    def add(self, node: int) -> None:
        """Add a node to visit."""
        self._is_dirty[node] = 1
        heappush(self._added, node)
