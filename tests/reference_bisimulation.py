"""Bisimilarity written down from its definition, slow and plain: what the fast algorithm is compared with."""

from __future__ import annotations

from itertools import product

from spex_shards.domain.lts import INTERNAL, LTS, State

Node = tuple[int, State]
Step = tuple[Node, str, Node]


def reference(impl: LTS, spec: LTS, equivalence: str) -> bool:
    """Whether two systems are equivalent."""
    steps = [((side, s), a, (side, t)) for side, lts in enumerate((impl, spec)) for s, a, t in lts.transitions]
    start = (0, impl.initial_state), (1, spec.initial_state)
    nodes = sorted({*start, *(n for s, _, t in steps for n in (s, t))}, key=repr)
    if equivalence == "divergence_preserving_branching":
        block = divergence_preserving(nodes, steps)
        return block[start[0]] == block[start[1]]
    return start in greatest_bisimulation(nodes, steps, silent=None if equivalence == "strong" else INTERNAL)


def greatest_bisimulation(nodes: list[Node], steps: list[Step], silent: str | None) -> set[tuple[Node, Node]]:
    """Take away pairs that violate the transfer condition until none does (van Glabbeek and Weijland 1996)."""
    weak = {node: reachable(node, [(s, t) for s, a, t in steps if a == silent]) for node in nodes}
    relation = set(product(nodes, nodes))

    def transfers(p: Node, q: Node) -> bool:
        return all(
            (a == silent and (target, q) in relation)
            or any(
                (p, middle) in relation and (target, end) in relation
                for middle in weak[q]
                for s, b, end in steps
                if s == middle and b == a
            )
            for s, a, target in steps
            if s == p
        )

    while wrong := {(p, q) for p, q in relation if not (transfers(p, q) and transfers(q, p))}:
        relation -= wrong
    return relation


def divergence_preserving(nodes: list[Node], steps: list[Step]) -> dict[Node, int]:
    """Split blocks by what can be done through their own silent steps, endless silence included, until none splits."""
    block = dict.fromkeys(nodes, 0)
    while True:
        inert = [(s, t) for s, a, t in steps if a == INTERNAL and block[s] == block[t]]
        endless = {s for s, t in inert if s in reachable(t, inert)}
        keys = {}
        for node in nodes:
            near = reachable(node, inert)
            can = {(a, block[t]) for s, a, t in steps if s in near and not (a == INTERNAL and block[t] == block[node])}
            keys[node] = block[node], frozenset(can), not near.isdisjoint(endless)
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys.values()))}
        finer = {node: numbers[key] for node, key in keys.items()}
        if len(numbers) == len(set(block.values())):
            return finer
        block = finer


def reachable(node: Node, pairs: list[tuple[Node, Node]]) -> set[Node]:
    """Return the nodes that `pairs` lead to from `node`, itself included."""
    found, todo = {node}, [node]
    while todo:
        here = todo.pop()
        new = {t for s, t in pairs if s == here} - found
        found |= new
        todo += new
    return found
