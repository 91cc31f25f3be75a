"""The values of Spex on the wire and in rows. Importing this module registers them with the runtime's codec."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Self

from ..domain.declaration import Declaration
from ..domain.instance import Instance, TransitionRecord, to_datetime, to_microseconds
from ..domain.specification import SpecificationMeta, is_specification, reduce_class, registered
from ..domain.transition import Transition
from ..runtime.protocol import codec, shipping
from ..runtime.protocol.records import register_value
from ..runtime.protocol.reference import Reference

__all__ = [
    "LATEST", "Item", "PlainDeviation", "PlainInstance", "PlainModel", "Reference", "instance_of", "instance_plain",
    "record_of",
]  # fmt: skip
SPECIFICATION: Final = 6
_INSTANCE, _TRANSITION, _RECORD = codec.FIRST_FREE, codec.FIRST_FREE + 2, codec.FIRST_FREE + 3
LATEST: Final = (1 << 62) - 1
"""The latest time and the longest timeout, in microseconds (some 146,000 years); a later time is replaced by it."""


class PlainInstance(NamedTuple):
    """An instance as it is sent: identifier and meta encoded, the history as (microseconds, action, state)."""

    specification: str
    identifier: bytes
    meta: bytes | None
    state: str | None
    history: list[Any]


class Item(NamedTuple):
    """An instance as a shard returns it: its number there, the length of its history, and the newest entries."""

    number: int
    seq: int
    instance: PlainInstance

    @classmethod
    def of(cls, plain: Any) -> Self:
        """Return the item of a shard's plain answer."""
        number, seq, instance = plain
        return cls(number, seq, PlainInstance._make(instance))


class PlainModel(NamedTuple):
    """An implementation model as it is sent."""

    specification: str
    transitions: list[Any]
    learning: bool


class PlainDeviation(NamedTuple):
    """A deviation as it is sent, with encoded times."""

    specification: str
    transition: Any
    verdict: str
    accepted: bool
    times: int
    first_seen: bytes
    last_seen: bytes


def instance_plain(instance: Instance) -> PlainInstance:
    """Return an instance's plain form."""
    return PlainInstance(
        instance.specification_name,
        codec.canonical(instance.identifier),
        codec.encode_meta(instance.meta),
        instance.current_state,
        [[to_microseconds(entry.timestamp), entry.action, entry.to_state] for entry in instance.history],
    )


def instance_of(plain: Any, declaration: Declaration | None = None) -> Instance:
    """Return the instance of a plain form.

    Args:
        plain: The plain form.
        declaration: The stored declaration of its specification, if the class may be unknown.

    Raises:
        ValueError: The form is malformed.
    """
    try:
        name, identifier, meta, state, history = plain
        return Instance(
            specification=name,
            identifier=codec.identifier_of(identifier),
            meta=None if meta is None else codec.decode(meta),
            current_state=state,
            history=[record_of(entry) for entry in history],
            declaration=declaration,
        )
    except (TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"a malformed instance: {error}") from None


def record_of(entry: Any) -> TransitionRecord:
    """Return the history entry of a plain form (microseconds, action, state)."""
    microseconds, action, state = entry
    return TransitionRecord(action, state, to_datetime(microseconds))


def _record_plain(record: TransitionRecord) -> list[Any]:
    return [to_microseconds(record.timestamp), record.action, record.to_state]


def _name_of(value: Any) -> str | None:
    return value.name if is_specification(value) else None


register_value(_INSTANCE, Instance, instance_plain, instance_of)
register_value(_TRANSITION, Transition, list, Transition._make)
register_value(_RECORD, TransitionRecord, _record_plain, record_of)
codec.register_named(SPECIFICATION, "specification", _name_of, registered)
shipping.register_class(SpecificationMeta, reduce_class)
