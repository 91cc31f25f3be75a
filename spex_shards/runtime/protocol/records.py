"""One versioned form, for disk and wire, of everything that is stored or sent.

A row is ``msgpack([...]) + 4-byte checksum`` (xxh32 of the payload). Rows of a kind that may change carry a version
as their first entry. Reading checks the checksum, the version and the shape; it never imports or executes anything.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple

import xxhash

from ...domain.declaration import Declaration, Prunable, declare
from ...domain.instance import Instance, TransitionRecord, to_datetime, to_microseconds
from ...domain.transition import Transition
from ...errors import CLASS_BY_CODE, RemoteTraceback, SpexError, StoreError, code_of, encodable, rebuild, show
from ..system.turns import times_running
from . import codec

SPECIFICATION_VERSION: Final = 1
INSTANCE_VERSION: Final = 1
_INSTANCE, _ERROR, _TRANSITION, _RECORD = range(codec.FIRST_FREE, codec.FIRST_FREE + 4)
LATEST: Final = (1 << 62) - 1
"""The latest time and the longest timeout, in microseconds: some 146,000 years. What is later counts as this."""
MOST_NESTED_ERRORS: Final = 3
"""So deep may errors lie in the contexts of errors."""
_US: Final = timedelta(microseconds=1)


class _Nesting(threading.local):
    depth = 0


_nesting = _Nesting()


def seal(value: Any) -> bytes:
    """Return the row of a plain value."""
    payload = codec.pack(value)
    return payload + xxhash.xxh32_digest(payload)


def seal_flat(value: Any) -> bytes:
    """Return the row of a plain value without dicts in it, faster."""
    payload = codec.pack_flat(value)
    return payload + xxhash.xxh32_digest(payload)


def unseal(row: bytes, what: str) -> Any:
    """Return the plain value of a row.

    Raises:
        StoreError: The row is damaged; names `what` it is.
    """
    payload = row[:-4]
    if xxhash.xxh32_digest(payload) != row[-4:]:
        raise StoreError(f"a damaged row: the checksum of {what} does not match", row=what)
    try:
        return codec.unpack(payload)
    except ValueError as error:
        raise StoreError(f"a damaged row: {what}: {error}", row=what) from None


class InstanceRow(NamedTuple):
    """The small row that each transition of an instance rewrites; its history and meta lie elsewhere.

    `number` names the instance's history and is never used twice; `seq` is the number of entries; `last` the
    newest entry's time; `deadline` and `prune` the due times that stand in the indexes, or None; `reported` whether
    the newest entry's timeout was reported; `identifier` the canonical bytes where the key is a digest.
    Times are microseconds since the epoch.
    """

    version: int
    specification: int
    number: int
    seq: int
    last: int
    deadline: int | None
    prune: int | None
    reported: bool
    state: str | None
    identifier: bytes | None


def instance_row(row: bytes) -> InstanceRow:
    """Read an instance's row."""
    values = unseal(row, "an instance")
    if type(values) is not list or len(values) != 10 or values[0] != INSTANCE_VERSION:
        raise StoreError("a damaged row: an instance of an unknown form", row="an instance")
    return InstanceRow._make(values)


class HandlerReference(NamedTuple):
    """Where a specification's own handler is: `kind` is "default", "import" (`module:qualname`) or "shipped".

    A shipped handler cannot be imported by name (``__main__``, a notebook); its bytes are sent, never stored.
    """

    kind: str = "default"
    module: str = ""
    qualname: str = ""


@dataclass(frozen=True, slots=True)
class StoredSpecification:
    """A specification as a shard knows it: its declaration and where its handler is."""

    declaration: Declaration
    handler: HandlerReference

    def plain(self) -> list[Any]:
        """Return the plain form, for a row or a frame."""
        d = self.declaration
        prunable = d.prunable_states
        return [
            SPECIFICATION_VERSION,
            d.name,
            [list(t) for t in d.transitions],
            d.initial_state,
            _microseconds(d.transition_timeout),
            _microseconds(d.prune_timeout),
            prunable.value if isinstance(prunable, Prunable) else list(prunable),
            d.equivalence,
            list(self.handler),
        ]

    @classmethod
    def of(cls, plain: Any) -> StoredSpecification:
        """Read the plain form.

        Raises:
            ValueError: It is none.
        """
        try:
            return cls._of(plain)
        except ValueError:
            raise
        except (TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"a malformed specification: {error}") from None

    @classmethod
    def _of(cls, plain: Any) -> StoredSpecification:
        version, name, transitions, initial, transition_us, prune_us, prunable, equivalence, handler = plain
        if version != SPECIFICATION_VERSION:
            raise ValueError(f"a specification of an unknown form: {version!r}")
        if len(handler) != 3 or not all(isinstance(part, str) for part in handler):
            raise ValueError(f"a malformed handler reference: {handler!r}")
        declaration = declare(
            name,
            transitions,
            initial,
            transition_timeout=None if transition_us is None else transition_us * _US,
            prune_timeout=None if prune_us is None else prune_us * _US,
            prunable_states=Prunable(prunable) if isinstance(prunable, str) else prunable,
            equivalence=equivalence,
        )
        return cls(declaration, HandlerReference._make(handler))

    def digest(self) -> bytes:
        """Return 16 bytes that change with anything in it."""
        return xxhash.xxh3_128_digest(codec.pack(self.plain()))


def _microseconds(timeout: timedelta | None) -> int | None:
    return None if timeout is None else min(timeout // _US, LATEST)


def lts_digest(declaration: Declaration) -> bytes:
    """Return 16 bytes that change with what is judged: transitions, initial state, equivalence."""
    judged = [sorted(map(list, declaration.transitions)), declaration.initial_state, declaration.equivalence]
    return xxhash.xxh3_128_digest(codec.pack(judged))


def encode_value(value: Any) -> bytes:
    """Return the bytes of a message or context: identifiers' types, and the library's own values and errors."""
    return codec.encode(value, _extra)


def decode_value(data: bytes) -> Any:
    """Return what `encode_value` was given."""
    return codec.decode(data, _read_extra)


def error_plain(error: SpexError) -> list[Any]:
    """Return an error's plain form: code, text, context, and the text of what caused it.

    A context entry that cannot be sent is replaced by its `repr`; a user's subclass is named by ``class``. Whatever a
    user's error does, its form can be packed.
    """
    context = _context_plain(error)
    code = code_of(type(error))
    if CLASS_BY_CODE[code] is not type(error):
        context["class"] = encode_value(f"{type(error).__module__}.{type(error).__qualname__}")
    cause = error.__cause__
    text = cause.text if isinstance(cause, RemoteTraceback) else None if cause is None else show(cause)
    return [code, _text_of(error), context, None if text is None else encodable(text)]


def _text_of(error: SpexError) -> str:
    try:
        return encodable(str(error))
    except Exception:
        return show(error)


def _context_plain(error: SpexError) -> dict[str, bytes]:
    # An error may hold errors, and in the end itself: those that lie deep are sent without a context.
    if _nesting.depth >= MOST_NESTED_ERRORS:
        _nesting.depth = times_running(_context_plain) - 1
    if not isinstance(error.context, dict) or _nesting.depth >= MOST_NESTED_ERRORS:
        return {}
    _nesting.depth += 1
    try:
        return {
            encodable(key) if type(key) is str else show(key): _sendable(value) for key, value in error.context.items()
        }
    finally:
        _nesting.depth -= 1


def error_of(plain: Any) -> SpexError:
    """Make the error of a plain form.

    Raises:
        ValueError: It is none.
    """
    try:
        code, text, context, cause = plain
        cls = CLASS_BY_CODE.get(code)
        if cls is None:
            raise ValueError(f"an error of an unknown code: {show(code)}")
        if type(text) is not str or type(cause) not in (str, type(None)):
            raise ValueError(f"an error of an unknown form: {show(plain)}")
        return rebuild(cls, text, {key: decode_value(value) for key, value in context.items()}, cause)
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"a malformed error: {error}") from None


def _sendable(value: Any) -> bytes:
    try:
        return encode_value(value)
    except Exception:
        return encode_value(show(value))


def _extra(value: Any) -> Any:
    kind = type(value)
    if kind is Transition:
        return codec.extension(_TRANSITION, codec.pack(list(value)))
    if kind is TransitionRecord:
        return codec.extension(_RECORD, codec.pack([to_microseconds(value.timestamp), value.action, value.to_state]))
    if kind is Instance:
        return codec.extension(_INSTANCE, codec.pack(instance_plain(value)))
    if isinstance(value, SpexError):
        return codec.extension(_ERROR, codec.pack(error_plain(value)))
    raise TypeError(f"a value of type {kind.__module__}.{kind.__qualname__} cannot be sent, got: {value!r}")


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


def _read_extra(code: int, payload: bytes) -> Any:
    plain = codec.unpack(payload)
    if code == _TRANSITION:
        return Transition._make(plain)
    if code == _RECORD:
        return record_of(plain)
    if code == _INSTANCE:
        return instance_of(plain)
    if code == _ERROR:
        return error_of(plain)
    raise ValueError(f"malformed bytes: unknown extension type {code}")
