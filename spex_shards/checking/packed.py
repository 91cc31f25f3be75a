"""`Packed`: what `compact` makes of two large systems, in arrays of machine integers.

This module and `splitting` are used where they are compiled (`make wheel`), and need the package librt then. They do
what `compact` and `refinement` do: interpreted, they are slower than these, because Python has no machine integers;
compiled, they are several times faster. Both give the same partition; tests compare them.
"""

from __future__ import annotations

from collections.abc import Iterable

from librt.vecs import append, vec
from mypy_extensions import i64

from .arrays import pause


def zeros(size: i64) -> vec[i64]:
    """Return so many zeros."""
    return vec[i64](bytes(size))


def copied(numbers: vec[i64]) -> vec[i64]:
    """Return a copy."""
    end: i64 = len(numbers)
    found = zeros(end)
    at: i64 = 0
    while at < end:
        found[at] = numbers[at]
        at += 1
    return found


class Arrays:
    """Steps grouped by their source: those of `node` are at the indices ``first[node]`` to ``first[node + 1] - 1``.

    Attributes:
        first: For each node, the index of its first step; and at the end, the number of steps.
        codes: The action of each step, as a number; empty for silent steps.
        targets: The target of each step.
    """

    def __init__(self, first: vec[i64], codes: vec[i64], targets: vec[i64]) -> None:
        self.first = first
        self.codes = codes
        self.targets = targets

    def lists(self) -> tuple[list[int], list[int], list[int]]:
        """Return the three arrays as lists."""
        return as_list(self.first), as_list(self.codes), as_list(self.targets)


def arrays(first: Iterable[int], codes: Iterable[int], targets: Iterable[int]) -> Arrays:
    """Return steps that are given in lists."""
    return Arrays(vec[i64](first), vec[i64](codes), vec[i64](targets))


def as_list(numbers: vec[i64]) -> list[int]:
    """Return an array as a list."""
    found: list[int] = []
    at: i64 = 0
    end: i64 = len(numbers)
    while at < end:
        found.append(numbers[at])
        at += 1
    return found


def _offsets(size: i64, nodes: vec[i64], wanted: vec[i64], silent: bool) -> vec[i64]:
    """Return where the steps of each node begin, counting those that are silent, or those that are not."""
    first = zeros(size + 1)
    at: i64 = 0
    end: i64 = len(nodes)
    while at < end:
        if (wanted[at] == 0) == silent:
            first[nodes[at]] += 1
        at += 1
    _add_up(first)
    return first


def _add_up(counts: vec[i64]) -> None:
    """Replace each count by the sum of those before it."""
    total: i64 = 0
    at: i64 = 0
    end: i64 = len(counts)
    while at < end:
        count = counts[at]
        counts[at] = total
        total += count
        at += 1


def _grouped(size: i64, sources: vec[i64], codes: vec[i64], targets: vec[i64], scale: i64) -> Arrays:
    """Return the steps by source: the silent ones if `scale` is 0, else the visible ones with their codes scaled."""
    silent = scale == 0
    first = _offsets(size, sources, codes, silent)
    place = copied(first)
    found = zeros(first[size])
    scaled = zeros(0 if silent else first[size])
    at: i64 = 0
    end: i64 = len(sources)
    while at < end:
        code = codes[at]
        if (code == 0) == silent:
            to = place[sources[at]]
            place[sources[at]] = to + 1
            found[to] = targets[at]
            if not silent:
                scaled[to] = code * scale
        at += 1
    return Arrays(first, scaled, found)


def reversed_arrays(steps: Arrays, size: i64) -> Arrays:
    """Return steps by their targets, with their sources as `targets` and without codes."""
    first = zeros(size + 1)
    at: i64 = 0
    end: i64 = len(steps.targets)
    targets = steps.targets
    while at < end:
        first[targets[at]] += 1
        at += 1
    _add_up(first)
    place = copied(first)
    found = zeros(end)
    starts = steps.first
    node: i64 = 0
    while node < size:
        at = starts[node]
        while at < starts[node + 1]:
            to = place[targets[at]]
            place[targets[at]] = to + 1
            found[to] = node
            at += 1
        node += 1
    return Arrays(first, zeros(0), found)


class Packed:
    """The disjoint union of two systems, in which states are merged as in `compact.Compact`.

    Args:
        size: The number of states.
        sources: The source of each step.
        codes: The action of each step; 0 is the silent one.
        targets: The target of each step.
        most: The number of actions; the code of endless silent activity.
        diverging: Whether endless silent activity is an action.

    Attributes:
        size: The number of nodes.
        number: The node of each state.
        away: Whether each state was merged with the target of its only, silent step.
        divergent: The nodes with endless silent activity, where that counts.
        visible: The visible steps; codes are multiples of ``size + 1``.
        silent: The silent steps, which lead to smaller numbers.
    """

    def __init__(
        self, size: i64, sources: list[int], codes: list[int], targets: list[int], most: i64, diverging: bool
    ) -> None:
        self.size = size
        self._sources = vec[i64](sources)
        self._codes = vec[i64](codes)
        self._targets = vec[i64](targets)
        self.number = zeros(size)
        self.away = zeros(0)
        self.divergent: list[int] = []
        at: i64 = 0
        while at < size:
            self.number[at] = at
            at += 1
        at = 0
        while at < len(self._codes) and self._codes[at] != 0:
            at += 1
        cyclic = zeros(0)
        if at < len(self._codes):
            self._contract()
            pause()
            cyclic = self._collapse()
            pause()
        if diverging:
            self._diverge(cyclic, most)
        self.silent = _grouped(self.size, self._sources, self._codes, self._targets, 0)
        self.visible = _grouped(self.size, self._sources, self._codes, self._targets, self.size + 1)
        self._sources = zeros(0)
        self._codes = zeros(0)
        self._targets = zeros(0)

    def nodes_until(self, states: i64) -> list[int]:
        """Return the nodes of the first states."""
        return as_list(self.number[:states])

    def away_until(self, states: i64) -> list[int]:
        """Return whether each of the first states was merged with the target of its only step."""
        return as_list(self.away[:states])

    def _diverge(self, cyclic: vec[i64], code: i64) -> None:
        """Add to each marked node a step to itself."""
        node: i64 = 0
        while node < len(cyclic):
            if cyclic[node] != 0:
                self._sources = append(self._sources, node)
                self._targets = append(self._targets, node)
                self._codes = append(self._codes, code)
                self.divergent.append(node)
            node += 1

    def _contract(self) -> None:
        """Merge each node whose only step is silent with the step's target; a cycle of such nodes becomes one node."""
        size = self.size
        sources, codes, targets = self._sources, self._codes, self._targets
        several = zeros(size)
        end: i64 = len(sources)
        at: i64 = 0
        while at < end:
            several[sources[at]] += 1
            at += 1
        lead = zeros(size)
        node: i64 = 0
        while node < size:
            lead[node] = node
            node += 1
        at = 0
        while at < end:
            if codes[at] == 0 and several[sources[at]] == 1:
                lead[sources[at]] = targets[at]
            at += 1
        _follow(lead, several)
        self._keep_led(lead)
        fresh = several
        count: i64 = 0
        node = 0
        while node < size:
            if lead[node] == node:
                fresh[node] = count
                count += 1
            node += 1
        self.away = zeros(size)
        node = 0
        while node < size:
            self.away[node] = 1 if lead[node] != node else 0
            lead[node] = fresh[lead[node]]
            node += 1
        self._rename(lead, count)

    def _keep_led(self, lead: vec[i64]) -> None:
        """Keep the steps of nodes that are not merged with another one."""
        sources, codes, targets = self._sources, self._codes, self._targets
        kept: i64 = 0
        at: i64 = 0
        while at < len(sources):
            if lead[sources[at]] == sources[at]:
                sources[kept] = sources[at]
                codes[kept] = codes[at]
                targets[kept] = targets[at]
                kept += 1
            at += 1
        self._sources, self._codes, self._targets = sources[:kept], codes[:kept], targets[:kept]

    def _collapse(self) -> vec[i64]:
        """Merge each silent cycle into one node; silent steps lead down then. Return whether each node is one."""
        silent = _grouped(self.size, self._sources, self._codes, self._targets, 0)
        component = zeros(self.size)
        count = _components(self.size, silent.first, silent.targets, component)
        cyclic = zeros(count)
        self._rename(component, count)
        sources, codes, targets = self._sources, self._codes, self._targets
        end: i64 = len(sources)
        kept: i64 = 0
        at: i64 = 0
        while at < end:
            if codes[at] == 0 and sources[at] == targets[at]:
                cyclic[sources[at]] = 1
            else:
                sources[kept] = sources[at]
                codes[kept] = codes[at]
                targets[kept] = targets[at]
                kept += 1
            at += 1
        self._sources, self._codes, self._targets = sources[:kept], codes[:kept], targets[:kept]
        return cyclic

    def _rename(self, fresh: vec[i64], size: i64) -> None:
        """Give all nodes new numbers."""
        sources, targets, number = self._sources, self._targets, self.number
        at: i64 = 0
        end: i64 = len(sources)
        while at < end:
            sources[at] = fresh[sources[at]]
            targets[at] = fresh[targets[at]]
            at += 1
        at = 0
        end = len(number)
        while at < end:
            number[at] = fresh[number[at]]
            at += 1
        self.size = size


def _follow(lead: vec[i64], scratch: vec[i64]) -> None:
    """Replace where each node leads by where that leads in the end; one node of a cycle stands for it."""
    size: i64 = len(lead)
    node: i64 = 0
    while node < size:
        scratch[node] = 0  # 1: on the path that is being followed; 2: done
        node += 1
    start: i64 = 0
    while start < size:
        node = start
        while scratch[node] == 0 and lead[node] != node:
            scratch[node] = 1
            node = lead[node]
        # If the path leads back to one of its own nodes, it is a cycle: that node stands for it.
        last = lead[node] if scratch[node] == 2 else node
        node = start
        while scratch[node] == 1:
            scratch[node] = 2
            after = lead[node]
            lead[node] = last
            node = after
        scratch[last] = 2
        start += 1


def _components(size: i64, first: vec[i64], targets: vec[i64], component: vec[i64]) -> i64:
    """Find the strongly connected components (Tarjan 1972, without recursion); return how many there are.

    A component gets a larger number than those it leads to.
    """
    search = _Depth(size, first, component)
    entered, low, ahead, path = search.entered, search.low, search.ahead, search.path
    root: i64 = 0
    while root < size:
        if entered[root] == 0:
            search.enter(root)
        while search.depth > 0:
            node = path[search.depth - 1]
            at = ahead[node]
            if at == first[node + 1]:
                search.leave(node)
                continue
            ahead[node] = at + 1
            target = targets[at]
            if entered[target] == 0:
                search.enter(target)
            elif entered[target] > 0 and low[target] < low[node]:
                low[node] = low[target]
        root += 1
    return search.count


class _Depth:
    """A search in depth: its path, and the nodes that wait for the end of their component."""

    def __init__(self, size: i64, first: vec[i64], component: vec[i64]) -> None:
        self._first, self._component = first, component
        self.entered = zeros(size)  # 0: not yet; negative: its component is known
        self.low = zeros(size)
        self.ahead = zeros(size)
        self.path = zeros(size)
        self._waiting = zeros(size)
        self._waits: i64 = 0
        self._clock: i64 = 0
        self.depth: i64 = 0
        self.count: i64 = 0

    def enter(self, node: i64) -> None:
        """Go on to a node."""
        self._clock += 1
        self.entered[node] = self._clock
        self.low[node] = self._clock
        self.ahead[node] = self._first[node]
        self.path[self.depth] = node
        self.depth += 1
        self._waiting[self._waits] = node
        self._waits += 1

    def leave(self, node: i64) -> None:
        """Go back from a node, and end its component if it is the first node of one."""
        self.depth -= 1
        low, path = self.low, self.path
        if self.depth > 0 and low[node] < low[path[self.depth - 1]]:
            low[path[self.depth - 1]] = low[node]
        if low[node] < self.entered[node]:
            return
        member: i64 = -1
        while member != node:
            self._waits -= 1
            member = self._waiting[self._waits]
            self._component[member] = self.count
            self.entered[member] = -1
        self.count += 1
