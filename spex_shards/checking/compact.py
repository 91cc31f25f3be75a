"""`Compact`: two large systems as arrays of numbers, in which states that are easily seen to be equivalent are merged.

::

    LTS ──┐ number the   ┌─ steps: source,  contract states   collapse each      group by
    LTS ──┴─ states ────▶└─ action, target ─▶ with one, silent ─▶ silent cycle ──▶ source: offsets and
                                              way out            into one node     flat lists

A state whose only step is silent is branching bisimilar to the target of that step (van Glabbeek and Weijland 1996);
this holds also if divergence counts, unless the step is part of a silent cycle. If all silent steps are of this kind,
none is left; if the systems are deterministic then, comparing them takes near-linear time without refinement.

To save memory, there is no object for each step: a step is an entry in two arrays. Unreachable states are kept, because
finding them costs as much as refining them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import compress, count
from operator import itemgetter

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State
from .arrays import Column, Grouped, components
from .graph import Equivalence
from .machine import Refiner, machine, splitting_of
from .refinement import Refinement


class Compact:
    """The disjoint union of some systems.

    Attributes:
        size: The number of nodes.
        starts: The nodes of the initial states.
        base: Larger than any number of a node or a block.
        actions: The action of each code, at index ``code // base``; endless silent activity is a silent action.
    """

    __slots__ = (
        "_contracted", "_divergent", "_nodes", "_packed", "_silent", "_visible", "actions", "base", "size", "starts"
    )  # fmt: skip

    def __init__(self, systems: Sequence[LTS], equivalence: Equivalence) -> None:
        steps = _Columns(systems, strong=equivalence is Equivalence.STRONG)
        self.actions = [*steps.actions, INTERNAL]
        last = len(systems[0].transitions)
        given = (steps.sources[:last], steps.codes[:last], steps.targets[:last]) if 0 in steps.codes else None
        counts = equivalence is Equivalence.DIVERGENCE_PRESERVING_BRANCHING
        forms = machine()
        self._packed = None
        self._visible: Grouped | None = None
        self._silent: Grouped | None = None
        self._divergent: list[int] = []
        if forms is None:
            away, divergent = _merged(steps)
            self._divergent = sorted(divergent) if counts else []
            self.starts, self.size, self._nodes = steps.starts, steps.size, steps.nodes
            self._silent = steps.silent()
        else:
            most, states = len(steps.actions), len(steps.nodes)
            packed = forms.packed(steps.size, steps.sources, steps.codes, steps.targets, most, counts)
            self._packed, self.size, away = packed, packed.size, bytearray(packed.away_until(states))
            self.starts = [packed.number[start] for start in steps.starts]
            self._nodes, self._divergent = packed.nodes_until(states), packed.divergent
        self.base = self.size + 1
        self._contracted = None if given is None else (*given, away[: len(steps.nodes)])
        if forms is None:
            steps.keep(steps.codes)
            self._visible = self._grouped(self.size, steps.sources, steps.codes, steps.targets)

    @property
    def visible(self) -> Grouped:
        """The visible steps. A code is a multiple of `base`."""
        if self._visible is None:
            assert self._packed is not None
            self._visible = Grouped.of_lists(*self._packed.visible.lists())
        return self._visible

    @property
    def silent(self) -> Grouped:
        """The silent steps; each leads to a node of a smaller number. Has no codes."""
        if self._silent is None:
            assert self._packed is not None
            self._silent = Grouped.of_lists(*self._packed.silent.lists())
        return self._silent

    @property
    def has_silent(self) -> bool:
        """Whether there are silent steps."""
        return bool(self.silent.targets) if self._packed is None else len(self._packed.silent.targets) > 0

    def refinement(self) -> Refiner:
        """Return the refinement of the nodes, which has not begun yet."""
        if self._packed is None:
            return Refinement(self.size, self.visible, self.silent)
        return splitting_of(self._packed)

    def _grouped(self, size: int, sources: Column, codes: Column, targets: Column) -> Grouped:
        """Return visible steps by source, with those for endless silent activity."""
        scaled = [code * self.base for code in range(len(self.actions))]  # the last for endless silent activity
        divergent = self._divergent
        return Grouped(
            size,
            [*sources, *divergent],
            [*targets, *divergent],
            [*map(scaled.__getitem__, codes), *[scaled[-1]] * len(divergent)],
        )

    def expanded(self) -> tuple[Grouped, Grouped, int, Column]:
        """Return the first system without the merging of states with one, silent step.

        In an extension such a state may get other steps, so it need not be equivalent to the step's target there. The
        states of a silent cycle are merged.

        Returns:
            The visible and the silent steps, which may lead to larger numbers; the initial state's node; and for each
            new node, a number from `size` on, the node that it was merged with. Other nodes keep their numbers.
        """
        if self._contracted is None:
            return self.visible, self.silent, self.starts[0], []
        sources, codes, targets, away = self._contracted
        number, merged = list(self._nodes), self._nodes
        lead = {source: target for source, target in zip(sources, targets, strict=True) if away[source]}
        # A node with a silent step from the node that it was merged with is on a cycle, and so are those it leads to.
        inside = bytearray(len(number))
        for source, code, target in zip(sources, codes, targets, strict=True):
            if not code and away[target] and not away[source] and merged[source] == merged[target]:
                while away[target] and not inside[target]:
                    inside[target] = 1
                    target = lead[target]
        new = [node for node in lead if not inside[node]]
        for place, node in enumerate(new, self.size):
            number[node] = place
        sources, targets = [number[node] for node in sources], [number[node] for node in targets]
        size = self.size + len(new)
        silent = [not code and s != t for s, code, t in zip(sources, codes, targets, strict=True)]
        steps = (list(compress(column, codes)) for column in (sources, codes, targets))
        return (
            self._grouped(size, *steps),
            Grouped(size, list(compress(sources, silent)), list(compress(targets, silent))),
            number[0],
            [merged[node] for node in new],
        )


class _Columns:
    """The steps of all systems, in columns and not grouped; action 0 is the silent action."""

    def __init__(self, systems: Sequence[LTS], *, strong: bool) -> None:
        self.sources: Column = []
        self.codes: Column = []
        self.targets: Column = []
        self.starts: Column = []
        self.nodes: Column = []
        actions: defaultdict[object, int] = defaultdict(count().__next__)
        _ = actions[None if strong else INTERNAL]
        numbers = count()
        for lts in systems:
            states: defaultdict[State, int] = defaultdict(numbers.__next__)
            self.starts.append(states[lts.initial_state])
            self.sources += map(states.__getitem__, map(itemgetter(0), lts.transitions))
            self.codes += map(actions.__getitem__, map(itemgetter(1), lts.transitions))
            self.targets += map(states.__getitem__, map(itemgetter(2), lts.transitions))
            self.nodes = self.nodes or list(range(len(states)))
        self.size = next(numbers)
        self.actions = [INTERNAL if action is None else str(action) for action in actions]

    def keep(self, flags: Sequence[object]) -> None:
        """Keep the steps whose flag is true."""
        self.sources = list(compress(self.sources, flags))
        self.targets = list(compress(self.targets, flags))
        self.codes = list(compress(self.codes, flags))

    def rename(self, number: Column, size: int) -> None:
        """Give all nodes new numbers."""
        self.sources = [number[source] for source in self.sources]
        self.targets = [number[target] for target in self.targets]
        self.starts = [number[start] for start in self.starts]
        self.nodes = [number[node] for node in self.nodes]
        self.size = size

    def silent(self) -> Grouped:
        """Return the silent steps by source."""
        inside = [not code for code in self.codes]
        return Grouped(self.size, list(compress(self.sources, inside)), list(compress(self.targets, inside)))


def _merged(steps: _Columns) -> tuple[bytearray, set[int]]:
    """Merge states; return whether each was merged with the target of its only step, and the nodes of silent cycles."""
    away, divergent = bytearray(), set[int]()
    if 0 in steps.codes:
        away = _contract(steps)
    if 0 in steps.codes:
        divergent = _collapse(steps)
    return away, divergent


def _contract(steps: _Columns) -> bytearray:
    """Merge each node whose only step is silent with the step's target; a cycle of such nodes becomes one node.

    Returns:
        Whether each node was merged with another one.
    """
    several = bytearray(steps.size)
    for source in steps.sources:
        several[source] = several[source] + 1 if several[source] < 2 else 2
    lead = list(range(steps.size))
    for source, code, target in zip(steps.sources, steps.codes, steps.targets, strict=True):
        if not code and several[source] == 1:
            lead[source] = target
    state = bytearray(steps.size)  # 1: on the path that is being followed; 2: done
    for node in range(steps.size):
        path = []
        while not state[node] and lead[node] != node:
            state[node] = 1
            path.append(node)
            node = lead[node]
        # If the path leads back to one of its own nodes, it is a cycle: that node stands for it, with a silent step to
        # itself.
        end = lead[node] if state[node] == 2 else node
        for passed in path:
            lead[passed] = end
            state[passed] = 2
        state[end] = 2
    steps.keep([lead[source] == source for source in steps.sources])
    fresh = [-1] * steps.size
    size = 0
    for node, end in enumerate(lead):
        if node == end:
            fresh[node] = size
            size += 1
    steps.rename([fresh[end] for end in lead], size)
    return bytearray(node != end for node, end in enumerate(lead))


def _collapse(steps: _Columns) -> set[int]:
    """Merge each silent cycle into one node, and return these nodes. Silent steps lead to smaller numbers then."""
    silent = steps.silent()
    component, size = components(silent)
    cyclic = {
        component[source]
        for source, code, target in zip(steps.sources, steps.codes, steps.targets, strict=True)
        if not code and component[source] == component[target]
    }
    steps.rename(component, size)
    rows = zip(steps.sources, steps.codes, steps.targets, strict=True)
    steps.keep([code or source != target for source, code, target in rows])
    return cyclic
