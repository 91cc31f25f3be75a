"""Instances of specifications, and what was observed of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from ..errors import show
from .declaration import Declaration
from .specification import Specification, from_declaration, registered
from .transition import Transition

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TransitionRecord(NamedTuple):
    """One entry of a history: `action` led to `to_state` at `timestamp` (aware, UTC)."""

    action: str
    to_state: str
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class Deviation:
    """A transition that was observed though the model does not know it.

    `verdict` is the newest one; `accepted` says whether it counts in later judgements (still equivalent, and
    passed by the handler); `count`, `first_seen` and `last_seen` (aware, UTC) are over all its occurrences.
    """

    specification: str
    transition: Transition
    verdict: Any
    accepted: bool
    count: int
    first_seen: datetime
    last_seen: datetime


class Instance:
    """One thing that a specification speaks about, as it was when it was read.

    Args:
        specification: The class; or its name, together with `declaration` where the class may be unknown.
        identifier: The value it was initialised with.
        meta: A dict with `str` keys, or None.
        current_state: The state it is in, or None.
        history: `TransitionRecord` entries, oldest first.
        declaration: The stored form of the specification, used when no class of that name is registered.

    Frozen, and compared by value.
    """

    __slots__ = ("_declaration", "_specification", "current_state", "history", "identifier", "meta")
    _specification: str
    _declaration: Declaration | None
    identifier: Any
    meta: dict[str, Any] | None
    current_state: str | None
    history: tuple[TransitionRecord, ...]

    def __init__(
        self,
        *,
        specification: type[Specification] | str,
        identifier: Any,
        meta: dict[str, Any] | None = None,
        current_state: str | None = None,
        history: Iterable[TransitionRecord] = (),
        declaration: Declaration | None = None,
    ) -> None:
        write = object.__setattr__
        name = specification if isinstance(specification, str) else specification.name
        if not isinstance(specification, str):
            declaration = specification.declaration
        write(self, "_specification", name)
        write(self, "_declaration", declaration)
        write(self, "identifier", identifier)
        write(self, "meta", meta)
        write(self, "current_state", current_state)
        write(self, "history", tuple(history))

    @property
    def specification_name(self) -> str:
        """The name of the specification."""
        return str(self._specification)

    @property
    def specification(self) -> type[Specification]:
        """The class: the one registered by that name now, else one made from stored data."""
        cls = registered(self._specification)
        if cls is not None:
            return cls
        declaration = self._declaration or Declaration(name=self._specification)
        return from_declaration(declaration)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an Instance is frozen: cannot assign {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an Instance is frozen: cannot delete {name!r}")

    def _values(self) -> tuple[Any, ...]:
        return (self._specification, self.identifier, self.meta, self.current_state, self.history)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Instance):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash((self._specification, self.current_state, self.history))

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (*self._values(), self._declaration)

    def __repr__(self) -> str:
        return (
            f"Instance(specification={self._specification}, identifier={show(self.identifier)}, "
            f"current_state={self.current_state!r}, history={len(self.history)} entries)"
        )


def _make(
    name: str,
    identifier: Any,
    meta: dict[str, Any] | None,
    state: str | None,
    history: tuple[TransitionRecord, ...],
    declaration: Declaration | None,
) -> Instance:
    return Instance(
        specification=name,
        identifier=identifier,
        meta=meta,
        current_state=state,
        history=history,
        declaration=declaration,
    )


def to_datetime(microseconds: int) -> datetime:
    """Return the aware UTC time that lies `microseconds` after the epoch."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_microseconds(moment: datetime) -> int:
    """Return the microseconds between the epoch and an aware `moment`."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
