"""Labelled transition systems: states, actions, and transitions between states."""

from __future__ import annotations

from collections.abc import Iterable

from .. import formats
from .transition import INITIALISATION, State, Transition


class LTS:
    """A labelled transition system with one initial state.

    It is frozen, and compared by value (initial state and set of transitions).

    Args:
        initial_state: A `str` or `int`.
        transitions: Any iterable of triples (source, action, target); states are `str` or `int`, actions `str`.
            Duplicates count once; the order of first appearance is kept.

    Raises:
        TypeError: A state or action has another type; names the entry.
        ValueError: An entry is not a triple.
    """

    __slots__ = ("_initial_state", "_transitions")

    def __init__(self, initial_state: State, transitions: Iterable[tuple[State, str, State]]) -> None:
        _check_state(initial_state, "the initial state")
        self._initial_state = initial_state
        self._transitions = tuple(dict.fromkeys(_checked(transitions)))

    @property
    def initial_state(self) -> State:
        """The state in which every run starts."""
        return self._initial_state

    @property
    def transitions(self) -> tuple[tuple[State, str, State], ...]:
        """The transitions in order of first appearance, without duplicates."""
        return self._transitions

    def to_mermaid(self) -> str:
        """Return the system as a Mermaid state diagram."""
        return formats.mermaid_text.write(self._as_text())

    def to_dot(self) -> str:
        """Return the system as Graphviz dot text.

        Raises:
            ValueError: A name contains a lone surrogate.
        """
        return formats.dot_text.write("", self._as_text())

    def _as_text(self) -> list[Transition]:
        # The states 1 and "1" are different, so their texts must differ as well.
        states = {s for source, _, target in self._transitions for s in (source, target)} | {self._initial_state}
        texts = {state for state in states if isinstance(state, str)}
        names = {s: str(s) if isinstance(s, str) or str(s) not in texts else f"{s} (int)" for s in states}
        steps = [Transition(names[source], action, names[target]) for source, action, target in self._transitions]
        return [Transition(None, INITIALISATION, names[self._initial_state]), *steps]

    def to_show(self) -> tuple[str, list[Transition]]:
        """Return what a notebook shows: a title, and the transitions with the states' names as text."""
        return repr(self), self._as_text()

    def _repr_html_(self) -> str:
        return formats.notebook.html(*self.to_show())

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return formats.notebook.bundle(repr(self), *self.to_show())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LTS):
            return NotImplemented
        return self._initial_state == other._initial_state and set(self._transitions) == set(other._transitions)

    def __hash__(self) -> int:
        return hash((self._initial_state, frozenset(self._transitions)))

    def __repr__(self) -> str:
        return f"LTS({self._initial_state!r}, {len(self._transitions)} transitions)"


def _checked(transitions: Iterable[tuple[State, str, State]]) -> Iterable[tuple[State, str, State]]:
    for number, entry in enumerate(transitions):
        if isinstance(entry, str) or not isinstance(entry, (tuple, list)) or len(entry) != 3:
            raise ValueError(f"transition {number} must be a triple (source, action, target), got: {entry!r}")
        source, action, target = entry
        _check_state(source, f"the source of transition {number}")
        _check_state(target, f"the target of transition {number}")
        if not isinstance(action, str):
            raise TypeError(f"the action of transition {number} must be a str, got: {action!r}")
        yield source, action, target


def _check_state(state: object, what: str) -> None:
    if not isinstance(state, (str, int)) or isinstance(state, bool):
        raise TypeError(f"{what} must be a str or an int, got: {state!r}")
