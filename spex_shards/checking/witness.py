"""Finds a formula of minimal depth that holds in one of two inequivalent states and not in the other.

::

    two systems ──▶ classes of all states ──▶ rounds until the initial ──▶ an experiment of one side that
                    (the joint quotient)      classes part                 the other cannot answer

An experiment is an observation of the last round before the two part (see `rounds`): silent steps to a state s1 and an
action from it to s2. Each answer of the other side leads through a state t1 to a state t2, and s1 and t1, or s2 and t2,
have parted in an earlier round. So a formula of less depth rules the answer out: it holds in s1 and not in t1, or in s2
and not in t2. One such formula for each class of answers is enough, and unnecessary ones are dropped. (Cleaveland 1990
and Korver 1991 build formulas from refinements. Martens and Groote 2023 show that minimal depth is possible in
polynomial time, and minimal size is not.)
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Final, NamedTuple

from ..domain.lts import LTS
from ..domain.transition import INTERNAL
from .arrays import Grouped, components
from .formula import TRUE, Diverges, Formula, Not, Silently, Step, WeakStep, conjunction
from .graph import SILENT, Equivalence, Graph, Steps
from .machine import refinement_of
from .rounds import Rounds
from .satisfaction import Satisfaction

_CANDIDATES: Final = 4
"""How many experiments are tried to find the smallest formula."""
_CHOOSY: Final = 2_000
"""After this many pairs of classes, only one experiment is tried for each pair."""


class Experiment(NamedTuple):
    """Silent steps to class `at`, and a step `code` from there to class `to`, in the classes of a round."""

    at: int
    code: int
    to: int


Answers = dict[Experiment, tuple[int, int]]
"""Observation → two nodes by which it is possible."""
Pair = tuple[int, int]
Search = Generator[Pair, Formula, Formula]


def distinguish(impl: LTS, spec: LTS, equivalence: Equivalence) -> tuple[Formula, bool]:
    """Return a formula of minimal depth that tells two inequivalent systems apart, and whether it holds in `impl`.

    The outermost operator of the formula is not a negation.

    Raises:
        TooLarge: The systems are too large for `rounds`.
        AssertionError: The systems are equivalent.
    """
    graph = Graph((impl, spec), equivalence)
    quotient = _Quotient(graph)
    return _Witness(quotient, equivalence).best(*quotient.starts)


class _Quotient:
    """The classes of a graph as a graph of its own, in which silent steps lead to smaller numbers."""

    def __init__(self, graph: Graph) -> None:
        refinement = refinement_of(graph)
        refinement.run()
        numbers: dict[int, int] = {}
        own = [numbers.setdefault(block, len(numbers)) for block in refinement.block]
        silent: list[set[int]] = [set() for _ in numbers]
        for node, targets in enumerate(graph.silent):
            silent[own[node]].update([own[target] for target in targets])
        for node, ends in enumerate(silent):
            ends.discard(node)
        order, size = components(Grouped.of_targets([list(ends) for ends in silent]))
        self.silent: list[list[int]] = [[] for _ in range(size)]
        for node, ends in enumerate(silent):
            self.silent[order[node]] = sorted(order[target] for target in ends)
        visible: list[set[tuple[int, int]]] = [set() for _ in range(size)]
        for node, steps in enumerate(graph.visible):
            visible[order[own[node]]].update([(code, order[own[target]]) for code, target in steps])
        self.visible: Steps = [sorted(steps) for steps in visible]
        self.starts = order[own[graph.starts[0]]], order[own[graph.starts[1]]]
        self.base = graph.base
        self.divergence = graph.divergence * graph.base or -1
        self.actions = graph.actions


class _Witness:
    """The search. A formula that was found for two classes of a round is remembered: it holds for all their nodes."""

    def __init__(self, quotient: _Quotient, equivalence: Equivalence) -> None:
        self._graph = quotient
        self._strong = equivalence is Equivalence.STRONG
        self._rounds = Rounds(quotient.visible, quotient.silent, quotient.base)
        self._depth = self._rounds.separate(*quotient.starts)
        self._found: dict[tuple[int, int, int], Formula] = {}
        # The first and the last entry of the table are not visible actions.
        codes = {action: index * quotient.base for index, action in enumerate(quotient.actions[1:-1], 1)}
        self._satisfaction = Satisfaction(quotient.visible, quotient.silent, codes, quotient.divergence)

    def best(self, impl: int, spec: int) -> tuple[Formula, bool]:
        """Return the smaller one of a formula that holds in `impl` only and one that holds in `spec` only.

        If they are equally large, the one that holds in `spec` is returned.
        """
        ways = [(self._run(self._from(one, other, self._depth)), one == impl) for one, other in self._ways(impl, spec)]
        return min(ways, key=lambda way: (way[0].size, way[1]))

    def _ways(self, one: int, other: int) -> list[Pair]:
        """Return the orders of two nodes in which the first node has an experiment that the second cannot answer."""
        depth = self._rounds.parted(one, other)
        ours, theirs = self._observations(one, depth - 1), self._observations(other, depth - 1)
        ways = [(one, other)] if ours.keys() - theirs.keys() else []
        return [*ways, (other, one)] if theirs.keys() - ours.keys() else ways

    def _run(self, search: Search) -> Formula:
        """Run a search, and the searches that it requires, without recursion."""
        formula: Formula | None = None
        waiting: list[tuple[tuple[int, int, int] | None, Search]] = [(None, search)]
        while True:
            key, search = waiting[-1]
            try:
                one, other = search.send(formula)  # type: ignore[arg-type]  # None starts a generator
            except StopIteration as end:
                formula = end.value
                waiting.pop()
                if not waiting:
                    return end.value  # type: ignore[no-any-return]
                assert key is not None
                self._found[key] = end.value
                continue
            depth = self._rounds.parted(one, other)
            key = depth, self._rounds.at(one, depth), self._rounds.at(other, depth)
            formula = self._found.get(key)
            if formula is None:
                waiting.append((key, self._apart(one, other, depth)))

    def _apart(self, one: int, other: int, depth: int) -> Search:
        """Find a formula that holds in `one` and not in `other`; the two part in round `depth`."""
        ways = self._ways(one, other)
        if len(self._found) > _CHOOSY:
            ways = ways[:1]
        found: list[Formula] = []
        for first, second in ways:
            formula = yield from self._from(first, second, depth)
            found.append(formula if first == one else Not(formula))
        return min(found, key=lambda formula: formula.size)

    def _from(self, one: int, other: int, depth: int) -> Search:
        """Find the smallest formula for an experiment of `one` that `other` cannot answer."""
        ours, theirs = self._observations(one, depth - 1), self._observations(other, depth - 1)
        by_code: dict[int, list[Experiment]] = {}
        for answer in theirs:
            by_code.setdefault(answer.code, []).append(answer)

        def cost(experiment: Experiment) -> tuple[bool, int, Experiment]:
            return experiment.code == SILENT, len(by_code.get(experiment.code, ())), experiment

        candidates = sorted((new for new in ours if new not in theirs), key=cost)
        if len(self._found) > _CHOOSY or not by_code.get(candidates[0].code):
            candidates = candidates[:1]
        best: Formula | None = None
        for experiment in candidates[:_CANDIDATES]:
            answers = {answer: theirs[answer] for answer in by_code.get(experiment.code, ())}
            formula = yield from self._experiment(experiment, ours[experiment], answers)
            if best is None or formula.size < best.size:
                best = formula
        assert best is not None
        return best

    def _experiment(self, experiment: Experiment, nodes: Pair, answers: Answers) -> Search:
        """Find a formula for an experiment that rules out all answers to it."""
        at, to = nodes
        staying = experiment.code in (SILENT, self._graph.divergence) and experiment.at == experiment.to
        where: list[Formula] = []
        then: list[Formula] = []
        for answer, (t1, t2) in sorted(answers.items()):
            if any(not self._holds(formula, t1) for formula in where) or any(not self._holds(f, t2) for f in then):
                continue
            if staying:
                where.append((yield at, t1))
            elif answer.to != experiment.to:
                then.append((yield to, t2))
            else:
                where.append((yield at, t1))
        self._drop(where, then, answers.values())
        return self._formula(experiment.code, conjunction(where), conjunction(then))

    def _drop(self, where: list[Formula], then: list[Formula], answers: Iterable[Pair]) -> None:
        """Remove conjuncts whose answers the other conjuncts rule out as well, large conjuncts first."""
        if len(where) + len(then) < 2:
            return
        out: dict[tuple[bool, int], set[Pair]] = {}
        for index, formula in enumerate(where):
            out[False, index] = {answer for answer in answers if not self._holds(formula, answer[0])}
        for index, formula in enumerate(then):
            out[True, index] = {answer for answer in answers if not self._holds(formula, answer[1])}
        sizes = {key: (then if key[0] else where)[key[1]].size for key in out}
        needed = dict(out)
        for key in sorted(out, key=lambda key: -sizes[key]):
            others = set().union(*(ruled for other, ruled in needed.items() if other != key))
            if out[key] <= others:
                del needed[key]
        where[:] = [formula for index, formula in enumerate(where) if (False, index) in needed]
        then[:] = [formula for index, formula in enumerate(then) if (True, index) in needed]

    def _formula(self, code: int, where: Formula, then: Formula) -> Formula:
        if self._strong:
            return Step(self._graph.actions[code // self._graph.base], then)
        if code == self._graph.divergence:
            return Diverges(where)
        if code == SILENT and TRUE in (where, then):
            return Silently(where if then == TRUE else then)
        return WeakStep(where, self._graph.actions[code // self._graph.base] if code else INTERNAL, then)

    def _holds(self, formula: Formula, node: int) -> bool:
        return self._satisfaction.holds(formula, node)

    def _observations(self, node: int, number: int) -> Answers:
        """Return the observations of a node in terms of a round."""
        at = self._rounds.at
        found: Answers = {}
        seen, todo = {node}, [node]
        for here in todo:  # grows while the loop runs
            own = at(here, number)
            if not self._strong:
                found.setdefault(Experiment(own, SILENT, own), (here, here))
            for target in self._graph.silent[here]:
                found.setdefault(Experiment(own, SILENT, at(target, number)), (here, target))
                if target not in seen:
                    seen.add(target)
                    todo.append(target)
            for code, target in self._graph.visible[here]:
                # Under strong bisimilarity the first class is always the node's own, and is left out.
                found.setdefault(Experiment(0 if self._strong else own, code, at(target, number)), (here, target))
        return found
