"""Assigns classes of a large specification to the states of a model: the search of `extension`, on arrays.

The *domain* of a state is the set of its possible classes: a number if there is one, else a set that many states share.
States with one class come first: they decide most questions, and need neither sets nor steps by target. Then the other
domains are narrowed until they are consistent (Mackworth 1977), and if several classes are left, they are tried. Only
the parts of the two systems that this visits are read.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from .arrays import Grouped, reversed_steps
from .classes import Classes, Domain, PackedSteps

EFFORT: Final = 2_000_000
"""After examining this many classes, and a fixed number for each step, the question stays undecided."""
_EFFORT_PER_STEP: Final = 20
MOST_KEPT: Final = 6_000_000
"""The most classes that are stored in sets, about 400 MB, before the question stays undecided."""
_MANY: Final = 500
_OFTEN: Final = 4
"""If it was asked so often which of so many classes have some actions, it is noted which classes have each action."""
_FEW: Final = 12
"""Results for sets of at most so many classes are not stored."""


class _TooHard(Exception):
    """The effort is used up."""


class Assignment:
    """The search for a class for each reachable node of a model.

    Args:
        steps: The steps of the model.
        classes: The classes.
        alike: For each node a number; a class with the same number is tried first.
    """

    def __init__(self, steps: PackedSteps, classes: Classes, alike: list[int]) -> None:
        self._steps, self._moves, self._alike = steps, classes, alike
        size = len(steps.visible.first) - 1
        self._domains: list[Domain | None] = [None] * size
        self._into: tuple[Grouped, Grouped] | None = None
        self._forced: list[int] = []
        self._waiting: deque[int] = deque()
        self._queued = bytearray(size)
        self._trail: list[tuple[int, Domain | None]] = []
        self._choosing = False
        self._known: dict[object, Domain | None] = {}
        self._having: dict[frozenset[int], dict[int, frozenset[int]]] = {}
        self._asked: dict[frozenset[int], int] = {}
        self._kept = 0
        self._effort = EFFORT + _EFFORT_PER_STEP * (len(steps.visible.targets) + len(steps.silent.targets))

    def exists(self, start: int, first: int) -> bool | None:
        """Return whether there is an assignment, with the class `first` for the node `start`.

        Returns:
            True or False, which are exact; None if the bounded search did not find out.
        """
        try:
            return self._search(start, first)
        except _TooHard:
            return None

    def _search(self, start: int, first: int) -> bool:
        if self._guess(start, first):
            return True
        self._domains[start] = first
        self._forced.append(start)
        if not self._narrow():
            return False
        open_nodes = [node for node, domain in enumerate(self._domains) if isinstance(domain, frozenset)]
        # Each choice: how long the trail was, the first of `open_nodes` that may be open, and the classes to try.
        choices: list[tuple[int, int, list[int]]] = []
        place, self._choosing = 0, True
        while True:
            while place < len(open_nodes) and isinstance(self._domains[open_nodes[place]], int):
                place += 1
            if place == len(open_nodes):
                return True
            domain = self._domains[open_nodes[place]]
            assert isinstance(domain, frozenset)
            choices.append((len(self._trail), place, self._in_order(open_nodes[place], domain)))
            while choices:
                mark, place, left = choices[-1]
                if not left:
                    choices.pop()
                    continue
                self._undo(mark)
                self._set(open_nodes[place], left.pop())
                if self._narrow():
                    break
            else:
                return False

    def _guess(self, start: int, first: int) -> bool:
        """Return whether classes that are like the nodes can be assigned, without trying several for one node."""
        chosen, todo = {start: first}, [start]
        by_number: dict[frozenset[int], dict[int, int]] = {}
        while todo:
            node = todo.pop()
            moves = self._moves[chosen[node]]
            for action, target in self._steps.of(node):
                ends, own = moves.get(action), chosen.get(target)
                if ends is None:
                    return False
                if own is not None:
                    if not self._meet(ends, own):
                        return False
                    continue
                if isinstance(ends, frozenset):
                    if ends not in by_number:
                        by_number[ends] = {self._moves.alike(end): end for end in ends}
                    ends = by_number[ends].get(self._alike[target])
                    if ends is None:
                        return False
                chosen[target] = ends
                todo.append(target)
        return True

    def _in_order(self, node: int, classes: frozenset[int]) -> list[int]:
        """Return classes with those last that are like a node."""
        alike = self._alike[node]
        return sorted(classes, key=lambda own: (self._moves.alike(own) == alike, -own))

    def _undo(self, mark: int) -> None:
        """Restore the domains as they were when the trail had a length."""
        self._forced.clear()
        while self._waiting:
            self._queued[self._waiting.pop()] = 0
        while len(self._trail) > mark:
            node, domain = self._trail.pop()
            self._domains[node] = domain

    def _narrow(self) -> bool:
        """Remove classes that a step rules out; return whether each node that was reached has a class left."""
        forced, waiting = self._forced, self._waiting
        while True:
            if forced:
                if not self._follow(forced.pop()):
                    return False
            elif waiting:
                if self._into is None:
                    size = len(self._domains)
                    self._into = reversed_steps(self._steps.visible, size), reversed_steps(self._steps.silent, size)
                node = waiting.popleft()
                self._queued[node] = 0
                if isinstance(self._domains[node], frozenset) and not self._revise(node):
                    return False
            else:
                return True

    def _follow(self, node: int) -> bool:
        """Narrow the domains of the nodes after one that has one class."""
        own, domains = self._domains[node], self._domains
        assert isinstance(own, int)
        moves, first = self._moves[own], self._steps.visible.first
        self._spend(1 + first[node + 1] - first[node])
        for action, target in self._steps.of(node):
            ends = moves.get(action)
            if ends is None:
                return False
            before = domains[target]
            if before is None and isinstance(ends, int):
                self._set(target, ends)
            elif before is not ends and before != ends and not self._restrict(target, ends):
                return False
        return True

    def _revise(self, node: int) -> bool:
        """Narrow the domain of a node that has several classes, and those of the nodes after it."""
        steps = set(self._steps.of(node))
        domain = self._domains[node]
        self._spend(len(steps))
        for action, target in steps:
            after = self._domains[target]
            if after is not None:
                assert domain is not None
                domain = self._starts(domain, action, after)
                if domain is None:
                    return False
        if domain is not self._domains[node]:
            assert domain is not None
            self._set(node, domain)
            if isinstance(domain, int):
                return True
        for action, target in steps:
            assert isinstance(domain, frozenset)
            if not self._restrict(target, self._ends(domain, action)):
                return False
        return True

    def _restrict(self, node: int, allowed: Domain) -> bool:
        """Remove all but the allowed classes of a node; return whether any is left."""
        before = self._domains[node]
        after = self._able(node, allowed) if before is None else self._both(before, allowed)
        if after is None:
            return False
        if after is not before and after != before:  # a number that passed through compiled code is another object
            self._set(node, after)
        return True

    def _set(self, node: int, domain: Domain) -> None:
        """Give a node a domain, and see to it that the nodes before and after it are narrowed."""
        if self._choosing:
            self._trail.append((node, self._domains[node]))
        self._domains[node] = domain
        if isinstance(domain, int):
            self._forced.append(node)
        else:
            self._queue(node)
        if self._into is not None:
            for into in self._into:
                for source in into.targets[into.first[node] : into.first[node + 1]]:
                    if isinstance(self._domains[source], frozenset):
                        self._queue(source)

    def _queue(self, node: int) -> None:
        if not self._queued[node]:
            self._queued[node] = 1
            self._waiting.append(node)

    def _able(self, node: int, classes: Domain) -> Domain | None:
        """Return those of some classes that have all actions of a node."""
        if isinstance(classes, int):
            return classes  # `_follow` looks at its actions
        actions = frozenset(action for action, _ in self._steps.of(node))
        key = "able", classes, actions
        if len(classes) > _FEW and key in self._known:
            return self._known[key]
        if len(classes) > _MANY:
            asked = self._asked[classes] = self._asked.get(classes, 0) + 1
            if asked > _OFTEN and actions:
                return self._able_by_index(key, classes, actions)
        return self._stored(key, classes, [own for own in classes if self._moves[own].keys() >= actions])

    def _able_by_index(self, key: object, classes: frozenset[int], actions: frozenset[int]) -> Domain | None:
        """Return those of many classes that have all the actions, of which at least one is given.

        Only the classes that have the rarest action are looked at.
        """
        index = self._having.get(classes)
        if index is None:
            found: dict[int, list[int]] = {}
            for own in classes:
                for action in self._moves[own]:
                    found.setdefault(action, []).append(own)
            index = self._having[classes] = {action: frozenset(having) for action, having in found.items()}
            self._keep(sum(map(len, index.values())))
        having = sorted((index.get(action, frozenset()) for action in actions), key=len)
        return self._stored(key, classes, having[0].intersection(*having[1:]), len(having[0]))

    def _both(self, one: Domain, other: Domain) -> Domain | None:
        """Return the classes in both domains."""
        if one is other or one == other:
            return one
        if isinstance(one, int):
            return one if isinstance(other, frozenset) and one in other else None
        if isinstance(other, int):
            return other if other in one else None
        key = "both", one, other
        if len(one) > _FEW and key in self._known:
            return self._known[key]
        return self._stored(key, one, one & other)

    def _starts(self, classes: Domain, action: int, ends: Domain) -> Domain | None:
        """Return those of some classes from which an action leads to one of the given classes."""
        if isinstance(classes, int):
            return classes if self._meet(self._moves[classes][action], ends) else None
        key = "starts", classes, action, ends
        if len(classes) > _FEW and key in self._known:
            return self._known[key]
        return self._stored(key, classes, [own for own in classes if self._meet(self._moves[own][action], ends)])

    def _ends(self, classes: frozenset[int], action: int) -> Domain:
        """Return the classes that an action leads to from some classes; one at least."""
        key = "ends", classes, action
        ends = self._known.get(key) if len(classes) > _FEW else None
        if ends is not None:
            return ends
        found: set[int] = set()
        for own in classes:
            leads = self._moves[own][action]
            if isinstance(leads, int):
                found.add(leads)
            else:
                found |= leads
                self._spend(len(leads))
        ends = self._stored(key, classes, found)
        assert ends is not None
        return ends

    @staticmethod
    def _meet(one: Domain, other: Domain) -> bool:
        if isinstance(one, int):
            return one == other if isinstance(other, int) else one in other
        return other in one if isinstance(other, int) else not one.isdisjoint(other)

    def _stored(
        self,
        key: object,
        before: frozenset[int],
        found: frozenset[int] | set[int] | list[int],
        looked_at: int | None = None,
    ) -> Domain | None:
        """Return what was found as a domain, `before` itself if it is that; store it by `key` if that is worth it."""
        size = len(before)
        self._spend(size if looked_at is None else 1 + looked_at)
        domain: Domain | None = None
        if len(found) == 1:
            domain = next(iter(found))
        elif found:
            same = len(found) == size and before.issuperset(found)
            domain = before if same else frozenset(found)
            if not same:
                self._keep(len(found))
        if size > _FEW:
            self._known[key] = domain
        return domain

    def _keep(self, classes: int) -> None:
        self._kept += classes
        if self._kept > MOST_KEPT:
            raise _TooHard

    def _spend(self, effort: int) -> None:
        self._effort -= effort
        if self._effort < 0:
            raise _TooHard
