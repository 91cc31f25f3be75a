"""Decides whether two systems are bisimilar, finds the bisimilar states of one system, and minimises it."""

from __future__ import annotations

from typing import Final

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State
from .deterministic import agree
from .graph import Equivalence, Graph, equivalence_of
from .large import bisimilar_at_scale
from .machine import refinement_of
from .refinement import Refinement

__all__ = ["Equivalence", "bisimilar", "classes", "equivalence_of", "minimised", "reduced"]

LARGE: Final = 2_000
"""Systems with more transitions than this together are compared on arrays, by `large`."""


def bisimilar(impl: LTS, spec: LTS, equivalence: str = Equivalence.BRANCHING) -> bool:
    """Return whether the initial states of two systems are equivalent.

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
    return Refinement.of(graph).run(graph.starts[0], graph.starts[1])


def classes(lts: LTS, equivalence: str = Equivalence.BRANCHING) -> dict[State, int]:
    """Return the class of each reachable state; two states are equivalent exactly if they have the same class.

    Classes are numbered from 0 in the order of a breadth-first search from the initial state.

    Raises:
        ValueError: There is no such equivalence.
    """
    return reduced(lts, equivalence)[0]


def minimised(lts: LTS, equivalence: str = Equivalence.BRANCHING) -> LTS:
    """Return the smallest system equivalent to `lts`: its states are the classes of `classes`, 0 the initial one.

    Under divergence-preserving branching bisimilarity, a class has a silent step to itself exactly if it allows endless
    internal activity. Under branching bisimilarity no class has one; under strong bisimilarity it is an ordinary step.

    Raises:
        ValueError: There is no such equivalence.
    """
    return reduced(lts, equivalence)[1]


def reduced(lts: LTS, equivalence: str = Equivalence.BRANCHING) -> tuple[dict[State, int], LTS]:
    """Return the results of `classes` and `minimised`, for one computation.

    Raises:
        ValueError: There is no such equivalence.
    """
    graph = Graph((lts,), equivalence_of(equivalence))
    refinement = refinement_of(graph)
    refinement.run()
    number = _numbered(graph, refinement.block)
    steps = {
        (own, graph.actions[code // graph.base], number[target])
        for node, own in number.items()
        for code, target in graph.visible[node]
    }
    inert_too = ((own, INTERNAL, number[target]) for node, own in number.items() for target in graph.silent[node])
    steps.update(step for step in inert_too if step[0] != step[2])
    return {state: number[node] for state, node in graph.nodes[0].items()}, LTS(0, sorted(steps))


def _numbered(graph: Graph, block: list[int]) -> dict[int, int]:
    """Return the class of each node, numbered as in `classes`."""
    fresh: dict[int, int] = {}
    return {node: fresh.setdefault(block[node], len(fresh)) for node in graph.nodes[0].values()}
