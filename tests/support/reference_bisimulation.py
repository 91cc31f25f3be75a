"""Bisimilarity written down from its definition, slow and simple, to compare the fast algorithm with."""

from __future__ import annotations

from itertools import product

from spex_shards.domain.lts import LTS
from spex_shards.domain.transition import INTERNAL, State

Node = tuple[int, State]
Step = tuple[Node, str, Node]


def reference(impl: LTS, spec: LTS, equivalence: str) -> bool:
    """Return whether two systems are equivalent."""
    steps = [((side, s), a, (side, t)) for side, lts in enumerate((impl, spec)) for s, a, t in lts.transitions]
    start = (0, impl.initial_state), (1, spec.initial_state)
    nodes = sorted({*start, *(n for s, _, t in steps for n in (s, t))}, key=repr)
    if equivalence == "divergence_preserving_branching":
        block = divergence_preserving(nodes, steps)
        return block[start[0]] == block[start[1]]
    return start in greatest_bisimulation(nodes, steps, silent=None if equivalence == "strong" else INTERNAL)


def greatest_bisimulation(nodes: list[Node], steps: list[Step], silent: str | None) -> set[tuple[Node, Node]]:
    """Remove pairs that violate the transfer condition until none does (van Glabbeek and Weijland 1996)."""
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
    """Split blocks by what states can do through silent steps inside their block, divergence included, until stable."""
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
    """Return the nodes that can be reached from `node` over `pairs`, itself included."""
    found, todo = {node}, [node]
    while todo:
        here = todo.pop()
        new = {t for s, t in pairs if s == here} - found
        found |= new
        todo += new
    return found


def separating_round(impl: LTS, spec: LTS, equivalence: str) -> int:
    """Return the least depth of a formula that distinguishes two systems: the round in which they separate."""
    steps = [((side, s), a, (side, t)) for side, lts in enumerate((impl, spec)) for s, a, t in lts.transitions]
    start = (0, impl.initial_state), (1, spec.initial_state)
    block = dict.fromkeys([*start, *(n for s, _, t in steps for n in (s, t))], 0)
    number = 0
    while block[start[0]] == block[start[1]]:
        seen = {node: experiments(node, steps, block, equivalence) for node in block}
        numbers: dict[frozenset[object], int] = {}
        finer = {node: numbers.setdefault(key, len(numbers)) for node, key in seen.items()}
        assert number == 0 or len(numbers) > len(set(block.values())), "they never part"
        block = finer
        number += 1
    return number


def experiments(node: Node, steps: list[Step], block: dict[Node, int], equivalence: str) -> frozenset[object]:
    """Return what can be observed from a node by silent steps and one more, in terms of blocks."""
    if equivalence == "strong":
        return frozenset((a, block[t]) for s, a, t in steps if s == node)
    silent = [(s, t) for s, a, t in steps if a == INTERNAL]
    near = reachable(node, silent)
    found: set[object] = {(block[s], a, block[t]) for s, a, t in steps if s in near}
    found |= {(block[n], INTERNAL, block[n]) for n in near}
    if equivalence == "divergence_preserving_branching":
        inert = [(s, t) for s, t in silent if block[s] == block[t]]
        endless = {s for s, t in inert if s in reachable(t, inert)}
        found |= {(block[n], "endless") for n in near if not reachable(n, inert).isdisjoint(endless)}
    return frozenset(found)
