"""Decides whether the history of one instance is a run of its specification, without any learned model.

A run is followed through the specification by its actions. Its *position* is the set of specified states that it may be
in. A silent step (`INTERNAL`) of the specification may happen at any time and is not observed; a silent step of the
instance changes nothing. So a sequence of actions is a run exactly if it is a weak trace of the specification (van
Glabbeek, "The Linear Time - Branching Time Spectrum II", 1993). The names of the states that the instance reports are
used only after a deviation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from ..domain.instance import Instance
from ..domain.lts import LTS
from ..domain.specification import Specification, is_specification
from ..domain.transition import INITIALISATION, INTERNAL, Transition

Position = int | tuple[int, ...]
"""The specified states that a run may be in, as numbers in order of first appearance: one state, or several.

The empty tuple means that the run has left the specification: it is not judged until it reports a specified state.
"""
PARTED: Final[Position] = ()
_MOST_KNOWN: Final = 10_000


class Parting(NamedTuple):
    """The place where a run left its specification.

    Attributes:
        at: The index of the first step that was not allowed.
        action: That step's action.
        possible: The specified states that the run may have been in, in order of first appearance.
        allowed: The specified transitions that could have followed there, in order of the specification.
    """

    at: int
    action: str
    possible: tuple[str, ...]
    allowed: tuple[Transition, ...]

    def __str__(self) -> str:
        return f"step {self.at + 1} ({self.action}) is not allowed: {where(self.possible, self.allowed)}"


class RunChecker:
    """Follows runs through one specification.

    The positions that runs reach are remembered, with the position that each action leads to. So a step costs one
    look-up. If the specification is deterministic without silent steps, there are at most as many positions as states.

    Args:
        spec: The specification's system; None for one without transitions: then nothing but silent steps is allowed.

    Attributes:
        start: The position of a run that has just begun.

    Not to be shared between threads.
    """

    def __init__(self, spec: LTS | None) -> None:
        initial, steps = ("", ()) if spec is None else (str(spec.initial_state), spec.transitions)
        states = (str(state) for source, _, target in steps for state in (source, target))
        self._names = tuple(dict.fromkeys((initial, *states)))
        self._numbers = {name: number for number, name in enumerate(self._names)}
        self._transitions = tuple(Transition(str(source), action, str(target)) for source, action, target in steps)
        self._leads: list[dict[str, list[int]]] = [{} for _ in self._names]
        for source, action, target in self._transitions:
            assert source is not None
            self._leads[self._numbers[source]].setdefault(action, []).append(self._numbers[target])
        self._known: dict[Position, dict[str, Position]] = {}
        self.start: Position = self._closed({self._numbers[initial]})

    def follow(self, position: Position, action: str, state: str) -> tuple[Position, bool]:
        """Return the position after an observed step, and whether the specification allows the step.

        After a step that it does not allow, the run goes on from the specified state that has the reported name. Where
        there is none, the run has left the specification: its steps are not judged (they count as allowed) until it
        reports a specified state.

        Args:
            position: Where the run was.
            action: The action; a silent one changes nothing.
            state: The state that the instance reports.
        """
        known = self._known.get(position)
        if known is not None and action in known:
            return known[action], True
        following = self.step(position, action)
        if following is None:
            return self.named(state), False
        return (self.named(state) if following == PARTED else following), True

    def named(self, state: str) -> Position:
        """Return the position of a run that is known to be in a state of that name; `PARTED` if there is none."""
        number = self._numbers.get(state)
        return PARTED if number is None else self._closed({number})

    def states(self, position: Position) -> tuple[str, ...]:
        """Return the names of the specified states of a position."""
        numbers = (position,) if isinstance(position, int) else position
        return tuple(self._names[number] for number in numbers)

    def allowed(self, position: Position) -> tuple[Transition, ...]:
        """Return the visible transitions of the specification that may follow at a position."""
        states = set(self.states(position))
        return tuple(t for t in self._transitions if t.source in states and t.action != INTERNAL)

    def holds(self, position: object) -> bool:
        """Return whether a stored value is a position of this specification."""
        numbers = (position,) if type(position) is int else position
        return type(numbers) is tuple and all(
            type(number) is int and 0 <= number < len(self._names) for number in numbers
        )

    def position(self, actions: Iterable[str]) -> Position:
        """Return the position after some actions; `PARTED` if they are no run of the specification."""
        position = self.start
        for action in actions:
            following = self.step(position, action)
            if following is None:
                return PARTED
            position = following
        return position

    def parting(self, actions: Iterable[str]) -> Parting | None:
        """Return where a run with these actions leaves the specification, or None: it is a run of it."""
        position = self.start
        for index, action in enumerate(actions):
            following = self.step(position, action)
            if following is None:
                return Parting(index, action, self.states(position), self.allowed(position))
            position = following
        return None

    def step(self, position: Position, action: str) -> Position | None:
        """Return the position after an action, or None: the specification does not allow it there."""
        if action == INTERNAL or position == PARTED:
            return position
        known = self._known.get(position)
        if known is not None and action in known:
            return known[action]
        numbers: tuple[int, ...] = (position,) if isinstance(position, int) else position
        targets = {target for number in numbers for target in self._leads[number].get(action, ())}
        if not targets:
            return None
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        following = self._known.setdefault(position, {})[action] = self._closed(targets)
        return following

    def _closed(self, numbers: set[int]) -> Position:
        """Return the position of some states and of all that silent steps lead to from them."""
        found, left = set(numbers), list(numbers)
        while left:
            for target in self._leads[left.pop()].get(INTERNAL, ()):
                if target not in found:
                    found.add(target)
                    left.append(target)
        return found.pop() if len(found) == 1 else tuple(sorted(found))


def parting(specification: type[Specification], run: Instance | Iterable[str]) -> Parting | None:
    """Return where a run leaves a specification, or None: it is a run of it.

    Args:
        specification: The specification.
        run: An instance with its whole history, or actions in their order.

    Raises:
        ValueError: The instance's history does not begin with its initialisation: it is incomplete, or was mocked.
        TypeError: `specification` is none, `run` is one text, or an action is not a `str`.
    """
    if not is_specification(specification):
        raise TypeError(f"a run is judged by a Specification class, got: {specification!r}")
    if isinstance(run, str):
        raise TypeError(f"a run must be an instance, or its actions in order, got the str {run!r}")
    if isinstance(run, Instance):
        if not run.history or run.history[0].action != INITIALISATION:
            raise ValueError(f"the history of {run.identifier!r} must begin with its initialisation, to be a run")
        run = [record.action for record in run.history[1:]]
    actions = list(run)
    for action in actions:
        if not isinstance(action, str):
            raise TypeError(f"an action of a run must be a str, got: {action!r}")
    return RunChecker(specification.lts).parting(actions)


def where(possible: tuple[str, ...], allowed: tuple[Transition, ...]) -> str:
    """Return in words what a specification allows at the position of a run."""
    place = f"in {_listed(possible, 'or')}, the specification allows"
    steps = [f"{action} (to {target})" for action, target in dict.fromkeys((t.action, t.target) for t in allowed)]
    return f"{place} {_listed(tuple(steps), 'and')}" if steps else f"{place} nothing more"


def _listed(items: tuple[str, ...], word: str) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {word} {items[-1]}"
