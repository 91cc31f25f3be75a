"""Lays a graph out in ranks from top to bottom, by the method of Sugiyama, Tagawa and Toda (1981).

::

    break cycles ─▶ ranks (longest path) ─▶ a place in each rank for passing edges and labels
                                         ─▶ order (barycentres, some sweeps) ─▶ coordinates

Every edge passes at least one rank of its own, and its label has its place there, so that labels cover nothing. Within
a rank, the coordinates must keep their distances and be as near as possible to those of the neighbours; pooling
adjacent violators finds the exact solution. The layout is deterministic, and takes about a second for a thousand edges.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

SWEEPS: Final = 12
GAP: Final = 26.0
"""The space between neighbours in a rank."""
RANK_GAP: Final = 22.0
THIN: Final = 10.0
"""The width of an edge that passes a rank."""
MOST_PLACES: Final = 60_000
"""The most places for passing edges; a graph that needs more gets straight long edges."""

Size = tuple[float, float]
Point = tuple[float, float]


@dataclass(slots=True)
class Placed:
    """A layout: centres of nodes, points of edges from source to target, centres of labels, and the total size."""

    nodes: dict[Hashable, Point] = field(default_factory=dict)
    edges: dict[tuple[Hashable, Hashable], list[Point]] = field(default_factory=dict)
    labels: dict[tuple[Hashable, Hashable], Point] = field(default_factory=dict)
    size: Size = (0.0, 0.0)


def place(nodes: dict[Hashable, Size], edges: dict[tuple[Hashable, Hashable], Size]) -> Placed:
    """Return the layout of nodes and edges.

    Args:
        nodes: The size of each node, roots first: an edge that leads back in a search from the first nodes is drawn
            upwards.
        edges: The size of each edge's label. Edges from a node to itself are not laid out; their node must be wide
            enough for them.
    """
    return _Layout(nodes, {pair: size for pair, size in edges.items() if pair[0] != pair[1]}).run()


class _Layout:
    def __init__(self, nodes: dict[Hashable, Size], edges: dict[tuple[Hashable, Hashable], Size]) -> None:
        self._names = list(nodes)
        self._sizes: list[Size] = list(nodes.values())
        number = {name: n for n, name in enumerate(self._names)}
        self._edges = [(number[s], number[t], size) for (s, t), size in edges.items()]
        self._back = _back_edges(len(self._names), [(s, t) for s, t, _ in self._edges])
        self._ranks: list[list[int]] = []
        self._up: list[list[int]] = [[] for _ in self._names]
        self._down: list[list[int]] = [[] for _ in self._names]
        self._chains: list[tuple[list[int], int]] = []

    def run(self) -> Placed:
        if not self._names:
            return Placed()
        rank = _ranked(len(self._names), [self._downwards(n) for n in range(len(self._edges))])
        self._fill(rank)
        for sweep in range(SWEEPS):
            self._sort(downwards=sweep % 2 == 0)
        return self._placed(self._columns(), self._rows())

    def _downwards(self, number: int) -> tuple[int, int]:
        source, target, _ = self._edges[number]
        return (target, source) if number in self._back else (source, target)

    def _fill(self, rank: list[int]) -> None:
        """Give each node and each passing edge a place; the nodes have the even ranks."""
        self._ranks = [[] for _ in range(2 * max(rank) + 1)]
        for node, own in enumerate(rank):
            self._ranks[2 * own].append(node)
        spans = sum(2 * (rank[t] - rank[s]) for s, t in map(self._downwards, range(len(self._edges))))
        for number, (_, _, label) in enumerate(self._edges):
            top, bottom = self._downwards(number)
            first, last = 2 * rank[top] + 1, 2 * rank[bottom] - 1
            middle = (first + last) // 2 | 1
            passed = range(first, last + 1) if spans <= MOST_PLACES else range(middle, middle + 1)
            between = [self._new_place(own, label if own == middle else (THIN, 0.0)) for own in passed]
            chain = [top, *between, bottom]
            for upper, lower in pairwise(chain):
                self._down[upper].append(lower)
                self._up[lower].append(upper)
            at = chain[1 + passed.index(middle)]
            self._chains.append((chain[::-1] if number in self._back else chain, at))

    def _new_place(self, rank: int, size: Size) -> int:
        number = len(self._sizes)
        self._sizes.append(size)
        self._up.append([])
        self._down.append([])
        self._ranks[rank].append(number)
        return number

    def _sort(self, *, downwards: bool) -> None:
        """Order each rank by the mean position of its nodes' neighbours in the rank before it."""
        position = [0.0] * len(self._sizes)
        neighbours = self._up if downwards else self._down
        for row in self._ranks if downwards else reversed(self._ranks):
            for at, node in enumerate(row):
                near = neighbours[node]
                position[node] = sum(position[n] for n in near) / len(near) if near else float(at)
            row.sort(key=position.__getitem__)
            for at, node in enumerate(row):
                position[node] = float(at)

    def _columns(self) -> list[float]:
        column = [0.0] * len(self._sizes)
        for row in self._ranks:
            self._settle(row, [0.0] * len(row), column)
        for sweep in range(SWEEPS):
            neighbours = self._up if sweep % 2 == 0 else self._down
            for row in self._ranks if sweep % 2 == 0 else reversed(self._ranks):
                near = [neighbours[node] or self._up[node] or self._down[node] or [node] for node in row]
                self._settle(row, [sum(column[n] for n in nodes) / len(nodes) for nodes in near], column)
        return column

    def _settle(self, row: list[int], wanted: list[float], column: list[float]) -> None:
        offset, offsets = 0.0, []
        for at, node in enumerate(row):
            if at:
                offset += (self._sizes[row[at - 1]][0] + self._sizes[node][0]) / 2 + GAP
            offsets.append(offset)
        values = _nondecreasing([want - off for want, off in zip(wanted, offsets, strict=True)])
        for node, value, off in zip(row, values, offsets, strict=True):
            column[node] = value + off

    def _rows(self) -> list[float]:
        row_of, y = [0.0] * len(self._sizes), 0.0
        for row in self._ranks:
            height = max((self._sizes[node][1] for node in row), default=0.0)
            for node in row:
                row_of[node] = y + height / 2
            y += height + RANK_GAP
        return row_of

    def _placed(self, column: list[float], row: list[float]) -> Placed:
        left = min(column[n] - size[0] / 2 for n, size in enumerate(self._sizes))
        right = max(column[n] + size[0] / 2 for n, size in enumerate(self._sizes))
        bottom = max(row[n] + size[1] / 2 for n, size in enumerate(self._sizes))
        at = [(x - left, y) for x, y in zip(column, row, strict=True)]
        placed = Placed(size=(right - left, bottom))
        for number, name in enumerate(self._names):
            placed.nodes[name] = at[number]
        for (source, target, _), (chain, label) in zip(self._edges, self._chains, strict=True):
            pair = (self._names[source], self._names[target])
            points = [at[n] for n in chain]
            # An edge leaves its source at the bottom and enters its target at the top; an edge that leads back does the
            # opposite.
            down = 1.0 if points[0][1] < points[-1][1] else -1.0
            points[0] = (points[0][0], points[0][1] + down * self._sizes[source][1] / 2)
            points[-1] = (points[-1][0], points[-1][1] - down * self._sizes[target][1] / 2)
            placed.edges[pair], placed.labels[pair] = points, at[label]
        return placed


def _back_edges(size: int, edges: Sequence[tuple[int, int]]) -> set[int]:
    """Return the numbers of the edges that close a cycle in a depth-first search which starts at the first nodes."""
    outgoing: list[list[tuple[int, int]]] = [[] for _ in range(size)]
    for number, (source, target) in enumerate(edges):
        outgoing[source].append((number, target))
    state, back = [0] * size, set()  # 0: new, 1: on the path, 2: done
    for root in range(size):
        path = [(root, iter(outgoing[root]))] if not state[root] else []
        state[root] = state[root] or 1
        while path:
            node, rest = path[-1]
            for number, target in rest:
                if state[target] == 1:
                    back.add(number)
                elif not state[target]:
                    state[target] = 1
                    path.append((target, iter(outgoing[target])))
                    break
            else:
                state[node] = 2
                path.pop()
    return back


def _ranked(size: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Return the length of the longest path to each node of an acyclic graph."""
    outgoing: list[list[int]] = [[] for _ in range(size)]
    missing = [0] * size
    for source, target in edges:
        outgoing[source].append(target)
        missing[target] += 1
    rank = [0] * size
    free = [node for node in range(size) if not missing[node]]
    for node in free:  # the list grows while the loop runs
        for target in outgoing[node]:
            rank[target] = max(rank[target], rank[node] + 1)
            missing[target] -= 1
            if not missing[target]:
                free.append(target)
    return rank


def _nondecreasing(values: Sequence[float]) -> list[float]:
    """Return the nondecreasing sequence with the least sum of squared differences (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        total, count = value, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            before, more = pools.pop()
            total, count = total + before, count + more
        pools.append((total, count))
    return [total / count for total, count in pools for _ in range(count)]
