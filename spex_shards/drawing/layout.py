"""Lays a graph out in ranks from top to bottom, by the method of Sugiyama, Tagawa and Toda (1981).

::

    ranks (ranking) ─▶ a place in each rank for passing edges and labels ─▶ order (ordering)
                    ─▶ columns (pooling adjacent violators) ─▶ a port for each end of an edge ─▶ rows

Every edge passes at least one rank of its own, and its label has its place there, so that labels cover nothing. An edge
between two nodes of one rank goes through the rank below. Within a rank, the coordinates must keep their distances and
be as near as possible to those of the neighbours, and passing edges count most, so that long edges are straight;
pooling adjacent violators finds the exact solution. No two edges share an end: each has its own port at the border of
its node. The layout is deterministic, and takes about a second for a thousand edges.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from .ordering import ordered
from .ranking import ranked

SWEEPS: Final = 16
GAP: Final = 26.0
"""The space between neighbouring nodes in a rank."""
NEAR: Final = 10.0
"""The space between the places of two edges, and the most between two ports."""
LOOP: Final = 34.0
"""The room of a loop at the right of its node, without the label."""
THIN: Final = 4.0
"""The width of an edge that passes a rank."""
MOST_PLACES: Final = 30_000
"""The most places for passing edges; a graph that needs more gets straight long edges."""
ROW_GAP: Final = 16.0
_STEEP: Final = 0.07
"""So much higher is the space between two rows for each unit that an edge goes aside there."""
_TALLEST: Final = 60.0
_CORNER: Final = 12.0
_MANY: Final = 12_000
"""A graph with more places is settled in half as many sweeps."""
_LEVEL_GAP: Final = 2.0
_THINNEST: Final = 6.0

Size = tuple[float, float]
Point = tuple[float, float]
Pair = tuple[Hashable, Hashable]
_Bow = tuple[float, float, int]


@dataclass(slots=True)
class Placed:
    """A layout: centres of nodes, points of edges from source to target, centres of labels, and the total size."""

    nodes: dict[Hashable, Point] = field(default_factory=dict)
    edges: dict[Pair, list[Point]] = field(default_factory=dict)
    labels: dict[Pair, Point] = field(default_factory=dict)
    size: Size = (0.0, 0.0)


def place(
    nodes: dict[Hashable, Size],
    edges: dict[Pair, Size],
    weights: dict[Pair, float] | None = None,
    gap: float = ROW_GAP,
) -> Placed:
    """Return the layout of nodes and edges.

    Args:
        nodes: The size of each node, roots first.
        edges: The size of each edge's label. An edge from a node to itself has its label at the right of the node, and
            no points.
        weights: How often each edge is taken, where that is known.
        gap: The least space between two rows, which has to hold the heads of arrows.
    """
    return _Layout(nodes, edges, weights, gap).run() if nodes else Placed()


class _Layout:
    def __init__(
        self, nodes: dict[Hashable, Size], edges: dict[Pair, Size], weights: dict[Pair, float] | None, gap: float
    ) -> None:
        self._gap = gap
        self._names = list(nodes)
        self._sizes: list[Size] = list(nodes.values())
        self._loops = {pair: size for pair, size in edges.items() if pair[0] == pair[1]}
        room = {pair[0]: LOOP + size[0] for pair, size in self._loops.items()}
        self._room = [room.get(name, 0.0) for name in self._names]
        self._number = {name: n for n, name in enumerate(self._names)}
        self._pairs = [pair for pair in edges if pair[0] != pair[1]]
        self._edges = [(self._number[pair[0]], self._number[pair[1]], edges[pair]) for pair in self._pairs]
        self._weights = None if weights is None else [weights.get(pair, 0.0) for pair in self._pairs]
        self._ranks: list[list[int]] = []
        self._up: list[list[int]] = [[] for _ in self._names]
        self._down: list[list[int]] = [[] for _ in self._names]
        self._chains: list[tuple[list[int], int]] = []
        self._deep: dict[int, Size] = {}
        self._extents: dict[int, tuple[float, float]] = {}

    def run(self) -> Placed:
        self._fill(ranked(len(self._names), [(s, t) for s, t, _ in self._edges], self._weights))
        self._ranks = ordered(self._ranks, self._up, self._down)
        column = self._columns()
        ports = self._ports(column)
        return self._placed(column, ports, self._rows(column, ports))

    # ------------------------------------------------------------------ places

    def _fill(self, rank: list[int]) -> None:
        """Give each node and each passing edge a place; the nodes have the even ranks."""
        self._ranks = [[] for _ in range(2 * max(rank) + 2)]
        for node, own in enumerate(rank):
            self._ranks[2 * own].append(node)
        spans = sum(2 * abs(rank[t] - rank[s]) for s, t, _ in self._edges)
        for source, target, label in self._edges:
            if rank[source] == rank[target]:
                self._join_beside(source, target, label, 2 * rank[source] + 1)
                continue
            top, bottom = (source, target) if rank[source] < rank[target] else (target, source)
            first, last = 2 * rank[top] + 1, 2 * rank[bottom] - 1
            middle = (first + last) // 2 | 1
            passed = range(first, last + 1) if spans <= MOST_PLACES else range(middle, middle + 1)
            between = [self._new_place(own, label if own == middle else (THIN, 0.0)) for own in passed]
            chain = [top, *between, bottom]
            for upper, lower in pairwise(chain):
                self._down[upper].append(lower)
                self._up[lower].append(upper)
            at = chain[1 + passed.index(middle)]
            self._chains.append((chain if top == source else chain[::-1], at))

    def _join_beside(self, source: int, target: int, label: Size, rank: int) -> None:
        """Join two nodes of one rank through the rank below, where the label hangs between them."""
        below = self._new_place(rank, (THIN, 0.0))
        self._deep[below] = label
        for node in (source, target):
            self._down[node].append(below)
            self._up[below].append(node)
        self._chains.append(([source, below, target], below))

    def _new_place(self, rank: int, size: Size) -> int:
        number = len(self._sizes)
        self._sizes.append((max(size[0], THIN), size[1]))
        self._up.append([])
        self._down.append([])
        self._ranks[rank].append(number)
        return number

    # ------------------------------------------------------------------ columns

    def _columns(self) -> list[float]:
        pulls = self._pulls()
        above, below = _weighed(self._up, pulls), _weighed(self._down, pulls)
        both = [[*one, *other] for one, other in zip(above, below, strict=True)]
        column = [0.0] * len(self._sizes)
        for row in self._ranks:
            self._settle(row, [0.0] * len(row), [1.0] * len(row), column)
        sweeps = SWEEPS if len(column) <= _MANY else SWEEPS // 2
        for sweep in range(sweeps):
            near = both if sweep >= sweeps - 2 else above if sweep % 2 == 0 else below
            for row in self._ranks if sweep % 2 == 0 else reversed(self._ranks):
                wanted, sure = [], []
                for node in row:
                    pulled = near[node] or both[node] or [(node, 1.0)]
                    total = sum([pull for _, pull in pulled])
                    sure.append(total)
                    wanted.append(sum([pull * column[n] for n, pull in pulled]) / total)
                self._settle(row, wanted, sure, column)
        return column

    def _pulls(self) -> dict[tuple[int, int], float]:
        """Return how much each line wants to be straight: long ones most, and those that are often taken."""
        most = max(self._weights or (), default=0.0) or 1.0
        nodes = len(self._names)
        pull: dict[tuple[int, int], float] = {}
        for number, (chain, _) in enumerate(self._chains):
            often = 1.0 + (4.0 * self._weights[number] / most if self._weights is not None else 0.0)
            for one, other in pairwise(chain):
                straight = (1.0, 2.0, 8.0)[(one >= nodes) + (other >= nodes)]
                pull[one, other] = pull[other, one] = straight * often
        return pull

    def _distance(self, left: int, right: int) -> float:
        nodes = len(self._names)
        own = self._sizes[left][0] / 2 + (self._room[left] if left < nodes else 0.0) + self._sizes[right][0] / 2
        return own + (GAP if left < nodes and right < nodes else NEAR if left >= nodes and right >= nodes else 16.0)

    def _settle(self, row: list[int], wanted: list[float], sure: list[float], column: list[float]) -> None:
        offset, offsets = 0.0, []
        for at, node in enumerate(row):
            if at:
                offset += self._distance(row[at - 1], node)
            offsets.append(offset)
        values = nondecreasing([want - off for want, off in zip(wanted, offsets, strict=True)], sure)
        for node, value, off in zip(row, values, offsets, strict=True):
            column[node] = value + off

    # ------------------------------------------------------------------ ports and rows

    def _ports(self, column: list[float]) -> list[tuple[float, float]]:
        """Return for each edge the columns in which it leaves its source and enters its target."""
        nodes, above = len(self._names), set[tuple[int, int]]()
        for node in range(nodes):
            above.update((node, place) for place in self._up[node])
        ends: dict[tuple[int, bool], list[tuple[float, int, int]]] = {}
        for number, (chain, _) in enumerate(self._chains):
            for end, (node, beside) in enumerate(((chain[0], chain[1]), (chain[-1], chain[-2]))):
                ends.setdefault((node, (node, beside) in above), []).append((column[beside], number, end))
        found = [[0.0, 0.0] for _ in self._chains]
        for (node, _), listed in ends.items():
            listed.sort()
            half = max(self._sizes[node][0] / 2 - _CORNER, 0.0)
            space = min(NEAR, 2 * half / max(len(listed) - 1, 1))
            low, high = column[node] - half, column[node] + half - space * (len(listed) - 1)
            wanted = [max(column[node] - half, min(column[node] + half, x)) - space * at
                      for at, (x, _, _) in enumerate(listed)]  # fmt: skip
            for at, value in enumerate(nondecreasing(wanted, [1.0] * len(wanted))):
                _, number, end = listed[at]
                found[number][end] = max(low, min(high, value)) + space * at
        return [(one, other) for one, other in found]

    def _rows(self, column: list[float], ports: list[tuple[float, float]]) -> dict[int, float]:
        rank_of = {node: number for number, row in enumerate(self._ranks) for node in row}
        aside = [0.0] * len(self._ranks)
        for (chain, _), (first, last) in zip(self._chains, ports, strict=True):
            ways = [first, *(column[n] for n in chain[1:-1]), last]
            for at, (one, other) in enumerate(pairwise(chain)):
                upper = min(rank_of[one], rank_of[other])
                aside[upper] = max(aside[upper], abs(ways[at] - ways[at + 1]))
        row_of: dict[int, float] = {}
        y = 0.0
        bows = self._bows(ports, rank_of)
        for number, row in enumerate(self._ranks):
            below = y
            for level in _levels(bows.get(number, [])):
                tall = max(max(self._deep[node][1] for node in level), _THINNEST)
                row_of = {**row_of, **dict.fromkeys(level, below + tall / 2)}
                below += tall + _LEVEL_GAP
            height = self._height(row)
            row_of = {**dict.fromkeys(row, below + height / 2), **row_of}
            self._extents[number] = (y, below + height)
            y = below + height + (min(self._gap + _STEEP * aside[number], _TALLEST) if row else 0.0)
        return row_of

    def _bows(self, ports: list[tuple[float, float]], rank_of: dict[int, int]) -> dict[int, list[_Bow]]:
        """Return, by rank, the edges between two nodes of the rank above: from where to where, and the place."""
        bows: dict[int, list[_Bow]] = {}
        for (chain, label), (first, last) in zip(self._chains, ports, strict=True):
            if rank_of[chain[0]] == rank_of[chain[-1]]:
                half = max(abs(last - first), self._deep[label][0]) / 2
                bows.setdefault(rank_of[label], []).append(
                    ((first + last) / 2 - half, (first + last) / 2 + half, label)
                )
        return bows

    def _height(self, row: list[int]) -> float:
        nodes = len(self._names)
        loops = [self._loops[pair][1] for pair in self._loops_of(row)] if any(n < nodes for n in row) else []
        return max([self._sizes[node][1] for node in row] + loops, default=0.0)

    def _loops_of(self, row: list[int]) -> list[Pair]:
        names = [self._names[node] for node in row if node < len(self._names)]
        return [(name, name) for name in names if (name, name) in self._loops]

    # ------------------------------------------------------------------ the result

    def _placed(self, column: list[float], ports: list[tuple[float, float]], row: dict[int, float]) -> Placed:
        spans = [(x - size[0] / 2, x + size[0] / 2) for x, size in zip(column, self._sizes, strict=True)]
        spans += [(column[n], column[n] + self._sizes[n][0] / 2 + room) for n, room in enumerate(self._room)]
        for (_, label), ends in zip(self._chains, ports, strict=True):
            if label in self._deep:
                half = self._deep[label][0] / 2
                spans.append((sum(ends) / 2 - half, sum(ends) / 2 + half))
        left, right = min(low for low, _ in spans), max(high for _, high in spans)
        extents = {node: self._extents[number] for number, one in enumerate(self._ranks) for node in one}
        at = [(x - left, row[node]) for node, x in enumerate(column)]
        placed = Placed(size=(right - left, max(bottom for _, bottom in extents.values())))
        for number, name in enumerate(self._names):
            placed.nodes[name] = at[number]
        for number, (chain, label) in enumerate(self._chains):
            source, target = chain[0], chain[-1]
            downwards = at[source][1] < at[chain[1]][1]
            enters = at[chain[-2]][1] < at[target][1]
            first, last = (port - left for port in ports[number])
            points = [(first, at[source][1] + (1 if downwards else -1) * self._sizes[source][1] / 2)]
            if label in self._deep:
                at[label] = ((first + last) / 2, at[label][1])
                points.append(at[label])
            else:
                for node in chain[1:-1]:
                    points += [(at[node][0], y) for y in extents[node][:: 1 if downwards else -1]]
            points.append((last, at[target][1] + (-1 if enters else 1) * self._sizes[target][1] / 2))
            placed.edges[self._pairs[number]], placed.labels[self._pairs[number]] = points, at[label]
        for pair, size in self._loops.items():
            x, y = placed.nodes[pair[0]]
            placed.labels[pair] = (x + self._sizes[self._number[pair[0]]][0] / 2 + LOOP + size[0] / 2, y)
        return placed


def _weighed(neighbours: list[list[int]], pulls: dict[tuple[int, int], float]) -> list[list[tuple[int, float]]]:
    return [[(n, pulls[node, n]) for n in near] for node, near in enumerate(neighbours)]


def _levels(bows: list[_Bow]) -> list[list[int]]:
    """Return the edges between nodes of one rank by how deep they hang: short ones least, none on another."""
    levels: list[list[_Bow]] = []
    for bow in sorted(bows, key=lambda one: (one[1] - one[0], one[2])):
        free = (level for level in levels if all(bow[1] + NEAR < o[0] or o[1] + NEAR < bow[0] for o in level))
        level = next(free, None)
        if level is None:
            levels.append([bow])
        else:
            level.append(bow)
    return [[place for _, _, place in level] for level in levels]


def nondecreasing(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return the nondecreasing sequence with the least weighted sum of squares (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        total, sure, count = value * weight, weight, 1
        while pools and pools[-1][0] / pools[-1][1] > total / sure:
            before, surer, more = pools.pop()
            total, sure, count = total + before, sure + surer, count + more
        pools.append((total, sure, count))
    return [total / sure for total, sure, count in pools for _ in range(count)]
