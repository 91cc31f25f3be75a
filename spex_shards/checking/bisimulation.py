"""Whether two systems are bisimilar, and which states of one are: signature refinement.

A partition of the nodes of a `Graph` starts as one block and is split until it is stable. A node's *signature* is the
set of (action, block of the target) over its steps; nodes of a block whose signatures differ part. Three things make
this fast:

- *Inductive* signatures (Blom and van de Pol 2009): a block's nodes are looked at against the direction of silent
  steps, and a node takes the class of a silent successor if it has nothing to add to it; no signature is copied
  along a silent path.
- Only *dirty* nodes are looked at, those with a step to a node that changed its block. When a block splits, its
  largest part keeps the number, so that each node changes its block at most log n times (Hopcroft's idea; for
  signatures Martens and Laveaux, TACAS 2026).
- The cheapest block goes first: a node of many steps waits until its targets have settled.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State
from .deterministic import agree
from .graph import SILENT, Equivalence, Graph, equivalence_of
from .large import bisimilar_at_scale

__all__ = ["Equivalence", "Refinement", "bisimilar", "classes", "equivalence_of", "minimised"]

LARGE: Final = 2_000
"""Systems with more transitions together are compared on arrays: `large`."""

Signature = frozenset[int]


def bisimilar(impl: LTS, spec: LTS, equivalence: str = Equivalence.BRANCHING) -> bool:
    """Whether the initial states of two systems are equivalent.

    Args:
        impl: One system.
        spec: The other one; the answer does not depend on which is which.
        equivalence: An `Equivalence`, or its value.

    Raises:
        ValueError: There is no such equivalence.
    """
    kind = equivalence_of(equivalence)
    if len(impl.transitions) + len(spec.transitions) > LARGE:
        return bisimilar_at_scale(impl, spec, kind)
    agreed = agree(impl, spec, strong=kind is Equivalence.STRONG)
    if agreed is not None:
        return agreed
    graph = Graph((impl, spec), kind)
    return Refinement(graph).run(graph.starts[0], graph.starts[1])


def classes(lts: LTS, equivalence: str = Equivalence.BRANCHING) -> dict[State, int]:
    """Return the class of each reachable state; two states are equivalent exactly when theirs is the same.

    Classes are numbered from 0 as they are first met, breadth first from the initial state.

    Raises:
        ValueError: There is no such equivalence.
    """
    graph = Graph((lts,), equivalence_of(equivalence))
    refinement = Refinement(graph)
    refinement.run()
    number = _numbered(graph, refinement)
    return {state: number[node] for state, node in graph.nodes[0].items()}


def minimised(lts: LTS, equivalence: str = Equivalence.BRANCHING) -> LTS:
    """Return the smallest system equivalent to `lts`: its states are the classes of `classes`, 0 the initial one.

    A silent step from a class to itself is there exactly under divergence-preserving branching bisimilarity, and
    exactly where the class allows endless internal activity (and under strong bisimilarity as any other step).

    Raises:
        ValueError: There is no such equivalence.
    """
    graph = Graph((lts,), equivalence_of(equivalence))
    refinement = Refinement(graph)
    refinement.run()
    number = _numbered(graph, refinement)
    steps = {
        (own, graph.actions[code // graph.base], number[target])
        for node, own in number.items()
        for code, target in graph.visible[node]
    }
    inert_too = ((own, INTERNAL, number[target]) for node, own in number.items() for target in graph.silent[node])
    steps.update(step for step in inert_too if step[0] != step[2])
    return LTS(0, sorted(steps))


def _numbered(graph: Graph, refinement: Refinement) -> dict[int, int]:
    """Return the class of each node, numbered as `classes` has it."""
    fresh: dict[int, int] = {}
    return {node: fresh.setdefault(refinement.block[node], len(fresh)) for node in graph.nodes[0].values()}


class Refinement:
    """One run of the algorithm.

    Attributes:
        block: The block of each node. Numbers of blocks stay below the graph's `base`.

    Between two steps, each node of block B that is not dirty has signature ``_signatures[B]``, or leads by a silent
    step to such a node of B and adds nothing to it.
    """

    def __init__(self, graph: Graph) -> None:
        size = len(graph.visible)
        self.block = [0] * size
        self._signatures: list[Signature] = [frozenset((-1,))]  # that of no node
        self._visible = graph.visible
        self._silent = graph.silent
        self._into_visibly: list[list[int]] = [[] for _ in range(size)]
        self._into_silently: list[list[int]] = [[] for _ in range(size)]
        for node, steps in enumerate(graph.visible):
            for _, target in steps:
                self._into_visibly[target].append(node)
        for node, targets in enumerate(graph.silent):
            for target in targets:
                self._into_silently[target].append(node)
        # May also list nodes that have left the block since.
        self._members = [list(range(size))]
        self._sizes = [size]
        self._dirty = [list(range(size))]
        self._is_dirty = [True] * size
        self._costs = [0]
        self._queue = [(0, 0)]

    def run(self, one: int = 0, other: int = 0) -> bool:
        """Refine until the partition is stable, or until two nodes have parted; return whether they are together."""
        queue, costs, block = self._queue, self._costs, self.block
        while queue:
            cost, number = heappop(queue)
            if cost < costs[number]:  # it grew while it waited
                heappush(queue, (costs[number], number))
                continue
            dirty, self._dirty[number], costs[number] = self._dirty[number], [], 0
            for node in dirty:
                self._is_dirty[node] = False
            self._split(number, *self._classify(number, dirty))
            if block[one] != block[other]:
                return False
        return True

    def _classify(self, number: int, dirty: list[int]) -> tuple[dict[int, int], list[Signature]]:
        """Sort nodes of block `number` into classes by their signatures.

        Returns:
            The class of each node looked at, and the signature of each class. Class 0 is that of the nodes not
            looked at. A silent step to class k of the same block stands in a signature as -1 - k.
        """
        block, visible, silent, into = self.block, self._visible, self._silent, self._into_silently
        found: dict[int, int] = {}
        signatures = [self._signatures[number]]
        known = {signatures[0]: 0}
        heapify(dirty)
        while dirty:
            node = heappop(dirty)
            if node in found:
                continue
            signature = {code + block[target] for code, target in visible[node]}
            own = None
            if silent[node]:
                inert = self._add_silent(node, number, found, signature)
                # If the node belongs to the class of a silent successor, then to that of the newest one: each class
                # leads to older ones only.
                if inert is not None:
                    signature.remove(-1 - inert)
                    if signature <= signatures[inert]:
                        own = inert
                    signature.add(-1 - inert)
            if own is None:
                key = frozenset(signature)
                own = known.setdefault(key, len(signatures))
                if own == len(signatures):
                    signatures.append(key)
            found[node] = own
            if own:
                for source in into[node]:
                    if block[source] == number and source not in found:
                        heappush(dirty, source)
        return found, signatures

    def _add_silent(self, node: int, number: int, found: dict[int, int], signature: set[int]) -> int | None:
        """Add the silent steps of `node` to its signature; return the newest class of its block that it leads to."""
        newest = None
        for target in self._silent[node]:
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
            return  # all are still as the rest of the block
        if len(signatures) == 2 and len(found) == self._sizes[number] and 0 not in found.values():
            self._signatures[number] = signatures[1]  # another one, but of all alike; it has no -1 - k in it
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
                parts[0] += [n for n in self._members[number] if block[n] == number and n not in found]
            self._members[number] = parts[largest]
        numbers = self._number_parts(number, largest, parts)
        for own, signature in enumerate(signatures):
            if sizes[own]:
                if own:
                    signature = frozenset([code if code >= 0 else numbers[-1 - code] for code in signature])
                self._signatures[numbers[own]] = signature
        self._sizes[number] = sizes[largest]
        self._move(number, [(numbers[own], part) for own, part in enumerate(parts) if own != largest and part])

    def _number_parts(self, number: int, largest: int, parts: list[list[int]]) -> list[int]:
        """Return the number of each part's block; the largest keeps the old one."""
        numbers = []
        for own, part in enumerate(parts):
            if own == largest or not part:
                numbers.append(number)
                continue
            numbers.append(len(self._members))
            self._members.append(part)
            self._sizes.append(len(part))
            self._dirty.append([])
            self._costs.append(0)
            self._signatures.append(self._signatures[number])
        return numbers

    def _move(self, number: int, moved: list[tuple[int, list[int]]]) -> None:
        """Take nodes out of block `number` into new blocks, and mark whose signature changes by it."""
        block, touched = self.block, []
        for _, part in moved:
            for node in part:
                touched += self._into_visibly[node]
                # Silent steps inside the old block are in the new signatures already.
                touched += [source for source in self._into_silently[node] if block[source] != number]
        for new, part in moved:
            for node in part:
                block[node] = new
        for node in touched:
            own = block[node]
            if not self._is_dirty[node] and self._sizes[own] > 1:
                self._is_dirty[node] = True
                if not self._dirty[own]:
                    heappush(self._queue, (0, own))
                self._dirty[own].append(node)
                self._costs[own] += 1 + len(self._visible[node]) + len(self._silent[node])
