"""A specification with its classes and their names.

The *classes* are the states of the minimised specification; a state of a model may be equivalent to one of them. Names
come from the specification as it was given.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State, Transition
from .bisimulation import reduced
from .graph import Equivalence

Moves = dict[str, tuple[int, ...]]


class Specified:
    """A specification and its classes.

    Args:
        spec: The specification as it was given.
        kind: The equivalence.

    Attributes:
        given: The specification.
        kind: The equivalence.
        strong: Whether the internal action is an action like any other.
        small: The minimised specification; its states are the classes, 0 the initial one.
        class_of: The class of each reachable state.
        members: The states of each class, in the specification's order.
        actions: The visible actions that can be reached, in the specification's order.
    """

    def __init__(self, spec: LTS, kind: Equivalence) -> None:
        self.given, self.kind = spec, kind
        self._steps = frozenset(spec.transitions)
        self.strong = kind is Equivalence.STRONG
        self.class_of, self.small = reduced(spec, kind)
        self._after: dict[State, list[tuple[str, State]]] = {}
        self.members: dict[int, list[State]] = {}
        for state, own in self.class_of.items():
            self.members.setdefault(own, []).append(state)
        actions: dict[str, None] = {}
        for source, action, target in spec.transitions:
            if source in self.class_of:
                self._after.setdefault(source, []).append((action, target))
                actions.setdefault(action)
        if not self.strong:
            actions.pop(INTERNAL, None)
        self.actions = tuple(actions)
        moves: dict[int, dict[str, list[int]]] = {}
        for source, action, target in self.small.transitions:
            moves.setdefault(int(source), {}).setdefault(action, []).append(int(target))
        self._moves = {own: {a: tuple(ends) for a, ends in found.items()} for own, found in moves.items()}

    @property
    def silent(self) -> bool:
        """Whether the specification has silent steps that count as silent."""
        return not self.strong and any(action == INTERNAL for _, action, _ in self.given.transitions)

    def moves(self, own: int) -> Moves:
        """Return where each action leads from a class."""
        return self._moves.get(own, {})

    def after(self, state: State) -> list[tuple[str, State]]:
        """Return the steps from a state of the specification, with silent ones before them, as (action, target)."""
        found, seen = [state], {state}
        for here in [] if self.strong else found:  # grows while the loop runs
            new = [end for action, end in self._after.get(here, ()) if action == INTERNAL and end not in seen]
            seen.update(new)
            found += new
        return [step for here in found for step in self._after.get(here, ())]

    def leads(self, own: int, action: str) -> tuple[int, ...]:
        """Return the classes that an action may lead to from a class; a silent action may also stay in the class."""
        ends = self.moves(own).get(action, ())
        return ends if action != INTERNAL or self.strong else (own, *(end for end in ends if end != own))

    def diverges(self, own: int) -> bool:
        """Return whether a class allows endless silent activity. Call it only if divergence counts."""
        return own in self.moves(own).get(INTERNAL, ())

    def near(self, own: int) -> list[int]:
        """Return the classes that silent steps lead to, the class itself first."""
        found, seen = [own], {own}
        if not self.strong:
            for here in found:  # grows while the loop runs
                new = [end for end in self.moves(here).get(INTERNAL, ()) if end not in seen]
                seen.update(new)
                found += new
        return found

    def allowed(self, own: int) -> list[str]:
        """Return the actions that are possible in a class, also after silent steps, in order."""
        found = {action for here in self.near(own) for action in self.moves(here)}
        return [action for action in self.actions if action in found]

    def named(self, own: int, name: State | None = None) -> State:
        """Return the name of a class: `name` if one of the class's states has it, else that of its first state."""
        members = self.members[own]
        return name if name is not None and name in members else members[0]

    def calls(self, name: State) -> int | None:
        """Return the class of the specification's state of that name; None if there is none. Numbers are no names."""
        return self.class_of.get(name) if isinstance(name, str) else None

    def is_misnamed(self, before: int, step: Transition, own: int) -> bool:
        """Return whether a model's step leads to a state with the name of a specified state that it cannot be.

        Args:
            before: The class of its source.
            step: The step.
            own: The class of its target.
        """
        called = self.calls(step.target)
        if called in (None, own) or called in self.leads(before, step.action):
            return False
        return tuple(step) not in self._steps  # else it is specified as it stands, and an earlier step is to blame

    def step(self, state: State, action: str, own: int, name: State | None = None) -> tuple[Transition, ...]:
        """Return transitions of the specification from a state, by an action, to a state of the class `own`.

        Silent steps inside the class may come first. For a silent step that stays in the class, nothing is returned.

        Args:
            state: A state of the specification.
            action: The action.
            own: The class that the action must lead to.
            name: The target to choose, if it is among the possible ones.
        """
        silently = action == INTERNAL and not self.strong
        if silently and self.class_of[state] == own:
            return ()
        before: dict[State, Transition | None] = {state: None}
        todo = [state]
        for here in todo:  # grows while the loop runs
            ends = [end for done, end in self._after.get(here, ()) if done == action and self.class_of[end] == own]
            if ends:
                last: Any = (here, action, name if name in ends else ends[0])
                return (*_way(before, here), Transition(*last))
            for done, end in self._after.get(here, ()):
                inert = done == INTERNAL and not self.strong and self.class_of[end] == self.class_of[here]
                if inert and end not in before:
                    lead: Any = (here, done, end)
                    before[end] = Transition(*lead)
                    todo.append(end)
        return ()

    def follow(self, steps: Iterable[tuple[Transition, int]]) -> tuple[tuple[Transition, ...], State]:
        """Return the specification's run that matches a run of a model, and the state in which it ends.

        Args:
            steps: The model's steps, each with the class after it.
        """
        state, run = self.given.initial_state, []
        for transition, own in steps:
            for taken in self.step(state, transition.action, own, transition.target):
                run.append(taken)
                state = taken.target
        return tuple(run), state


def _way(before: dict[State, Transition | None], state: State) -> list[Transition]:
    way: list[Transition] = []
    while (step := before[state]) is not None:
        way.append(step)
        state = step.source  # type: ignore[assignment]  # no step here is an initialisation
    return way[::-1]
