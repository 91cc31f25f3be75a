"""The declaration of a specification: reading it, checking it, and the values derived from it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Final

from ..errors import SpecificationError, show
from .lts import LTS
from .names import among, as_name
from .run_property import RunProperty
from .transition import INITIALISATION, Transition

MAX_NAME_BYTES: Final = 200
MODES: Final = ("off", "observe", "warn", "enforce")
JUDGES: Final = ("model", "run", "both")
EQUIVALENCES: Final = ("branching", "divergence_preserving_branching", "strong")


class Prunable(Enum):
    """A group of states in which an idle instance may be pruned, instead of a list of states."""

    TERMINAL = "terminal"
    ALL = "all"


TERMINAL: Final = Prunable.TERMINAL
"""The terminal states of the specification."""
ALL: Final = Prunable.ALL
"""Every state."""

PrunableStates = Prunable | tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """A specification as data: this is stored, sent to shards, and compared to detect changes.

    `transitions` are in order of first appearance, without duplicates. `initial_state` is None exactly if there are no
    transitions.
    """

    name: str
    transitions: tuple[Transition, ...] = ()
    initial_state: str | None = None
    transition_timeout: timedelta | None = None
    prune_timeout: timedelta | None = None
    prunable_states: PrunableStates = ()
    equivalence: str = "branching"
    judge: str = "model"
    properties: tuple[RunProperty, ...] = ()

    @property
    def states(self) -> tuple[str, ...]:
        """All states, in order of first appearance."""
        return tuple(dict.fromkeys(s for t in self.transitions for s in (str(t.source), t.target)))

    @property
    def actions(self) -> tuple[str, ...]:
        """All actions, in order of first appearance."""
        return tuple(dict.fromkeys(t.action for t in self.transitions))

    @property
    def terminal_states(self) -> tuple[str, ...]:
        """The states that are not the source of any transition."""
        sources = {t.source for t in self.transitions}
        return tuple(s for s in self.states if s not in sources)

    @property
    def lts(self) -> LTS | None:
        """The labelled transition system, or None if there are no transitions."""
        if self.initial_state is None:
            return None
        return LTS(self.initial_state, ((str(t.source), t.action, t.target) for t in self.transitions))


def declare(
    name: object,
    transitions: object = (),
    initial_state: object = None,
    *,
    transition_timeout: object = None,
    prune_timeout: object = None,
    prunable_states: object = (),
    equivalence: object = "branching",
    judge: object = "model",
    properties: object = (),
) -> Declaration:
    """Return the declaration for values as a user writes them.

    Raises:
        SpecificationError: A value is malformed; the text names the entry or option, the rule and the value.
    """
    read_name = _name(name)
    entries = _transitions(read_name, transitions)
    return Declaration(
        name=read_name,
        transitions=entries,
        initial_state=_initial_state(read_name, entries, initial_state),
        transition_timeout=_timeout(read_name, "transition_timeout", transition_timeout),
        prune_timeout=_timeout(read_name, "prune_timeout", prune_timeout),
        prunable_states=_prunable(read_name, prunable_states),
        equivalence=_one_of(read_name, "equivalence", equivalence, EQUIVALENCES),
        judge=_one_of(read_name, "judge", judge, JUDGES),
        properties=_properties(read_name, properties),
    )


def mode_of(name: str, value: object) -> str | None:
    """Return a specification's own mode, or None if it leaves that to the manager.

    Raises:
        SpecificationError: It is none of `MODES`.
    """
    return None if value is None else _one_of(name, "mode", value, MODES)


def _name(name: object) -> str:
    rule = f"must be a str of 1 to {MAX_NAME_BYTES} bytes, printable, without '/' and without a leading dot"
    if not isinstance(name, str):
        raise SpecificationError(f"the name of a specification {rule}, got: {name!r}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= MAX_NAME_BYTES or not name.isprintable() or "/" in name or name.startswith("."):
        raise SpecificationError(f"the name of a specification {rule}, got: {name!r}")
    return name


def _transitions(name: str, entries: object) -> tuple[Transition, ...]:
    if isinstance(entries, (str, bytes, Mapping)) or not isinstance(entries, Iterable):
        rule = "transitions must be a list or other collection of entries (source, action, target)"
        raise SpecificationError(f"{name}: {rule}, got: {show(entries)}")
    if isinstance(entries, (tuple, list)) and len(entries) == 3 and all(as_name(part) is not None for part in entries):
        raise SpecificationError(f"{name}: transitions must be a list of entries: put {entries!r} into a list")
    read = (_entry(name, number, entry) for number, entry in enumerate(entries, 1))
    return tuple(dict.fromkeys(read))


def _entry(name: str, number: int, entry: object) -> Transition:
    if not isinstance(entry, (list, tuple)) or len(entry) != 3:
        rule = "must be a list or tuple of three (source, action, target)"
        raise SpecificationError(f"{name}: transition entry {number} {rule}, got: {entry!r}")
    source, action, target = (as_name(part) for part in entry)
    if source is None or action is None or target is None:
        rule = "must consist of str or str-valued Enum members"
        raise SpecificationError(f"{name}: transition entry {number} {rule}, got: {entry!r}")
    if action == INITIALISATION:
        raise SpecificationError(
            f"{name}: transition entry {number} must not use the reserved action {INITIALISATION!r}, got: {entry!r}"
        )
    try:
        (source + action + target).encode()
    except UnicodeEncodeError:
        raise SpecificationError(
            f"{name}: transition entry {number} must not contain lone surrogates, got: {entry!r}"
        ) from None
    return Transition(source, action, target)


def _initial_state(name: str, entries: tuple[Transition, ...], given: object) -> str | None:
    if given is None:
        return entries[0].source if entries else None
    state = as_name(given)
    rule = f"{name}: initial_state must be one of the states, got: {given!r}"
    if not entries:
        raise SpecificationError(f"{rule}; there are none: declare transitions")
    if state is None or not any(state in (t.source, t.target) for t in entries):
        states = dict.fromkeys(s for t in entries for s in (str(t.source), t.target))
        raise SpecificationError(f"{rule}; the states are {among(states, state or '')}")
    return state


def _timeout(name: str, option: str, value: object) -> timedelta | None:
    if value is None:
        return None
    rule = f"{name}: {option} must be a timedelta or a number of seconds, above 0, or None (never), got: {value!r}"
    if isinstance(value, bool) or not isinstance(value, (int, float, timedelta)):
        raise SpecificationError(rule)
    try:
        timeout = value if isinstance(value, timedelta) else timedelta(seconds=value)
    except (OverflowError, ValueError):
        raise SpecificationError(rule) from None
    if timeout <= timedelta(0):
        raise SpecificationError(rule)
    return timeout


def _prunable(name: str, value: object) -> PrunableStates:
    if isinstance(value, Prunable):
        return value
    rule = f"{name}: prunable_states must be TERMINAL, ALL or a collection of states, got: {value!r}"
    if isinstance(value, (str, bytes)) or not isinstance(value, Collection):
        raise SpecificationError(rule)
    states = [as_name(state) for state in value]
    if None in states:
        raise SpecificationError(rule)
    return tuple(dict.fromkeys(str(state) for state in states))


def _one_of(name: str, option: str, value: object, choices: tuple[str, ...]) -> str:
    chosen = as_name(value)
    if chosen not in choices:
        raise SpecificationError(f"{name}: {option} must be one of {', '.join(choices)}, got: {value!r}")
    return chosen


def _properties(name: str, value: object) -> tuple[RunProperty, ...]:
    rule = f"{name}: properties must be a collection of properties, as spex_shards.properties makes them"
    if isinstance(value, (str, bytes)) or not isinstance(value, Collection):
        raise SpecificationError(f"{rule}, got: {value!r}")
    for one in value:
        if not isinstance(one, RunProperty):
            raise SpecificationError(f"{rule}, got: {one!r}")
    return tuple(dict.fromkeys(value))
