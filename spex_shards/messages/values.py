"""The values of Spex on the wire and in rows: what the runtime must be told to send them.

Importing this module tells it.
"""

from __future__ import annotations

from typing import Any, Final

from ..domain.declaration import Declaration
from ..domain.instance import Instance, TransitionRecord, to_datetime, to_microseconds
from ..domain.specification import SpecificationMeta, is_specification, reduce_class, registered
from ..domain.transition import Transition
from ..runtime.protocol import codec, shipping
from ..runtime.protocol.codec import Reference
from ..runtime.protocol.records import register_value

__all__ = ["LATEST", "Reference", "instance_of", "instance_plain", "record_of"]
SPECIFICATION: Final = 6
_INSTANCE, _TRANSITION, _RECORD = codec.FIRST_FREE, codec.FIRST_FREE + 2, codec.FIRST_FREE + 3
LATEST: Final = (1 << 62) - 1
"""The latest time and the longest timeout, in microseconds: some 146,000 years. What is later counts as this."""


def instance_plain(instance: Instance) -> list[Any]:
    """Return an instance's plain form."""
    history = [[to_microseconds(entry.timestamp), entry.action, entry.to_state] for entry in instance.history]
    return [
        instance.specification_name,
        codec.canonical(instance.identifier),
        codec.encode_meta(instance.meta),
        instance.current_state,
        history,
    ]


def instance_of(plain: Any, declaration: Declaration | None = None) -> Instance:
    """Make the instance of a plain form.

    Raises:
        ValueError: It is none.
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
    """Make a history entry of its plain form, (microseconds, action, state)."""
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
