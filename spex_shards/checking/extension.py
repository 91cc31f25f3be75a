"""Whether a system that is not equivalent to a specification can still become so by further steps and states.

Let Q be the specification minimised: its states, the *classes*, are pairwise inequivalent. In an extension equivalent
to Q each reachable state is equivalent to exactly one class, and each step ``s -a-> t`` must be a step of Q between
the classes of s and t, or, if it is silent, stay in one class. Conversely, any such assignment of classes can be
completed: add a copy of Q, and from each state the steps of its class into the copy. So the question is whether the
system maps into Q, initial state to initial state, step by step. The system's silent cycles are collapsed first: their
states share a class, which under divergence-preserving branching bisimilarity must have endless internal activity
itself.

Where Q is deterministic without silent steps, each state's class is forced, and going once through the system decides.
Elsewhere sets of possible classes are narrowed until they are consistent (Mackworth 1977): an empty one refutes, and
what stays open is settled by trying classes. Finding such a mapping is hard in general, so the effort is bounded.
"""

from __future__ import annotations

from typing import Final

from .graph import SILENT, Graph

EFFORT: Final = 2_000_000
"""How many classes are looked at, beside a fixed number for each step, before the question stays undecided."""
LITTLE_EFFORT: Final = 10_000
"""As `EFFORT`, for a question that must be answered within some milliseconds or not at all."""
_EFFORT_PER_STEP: Final = 20

Domains = dict[int, set[int]]
Neighbours = list[list[tuple[int, int]]]


class _TooHard(Exception):
    """The effort is used up."""


def extensible(graph: Graph, effort: int | None = None) -> bool | None:
    """Whether some extension of the first system of `graph` is equivalent to the second, which must be minimal.

    Returns:
        True or False, which are exact, or None if that was not found out with bounded effort.
    """
    try:
        return _Mapping(graph, effort).found() is not None
    except _TooHard:
        return None


def mapping(graph: Graph) -> dict[int, int] | None:
    """Return a class for each node of the first system such that an extension is equivalent to the second.

    Returns:
        For each node a node of the second system, which must be minimal; None if there is no such mapping, or if none
        was found with bounded effort.
    """
    try:
        domains = _Mapping(graph).found()
    except _TooHard:
        return None
    return None if domains is None else {node: min(classes) for node, classes in domains.items()}


def judged_by_narrowing(graph: Graph, effort: int | None = None) -> tuple[bool, bool | None] | None:
    """Judge the first system of `graph` by the second, which must be minimal, where narrowing alone decides.

    Where one class is left for each node, the node is equivalent to that class or to none. So the systems are
    equivalent exactly if each node can do what its class can, by silent steps inside the class first.

    Returns:
        Whether the systems are equivalent, and whether an extension is; or None if it takes more to find out.
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
        # For each action where it leads from each class; a silent step may stay where it is.
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
        """Return a mapping, one class for each node, or None; depth first, the domains narrowed after each choice."""
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
        """Take away classes that no step into or out of a node allows; return whether all nodes have some left.

        A node without domain was not reached yet: all classes are possible.
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
        """Leave a node the allowed classes only, and note if that changed it; return whether any is left."""
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
