"""`Simulators`: for each state of the model, the set of the specification's states that simulate it, as bits of an int.

::

    p --a-> p'    simulators(p)  ⊆  those from which a leads into simulators(p')
    p --τ-> p'    simulators(p)  ⊆  simulators(p')
    p stops       simulators(p)  ⊆  those from which silent steps lead to one of them at rest with the right menu

The sets begin as large as the actions allow, and shrink until nothing changes (Henzinger, Henzinger and Kopke 1995).
This examines all states at once. It is used if trying one answer after the other (`simulation`) takes too long. The
time at which a state left a set is stored, because a refutation is made from these times.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from ..domain.transition import INTERNAL
from .inclusion import TooManyPairs
from .weak import Weak

MOST_BITS: Final = 2_000_000_000
"""The most bits of all sets together: a quarter of a gigabyte, and about as much for the stored times."""
MOST_KEPT: Final = 4_096
"""How many answers to the question "from where does this action lead into that set?" are remembered."""


class Simulators:
    """The largest simulation, or as much of it as shows that the initial pair is not in it.

    Args:
        impl: The model.
        spec: The specification, collapsed.
        completed: Whether a state that can do nothing more is simulated only by states that can end.
        ready: Whether a state at rest is simulated only by states that can rest with the same menu.

    Raises:
        TooManyPairs: There are too many states.
    """

    def __init__(self, impl: Weak, spec: Weak, *, completed: bool, ready: bool) -> None:
        self._impl, self._spec = impl, spec
        self._completed, self._ready = completed, ready
        size, actions = len(spec.steps), {action for steps in spec.steps for action, _ in steps}
        if size * (len(impl.steps) + size * (2 * len(actions) + 1)) > MOST_BITS:
            raise TooManyPairs
        self._all = (1 << size) - 1
        self._leading: dict[str, list[int]] = {action: [0] * size for action in actions}
        self._above = [0] * size
        self._fill()
        self._kept: dict[tuple[str, int], int] = {}
        self._resting: dict[frozenset[str], int] = {}
        for node, rests in enumerate(spec.at_rest):
            if rests:
                menu = spec.menu(node)
                self._resting[menu] = self._resting.get(menu, 0) | 1 << node
        self._sets: dict[int, int] = {}
        self._left: dict[int, list[tuple[int, int]]] = {}
        self._time = 0

    def _fill(self) -> None:
        """Compute for each state the states from which each action, or silent steps alone, lead to it."""
        for node in range(len(self._spec.steps)):
            for here in self._spec.near(node):
                self._above[here] |= 1 << node
        for source, steps in enumerate(self._spec.steps):
            for action, target in steps:
                self._leading[action][target] |= self._above[source]

    def run(self) -> bool:
        """Shrink the sets until nothing changes, or the specification's initial state leaves the model's initial set.

        Returns:
            Whether the specification simulates the model.
        """
        before = self._reached()
        todo = deque(sorted(self._sets))
        waiting = set(todo)
        for state in self._sets:
            self._keep(state, self._stopping(state))
        while todo and self._sets[self._impl.start] >> self._spec.start & 1:
            state = todo.popleft()
            waiting.discard(state)
            for action, sources in before.get(state, {}).items():
                for source in sources:
                    own = self._sets[source]
                    into = self._sets[state] if action == INTERNAL else self._into(action, self._sets[state])
                    if own & ~into and self._keep(source, into):
                        while self._keep(source, self._stopping(source)):
                            pass
                        if source not in waiting:
                            waiting.add(source)
                            todo.append(source)
        return bool(self._sets[self._impl.start] >> self._spec.start & 1)

    def _reached(self) -> dict[int, dict[str, list[int]]]:
        """Create the first set of each reachable state; return the steps that lead to each."""
        before: dict[int, dict[str, list[int]]] = {}
        able = {action: self._into(action, self._all) for action in self._leading if action != INTERNAL}
        self._sets[self._impl.start] = self._all
        for state in (order := [self._impl.start]):  # grows while the loop runs
            for action, target in self._impl.steps[state]:
                before.setdefault(target, {}).setdefault(action, []).append(state)
                if action != INTERNAL:
                    self._keep(state, able.get(action, 0))
                if target not in self._sets:
                    self._sets[target] = self._all
                    order.append(target)
        return before

    def _keep(self, state: int, allowed: int) -> bool:
        """Remove from a set all states that are not in `allowed`; return whether there were any."""
        gone = self._sets[state] & ~allowed
        if gone:
            self._time += 1
            self._sets[state] &= allowed
            self._left.setdefault(state, []).append((self._time, gone))
        return bool(gone)

    def _into(self, action: str, targets: int) -> int:
        """Return the set of states from which an action leads into a set."""
        known = self._kept.get((action, targets))
        if known is None:
            leading, known = self._leading.get(action), 0
            if leading is not None:
                for target in bits(targets):
                    known |= leading[target]
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[action, targets] = known
        return known

    def _stopping(self, state: int) -> int:
        """Return the set of states from which the specification can come to rest as a state of the model does."""
        if not (self._completed or self._ready) or not self._impl.at_rest[state]:
            return self._all
        menu = self._impl.menu(state)
        if menu and not self._ready:
            return self._all
        above = 0
        for node in bits(self._resting.get(menu, 0) & self._sets[state]):
            above |= self._above[node]
        return above

    def left(self, state: int, node: int) -> int:
        """Return when a specified state left the set of a model's state; the latest time if it did not."""
        for time, gone in self._left.get(state, ()):
            if gone >> node & 1:
                return time
        return self._time + 1


def bits(number: int) -> Iterator[int]:
    """Yield the positions of the bits that are set."""
    place = 0
    text = bin(number)[:1:-1]  # from the lowest bit on; far faster than shifting a long number
    while (place := text.find("1", place)) >= 0:
        yield place
        place += 1
