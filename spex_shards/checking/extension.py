"""Decides whether a system that is not equivalent to a specification can become so by further steps and states.

Let Q be the specification minimised: its states, the *classes*, are pairwise inequivalent. In an extension equivalent
to Q each reachable state is equivalent to exactly one class, and each step ``s -a-> t`` must be a step of Q between
the classes of s and t, or, if it is silent, stay in one class. Conversely, any such assignment of classes can be
completed: add a copy of Q, and from each state the steps of its class into the copy. So the question is whether the
system maps into Q, initial state to initial state, step by step. The system's silent cycles are collapsed first: their
states share a class, which under divergence-preserving branching bisimilarity must have endless internal activity
itself.

If Q is deterministic without silent steps, the class of each state is determined, and one pass over the system decides.
Otherwise sets of possible classes are narrowed until they are consistent (Mackworth 1977). If a set is empty, there is
no mapping; if a set has several classes, they are tried. Finding such a mapping is hard in general, so the effort is
bounded.
"""

from __future__ import annotations

from typing import Final

from .graph import SILENT, Graph

EFFORT: Final = 2_000_000
"""After examining this many classes, and a fixed number for each step, the question stays undecided."""
LITTLE_EFFORT: Final = 10_000
"""The same for a question that must be answered within some milliseconds or not at all."""
_EFFORT_PER_STEP: Final = 20

Domains = dict[int, set[int]]
Neighbours = list[list[tuple[int, int]]]


class _TooHard(Exception):
    """The effort is used up."""


def extensible(graph: Graph, effort: int | None = None) -> bool | None:
    """Return whether some extension of the first system of `graph` is equivalent to the second, which must be minimal.

    Returns:
        True or False, which are exact; None if the bounded search did not decide it.
    """
    try:
        return _Mapping(graph, effort).found() is not None
    except _TooHard:
        return None


def mapping(graph: Graph) -> dict[int, int] | None:
    """Return a class for each node of the first system, such that an extension with these classes is equivalent.

    Returns:
        For each node a node of the second system, which must be minimal; None if there is no such mapping, or if the
        bounded search found none.
    """
    try:
        domains = _Mapping(graph).found()
    except _TooHard:
        return None
    return None if domains is None else {node: min(classes) for node, classes in domains.items()}


def judged_by_narrowing(graph: Graph, effort: int | None = None) -> tuple[bool, bool | None] | None:
    """Judge the first system of `graph` by the second, which must be minimal, if narrowing alone decides.

    If one class is left for a node, the node is equivalent to that class or to none. So the systems are equivalent
    exactly if each node can do the actions of its class, also after silent steps inside the class.

    Returns:
        Whether the systems are equivalent, and whether an extension is; None if narrowing does not decide it.
    """
    start, first_class = graph.starts
    domains: Domains = {start: {first_class}}
    try:
        if not _Mapping(graph, effort)._narrow(domains, start):
            return False, False
    except _TooHard:
        return None
    if any(len(classes) > 1 for classes in domains.values()):
        return None
    own = {node: next(iter(classes)) for node, classes in domains.items()}
    done: dict[int, set[tuple[int, int]]] = {}
    for node in sorted(own):  # silent steps lead to smaller numbers
        shown = done[node] = {(code, own[target]) for code, target in graph.visible[node]}
        for target in graph.silent[node]:
            if own[target] == own[node]:
                shown |= done[target]
            else:
                shown.add((SILENT, own[target]))
        required = graph.visible[own[node]]
        if not shown.issuperset(required) or any((SILENT, to) not in shown for to in graph.silent[own[node]]):
            return False, True
    return True, True


class _Mapping:
    """The search for classes of the nodes of the first system."""

    def __init__(self, graph: Graph, effort: int | None = None) -> None:
        self._start, self._first_class = graph.starts
        own = set(graph.nodes[0].values())
        self._steps: Neighbours = [[] for _ in graph.visible]
        self._before: Neighbours = [[] for _ in graph.visible]
        # Action → class → the classes that it leads to; a silent step may also stay in the class.
        self._leads: dict[int, dict[int, set[int]]] = {SILENT: {c: {c} for c in graph.nodes[1].values()}}
        for node, visible in enumerate(graph.visible):
            for code, target in [*visible, *((SILENT, target) for target in graph.silent[node])]:
                if node in own:
                    self._steps[node].append((code, target))
                    self._before[target].append((code, node))
                else:
                    self._leads.setdefault(code, {}).setdefault(node, set()).add(target)
        self._effort = (EFFORT if effort is None else effort) + _EFFORT_PER_STEP * sum(map(len, self._steps))

    def found(self) -> Domains | None:
        """Return a mapping, or None; a depth-first search, which narrows the domains after each choice."""
        choices: list[tuple[Domains, int, int]] = [({}, self._start, self._first_class)]
        while choices:
            before, node, chosen = choices.pop()
            self._spend(1 + len(before))
            domains = {**before, node: {chosen}}
            if not self._narrow(domains, node):
                continue
            undecided = next((node for node, classes in domains.items() if len(classes) > 1), None)
            if undecided is None:
                return domains
            choices += [(domains, undecided, own) for own in domains[undecided]]
        return None

    def _narrow(self, domains: Domains, changed: int) -> bool:
        """Remove classes that a step into or out of a node rules out; return whether each node has a class left.

        A node without a domain has not been reached yet: all classes are possible.
        """
        nothing: set[int] = set()
        todo = [changed]
        while todo:
            node = todo.pop()
            classes = domains[node]
            self._spend(len(classes) * (1 + len(self._steps[node]) + len(self._before[node])))
            for code, target in self._steps[node]:
                leads = self._leads.get(code, {})
                ends = set().union(*(leads.get(own, nothing) for own in classes))
                self._spend(len(ends))
                if not self._restrict(domains, target, ends, todo):
                    return False
            for code, source in self._before[node]:
                if source in domains:
                    leads = self._leads.get(code, {})
                    starts = {own for own in domains[source] if not classes.isdisjoint(leads.get(own, nothing))}
                    self._spend(len(domains[source]))
                    if not self._restrict(domains, source, starts, todo):
                        return False
        return True

    @staticmethod
    def _restrict(domains: Domains, node: int, allowed: set[int], todo: list[int]) -> bool:
        """Remove all but the allowed classes of a node; if it changes, add it to `todo`. Return whether any is left."""
        before = domains.get(node)
        after = allowed if before is None else before & allowed
        if before is None or len(after) < len(before):
            domains[node] = after
            todo.append(node)
        return bool(after)

    def _spend(self, effort: int) -> None:
        self._effort -= effort
        if self._effort < 0:
            raise _TooHard
