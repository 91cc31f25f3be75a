"""Instances of specifications, and the transitions observed of them."""

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
    """A transition that was observed although the model does not have it.

    Attributes:
        specification: Name of the specification.
        transition: The transition.
        verdict: The newest verdict about it.
        accepted: Whether it counts as part of the model in later judgements. That is so if the model was still
            equivalent with it and the handler accepted it.
        count: How often it was observed.
        first_seen: When it was first observed (aware, UTC).
        last_seen: When it was last observed (aware, UTC).
    """

    specification: str
    transition: Transition
    verdict: Any
    accepted: bool
    count: int
    first_seen: datetime
    last_seen: datetime


class Instance:
    """One instance of a specification, in the state that it had when it was read.

    It is frozen, and compared by value.

    Args:
        specification: The class; or its name, together with `declaration` if the class may be unknown in this process.
        identifier: The value that it was initialised with.
        meta: A dict with `str` keys, or None.
        current_state: Its state, or None.
        history: `TransitionRecord` entries, oldest first.
        declaration: The stored form of the specification, used if no class of that name is registered.
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
        """The class: the registered one of that name, or else one made from the stored declaration."""
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
    """Return the aware UTC time `microseconds` after the epoch."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_microseconds(moment: datetime) -> int:
    """Return the microseconds from the epoch to an aware time."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
