"""Whether two large systems are bisimilar, frugal with memory.

What is left of two systems after `compact` has merged the obvious is either deterministic without silent steps, and
then pairs of nodes are united until two differ (Hopcroft and Karp 1971); or its partition is refined, see `refinement`.
"""

from __future__ import annotations

from ..domain.lts import LTS
from .compact import Compact
from .graph import Equivalence
from .refinement import Refinement


def bisimilar_at_scale(impl: LTS, spec: LTS, equivalence: Equivalence) -> bool:
    """Whether the initial states of two systems are equivalent; as `bisimulation.bisimilar`, made for many steps."""
    graph = Compact((impl, spec), equivalence)
    agreed = _agree(graph)
    if agreed is None:
        return Refinement(graph.size, graph.visible, graph.silent).run(graph.starts[0], graph.starts[1])
    return agreed


def _agree(graph: Compact) -> bool | None:
    """Whether the two are bisimilar; None if that depends on a silent step, or a node where an action leads to two."""
    if graph.silent.targets:
        return None
    first, codes, targets = graph.visible.first, graph.visible.codes, graph.visible.targets
    parent = list(range(graph.size))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]  # halve the path
            node = parent[node]
        return node

    todo = [(graph.starts[0], graph.starts[1])]
    while todo:
        one, other = map(root, todo.pop())
        if one == other:
            continue
        parent[one] = other
        moves = []
        for node in (one, other):
            start, end = first[node], first[node + 1]
            moves.append(dict(zip(codes[start:end], targets[start:end], strict=True)))
        if moves[0].keys() != moves[1].keys():
            return False
        for node, move in zip((one, other), moves, strict=True):
            start, end = first[node], first[node + 1]
            if len(move) < end - start and any(move[codes[at]] != targets[at] for at in range(start, end)):
                return None
        todo += [(target, moves[1][code]) for code, target in moves[0].items()]
    return True
