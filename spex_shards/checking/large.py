"""Judges large systems on arrays, with little memory: whether they are bisimilar, and whether one can become so.

After `compact` has merged states, two systems are often deterministic and without silent steps. Then nodes that must be
equivalent are united until two of them differ (Hopcroft and Karp 1971). Otherwise a partition is refined, as in
`refinement`.
"""

from __future__ import annotations

from contextlib import suppress

from ..domain.lts import LTS
from .assignment import Assignment
from .classes import Classes, PackedSteps
from .compact import Compact
from .deterministic import root_of
from .graph import Equivalence
from .machine import Refiner
from .refuting import Pursuit


class Judged:
    """The judgement of a large system by another one.

    Args:
        impl: The system that may grow.
        spec: The system that it is judged by.
        kind: The equivalence.

    Attributes:
        equivalent: Whether their initial states are equivalent.

    It holds the arrays and the partition from which `equivalent` was decided, until `extensible` has used them.
    """

    def __init__(self, impl: LTS, spec: LTS, kind: Equivalence) -> None:
        graph = Compact((impl, spec), kind)
        agreed = _agree(graph)
        refinement = None
        if agreed is None:
            refinement = graph.refinement()
            agreed = refinement.run(graph.starts[0], graph.starts[1])
        self.equivalent = agreed
        self._answer: tuple[bool | None] | None = (True,) if agreed else None
        self._decided = None if agreed else (kind, graph, [refinement] if refinement else [])

    def extensible(self) -> bool | None:
        """Return whether an extension of the first system is equivalent to the second.

        Threads may call this at the same time: then each of them works it out.

        Returns:
            True or False, which are exact; None if the bounded search did not find out. Never None if the second system
            is deterministic and without silent steps, unless divergence counts and the first has silent cycles.
        """
        decided = self._decided  # before `_answer`, which is set before this is deleted
        if self._answer is None:
            assert decided is not None
            self._answer = (_extensible(*decided),)
            self._decided = None
        return self._answer[0]


def bisimilar_at_scale(impl: LTS, spec: LTS, equivalence: Equivalence) -> bool:
    """Return whether the initial states of two systems are equivalent: `bisimulation.bisimilar` for many steps."""
    return Judged(impl, spec, equivalence).equivalent


def _extensible(kind: Equivalence, graph: Compact, unfinished: list[Refiner]) -> bool | None:
    """Return whether the first system of `graph` can become equivalent to the second.

    Args:
        kind: The equivalence.
        graph: The two systems.
        unfinished: The refinement that found that the two are not equivalent, if there was one. It is taken out, so
            that no other thread goes on with it.
    """
    if not graph.has_silent and kind is not Equivalence.DIVERGENCE_PRESERVING_BRANCHING:
        determined = _determined(graph)
        if determined is not None:
            return determined
    steps = PackedSteps(graph.visible, graph.silent)
    nodes = steps.reached(graph.starts[1])
    refinement: Refiner | None = None
    with suppress(IndexError):  # another thread may have taken it
        refinement = unfinished.pop()
    known = range(graph.size) if refinement is None else refinement.block
    if Pursuit(steps, known).refutes(graph.starts[0], nodes, graph.starts[1]):
        return False
    if refinement is None:
        refinement = graph.refinement()
    return _assignable(graph, steps, refinement, nodes)


def _assignable(graph: Compact, steps: PackedSteps, refinement: Refiner, nodes: list[int]) -> bool | None:
    """Return whether a class of the second system can be assigned to each node of the first; its nodes are given."""
    alike = refinement.block[:]
    refinement.keep(nodes)
    refinement.run()
    block = refinement.block
    classes = Classes(steps, block, nodes, alike)
    start, first = graph.starts[0], block[graph.starts[1]]
    if classes.silent:
        # A state with one step, a silent one, need not be equivalent to the step's target in an extension.
        visible, silent, start, new = graph.expanded()
        steps = PackedSteps(visible, silent)
        alike += [alike[node] for node in new]
    return Assignment(steps, classes, alike).exists(start, first)


class _NotDeterministic(Exception):
    """An action leads from a node to two others."""


def _determined(graph: Compact) -> bool | None:
    """Return whether the first system can become equivalent to the second; None if the second is not deterministic.

    Without silent steps, each reachable node of the first must belong to one class of nodes of the second: the initial
    node to the class of the initial node, each other one to the class that a step leads to (see `extension`).
    """
    first, codes, targets = graph.visible.first, graph.visible.codes, graph.visible.targets
    second = _Deterministic(graph)
    classes = {graph.starts[0]: graph.starts[1]}
    todo = [graph.starts[0]]
    try:
        while todo:
            node = todo.pop()
            allowed = second.moves(classes[node])
            for at in range(first[node], first[node + 1]):
                lead, target = allowed.get(codes[at]), targets[at]
                if lead is None:
                    return False
                if target not in classes:
                    classes[target] = lead
                    todo.append(target)
                elif classes[target] != lead and not second.unites(classes[target], lead):
                    return False
    except _NotDeterministic:
        return None
    return True


class _Deterministic:
    """The deterministic nodes of a graph without silent steps; nodes that must be equivalent are united."""

    def __init__(self, graph: Compact) -> None:
        self._visible = graph.visible
        self._moves: dict[int, dict[int, int]] = {}
        self._parent: dict[int, int] = {}

    def moves(self, node: int) -> dict[int, int]:
        """Return where each action leads from a node.

        Raises:
            _NotDeterministic: An action leads to two nodes.
        """
        found = self._moves.get(node)
        if found is None:
            start, end = self._visible.first[node], self._visible.first[node + 1]
            steps = set(zip(self._visible.codes[start:end], self._visible.targets[start:end], strict=True))
            found = self._moves[node] = dict(steps)
            if len(found) < len(steps):
                raise _NotDeterministic
        return found

    def unites(self, one: int, other: int) -> bool:
        """Unite two nodes, and the nodes that must be equivalent then; return False if they are not equivalent.

        Raises:
            _NotDeterministic: An action leads to two nodes.
        """
        pairs = [(one, other)]
        while pairs:
            one, other = (root_of(self._parent, node) for node in pairs.pop())
            if one == other:
                continue
            mine, yours = self.moves(one), self.moves(other)
            if mine.keys() != yours.keys():
                return False
            self._parent[one] = other
            pairs += [(target, yours[code]) for code, target in mine.items()]
        return True


def _agree(graph: Compact) -> bool | None:
    """Return whether the two are bisimilar; None if that depends on a silent step or a nondeterministic node."""
    if graph.has_silent:
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
