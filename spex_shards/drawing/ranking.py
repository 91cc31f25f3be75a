"""Gives each node of a graph its rank: the row in which it is drawn, from top to bottom.

Where it is known how often edges are taken, the most frequent ones decide, and go down: the others lead where they
lead. Else, in a graph with few edges, all edges go down except those that close a cycle; in one with many, a node's
rank is its distance from the first node. Without that, a log in which anything may follow anything would have a row
for each state.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Final

BACKBONE: Final = 0.98
"""The share of all that is taken whose edges decide."""
DENSE: Final = 3.0
"""A graph with more edges for each node is drawn by distance."""
_FEW: Final = 12
_MOST_TRIED: Final = 2_000
"""The most edges that are tried one by one for whether they close a cycle."""

Edge = tuple[int, int]


def ranked(size: int, edges: Sequence[Edge], weights: Sequence[float] | None = None) -> list[int]:
    """Return the rank of each node, from 0.

    Args:
        size: The number of nodes; roots come first.
        edges: The edges, without loops.
        weights: How often each edge is taken, where that is known.
    """
    if weights is not None and len(edges) <= _MOST_TRIED:
        return _longest(size, [edges[n] for n in _backbone(size, edges, weights)])
    if len(edges) > max(_FEW, DENSE * size):
        return _distances(size, edges)
    back = _back_edges(size, edges)
    return _longest(size, [(t, s) if n in back else (s, t) for n, (s, t) in enumerate(edges)])


def heaviest_tree(size: int, edges: Sequence[Edge], weights: Sequence[float]) -> list[int | None]:
    """Return for each node the number of the edge by which it is best reached from the first nodes; None for roots.

    The least weight on the way is as great as it can be (a widest path).
    """
    outgoing = _outgoing(size, edges)
    into: list[int | None] = [None] * size
    done = [False] * size
    for root in range(size):
        if done[root]:
            continue
        done[root] = True
        ahead = [(-weights[n], n) for n in outgoing[root]]
        heapq.heapify(ahead)
        while ahead:
            _, number = heapq.heappop(ahead)
            node = edges[number][1]
            if not done[node]:
                done[node], into[node] = True, number
                for n in outgoing[node]:
                    heapq.heappush(ahead, (-weights[n], n))
    return into


def _backbone(size: int, edges: Sequence[Edge], weights: Sequence[float]) -> list[int]:
    """Return edges that close no cycle: the heaviest, and one into each node that can be reached."""
    tree = [n for n in heaviest_tree(size, edges, weights) if n is not None]
    wanted, sum_of = BACKBONE * sum(weights), 0.0
    chosen: dict[int, None] = {}
    for number in sorted(range(len(edges)), key=lambda n: -weights[n]):
        if sum_of >= wanted:
            break
        sum_of += weights[number]
        chosen[number] = None
    # The tree comes first: it closes no cycle, so that each node keeps a way from the top.
    targets: list[set[int]] = [set() for _ in range(size)]
    kept: list[int] = []
    for number in dict.fromkeys([*tree, *chosen]):
        source, target = edges[number]
        if not _leads(targets, target, source):
            targets[source].add(target)
            kept.append(number)
    return kept


def _leads(targets: list[set[int]], start: int, end: int) -> bool:
    seen, queue = {start}, [start]
    for node in queue:  # the list grows while the loop runs
        fresh = targets[node] - seen
        seen |= fresh
        queue += fresh
    return end in seen


def _distances(size: int, edges: Sequence[Edge]) -> list[int]:
    outgoing = _outgoing(size, edges)
    rank: list[int | None] = [None] * size
    for root in range(size):
        queue = [root] if rank[root] is None else []
        rank[root] = rank[root] or 0
        for node in queue:  # the list grows while the loop runs
            for number in outgoing[node]:
                target = edges[number][1]
                if rank[target] is None:
                    rank[target] = (rank[node] or 0) + 1
                    queue.append(target)
    return [one or 0 for one in rank]


def _outgoing(size: int, edges: Sequence[Edge]) -> list[list[int]]:
    outgoing: list[list[int]] = [[] for _ in range(size)]
    for number, (source, _) in enumerate(edges):
        outgoing[source].append(number)
    return outgoing


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


def _longest(size: int, edges: Sequence[tuple[int, int]]) -> list[int]:
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
