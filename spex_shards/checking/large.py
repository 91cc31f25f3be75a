"""Judges large systems on arrays, with little memory: whether they are bisimilar, and whether one can become so.

After `compact` has merged states, two systems are often deterministic and without silent steps. Then nodes that must be
equivalent are united until two of them differ (Hopcroft and Karp 1971). Otherwise a partition is refined, as in
`refinement`.
"""

from __future__ import annotations

from typing import NamedTuple

from ..domain.lts import LTS
from ..domain.transition import INTERNAL
from .compact import Compact
from .deterministic import root_of
from .graph import Equivalence
from .refinement import Refinement


class Judged(NamedTuple):
    """The judgement of a system by another one.

    Attributes:
        equivalent: Whether their initial states are equivalent.
        extensible: Whether an extension of the first system is equivalent to the second; None: this was not found out.
    """

    equivalent: bool
    extensible: bool | None


def bisimilar_at_scale(impl: LTS, spec: LTS, equivalence: Equivalence) -> bool:
    """Return whether the initial states of two systems are equivalent: `bisimulation.bisimilar` for many steps."""
    return _bisimilar(Compact((impl, spec), equivalence))


def judged_at_scale(impl: LTS, spec: LTS, equivalence: Equivalence) -> Judged:
    """Judge a system by another one, with one more pass over their arrays after deciding whether they are equivalent.

    `extensible` is found only if the second system is deterministic and without silent steps after `compact` has merged
    states, and if divergence does not count.
    """
    graph = Compact((impl, spec), equivalence)
    if _bisimilar(graph):
        return Judged(equivalent=True, extensible=True)
    if equivalence is Equivalence.DIVERGENCE_PRESERVING_BRANCHING or graph.silent.targets:
        return Judged(equivalent=False, extensible=None)
    return Judged(equivalent=False, extensible=_extensible(graph))


def _bisimilar(graph: Compact) -> bool:
    agreed = _agree(graph)
    if agreed is None:
        return Refinement(graph.size, graph.visible, graph.silent).run(graph.starts[0], graph.starts[1])
    return agreed


class _NotDeterministic(Exception):
    """An action leads from a node to two others."""


def _extensible(graph: Compact) -> bool | None:
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


def minimised_at_scale(lts: LTS, equivalence: Equivalence) -> LTS:
    """Return the smallest system that is equivalent to one: `bisimulation.minimised` for many steps."""
    graph = Compact((lts,), equivalence)
    refinement = Refinement(graph.size, graph.visible, graph.silent)
    refinement.run()
    block, visible, silent = refinement.block, graph.visible, graph.silent
    # All nodes of a block have the same steps to other blocks, some only after silent steps within the block. So the
    # steps of a block are found by examining all its reachable nodes.
    numbers = {block[graph.starts[0]]: 0}
    reached, todo = {graph.starts[0]}, [graph.starts[0]]
    steps: set[tuple[int, str, int]] = set()
    for node in todo:  # grows while the loop runs
        own = numbers[block[node]]
        moves = [
            (graph.actions[visible.codes[at] // graph.base], visible.targets[at])
            for at in range(visible.first[node], visible.first[node + 1])
        ]
        moves += [(INTERNAL, silent.targets[at]) for at in range(silent.first[node], silent.first[node + 1])]
        inert = len(moves) - (silent.first[node + 1] - silent.first[node])
        for place, (action, target) in enumerate(moves):
            lead = numbers.setdefault(block[target], len(numbers))
            if place < inert or lead != own:
                steps.add((own, action, lead))
            if target not in reached:
                reached.add(target)
                todo.append(target)
    return LTS(0, sorted(steps))


def _agree(graph: Compact) -> bool | None:
    """Return whether the two are bisimilar; None if that depends on a silent step or a nondeterministic node."""
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
