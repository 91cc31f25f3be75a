"""Finds the round in which two states part: a sequence of partitions, by experiments of growing depth.

In round 0, all nodes are in one class. In round k + 1, nodes are in one class if they have the same *observations* in
terms of round k::

    (class of s1, a, class of s2)      for each  s =tau*=> s1 -a-> s2, a visible
    (class of s1, tau, class of s2)    for each  s =tau*=> s1, and s2 = s1 or s1 -tau-> s2

Two nodes that part in round k, that is, get different classes, are told apart by a formula with k nested modalities,
and by none with fewer (as in Martens and Groote 2023, there for the until operator). When no class is split any more,
the nodes of a class are branching bisimilar: they fulfil the transfer conditions of semi-branching bisimulations
(Basten 1996). Without silent steps this is strong bisimilarity (Kanellakis and Smolka 1990).

Each round visits only nodes whose observations may have changed. The largest part of a class keeps its number. Sets of
observations are shared: a node that adds nothing to the observations of a silent successor shares that node's set.
"""

from __future__ import annotations

from bisect import bisect_right
from heapq import heapify, heappop, heappush
from typing import Final

from .graph import SILENT, Steps

MOST_EFFORT: Final = 60_000_000
"""The most observations that are examined."""
MOST_KEPT: Final = 8_000_000
"""The most observations that are stored at a time."""

_MANY: Final = 1_000
"""If a round must visit more nodes than this, the two nodes in question are compared first: that may end the search."""

Observations = frozenset[int]


class TooLarge(Exception):
    """The systems are too large for the search."""


class Rounds:
    """The rounds over a graph without silent cycles.

    Args:
        visible: For each node its visible steps (code, target); codes are multiples of `base`.
        silent: For each node the targets of its silent steps, which have smaller numbers.
        base: At least the number of nodes.
    """

    def __init__(self, visible: Steps, silent: list[list[int]], base: int) -> None:
        size = len(visible)
        self._visible, self._silent = visible, silent
        # Without silent steps, the first class of an observation is always the node's own, and is left out.
        self._span = (max((code for steps in visible for code, _ in steps), default=0) + base) * any(silent)
        self._into_visibly: list[list[int]] = [[] for _ in range(size)]
        self._into_silently: list[list[int]] = [[] for _ in range(size)]
        for node, steps in enumerate(visible):
            for target in {target for _, target in steps}:
                self._into_visibly[target].append(node)
        for node, targets in enumerate(silent):
            for target in targets:
                self._into_silently[target].append(node)
        self.block = [0] * size
        self._members = [set(range(size))]
        self._observed: list[Observations] = [frozenset((-1,))] * size
        self._holders = {id(self._observed[0]): size} if size else {}
        self._history: list[list[int]] = [[0] for _ in range(size)]
        self._numbers: list[list[int]] = [[0] for _ in range(size)]
        self._effort = self._kept = self.last = 0

    def separate(self, one: int, other: int) -> int:
        """Go through the rounds until two nodes have parted; return the round.

        Raises:
            TooLarge: It would take too much time or memory.
            AssertionError: They never part, so they are equivalent.
        """
        dirty = set(range(len(self.block)))
        while dirty:
            self.last += 1
            if len(dirty) > _MANY and self._around(one) != self._around(other):
                break
            moved = self._split(self._observe(dirty), self.last)
            if self.block[one] != self.block[other]:
                break
            dirty = set()
            for node in moved:
                dirty.update(self._into_visibly[node])
                if self._span:
                    dirty.add(node)
                    dirty.update(self._into_silently[node])
        else:
            raise AssertionError("equivalent states have no distinguishing formula")
        return self.last

    def _around(self, node: int) -> set[int]:
        """Return the observations of one node, computed without the stored observations of others."""
        found, seen, todo = set(), {node}, [node]
        for here in todo:  # grows while the loop runs
            found |= self._local(here)
            new = [target for target in self._silent[here] if target not in seen]
            seen.update(new)
            todo += new
        return found

    def at(self, node: int, number: int) -> int:
        """Return the class of a node in a round."""
        return self._numbers[node][bisect_right(self._history[node], number) - 1]

    def parted(self, one: int, other: int) -> int:
        """Return the round in which two nodes part; if they are in one class in all rounds so far, the last round."""
        rounds = sorted({*self._history[one], *self._history[other]})
        return next((number for number in rounds if self.at(one, number) != self.at(other, number)), self.last)

    def _observe(self, dirty: set[int]) -> list[int]:
        """Update the observations of nodes, and of those with silent steps to them; return the nodes that changed."""
        changed = []
        known: dict[Observations, Observations] = {}
        todo = list(dirty)
        heapify(todo)
        last = -1
        while todo:
            node = heappop(todo)
            if node == last:
                continue
            last = node
            new = self._observations(node, known)
            if new != self._observed[node]:
                changed.append(node)
                self._keep(node, new)
                for source in self._into_silently[node]:
                    heappush(todo, source)
        return changed

    def _observations(self, node: int, known: dict[Observations, Observations]) -> Observations:
        silent, found = self._silent[node], self._local(node)
        sets = {id(self._observed[target]): self._observed[target] for target in silent}
        self._effort += len(found) + sum(map(len, sets.values()))
        if self._effort > MOST_EFFORT:
            raise TooLarge("telling the systems apart takes too many steps")
        if sets:
            largest = max(sets.values(), key=len)
            if found <= largest and all(other <= largest for other in sets.values()):
                return largest
            found.update(*sets.values())
        new = frozenset(found)
        return known.setdefault(new, new)

    def _local(self, node: int) -> set[int]:
        """Return the observations of a node that begin without a silent step."""
        block = self.block
        own = self._span * block[node]
        found = {own + code + block[target] for code, target in self._visible[node]}
        if self._span:
            found.add(own + SILENT + block[node])
            found.update([own + SILENT + block[target] for target in self._silent[node]])
        return found

    def _keep(self, node: int, new: Observations) -> None:
        old = self._observed[node]
        holders = self._holders
        holders[id(old)] -= 1
        if not holders[id(old)]:
            del holders[id(old)]
            self._kept -= len(old)
        self._observed[node] = new
        if id(new) in holders:
            holders[id(new)] += 1
        else:
            holders[id(new)] = 1
            self._kept += len(new)
            if self._kept > MOST_KEPT:
                raise TooLarge("telling the systems apart takes too much memory")

    def _split(self, changed: list[int], number: int) -> list[int]:
        """Split the classes of nodes with different observations; return the nodes that got a new class."""
        touched: dict[int, dict[Observations, set[int]]] = {}
        for node in changed:
            touched.setdefault(self.block[node], {}).setdefault(self._observed[node], set()).add(node)
        moved: list[int] = []
        for own, groups in touched.items():
            parts = list(groups.values())
            members = self._members[own]
            rest = len(members) - sum(map(len, parts))
            largest = max(parts, key=len)
            if rest >= len(largest):
                members.difference_update(*parts)
            else:
                parts.remove(largest)
                if rest:
                    parts.append(members.difference(largest, *parts))
                self._members[own] = largest
            for part in parts:
                for node in part:
                    self.block[node] = len(self._members)
                    self._history[node].append(number)
                    self._numbers[node].append(len(self._members))
                moved += part
                self._members.append(part)
        return moved
