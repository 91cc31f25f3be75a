"""Encodes values as bytes, and decodes them. The only module that imports msgpack.

There are three forms, all msgpack with the extension types below:

* **canonical** — identifiers. Equal identifiers, and only they, have equal bytes, which are the key on disk and what is
  routed by. Lists and tuples count as equal and come back as tuples; the order of a dict does not count.
* **value** — `meta`, messages and errors' contexts. Lists come back as lists, tuples as tuples; NaN is allowed.
* **plain** — the package's own rows and frames: None, bool, int, float, str, bytes, lists and dicts only.

Decoding never imports anything. An Enum member, or an object that is registered under a name, comes back as that object
if it is loaded in this process, and as a `Reference` otherwise. Timestamps of msgpack are read as floats.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Context, Decimal, InvalidOperation
from enum import Enum
from functools import partial
from math import isnan
from typing import Any, Final, NamedTuple, NoReturn
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgpack

from ...errors import show
from ..system.nesting import Nesting, TooDeep
from ..system.per_thread import PerThread
from ..system.turns import interruption
from .reference import PATH_LENGTHS, Reference

MAX_CANONICAL_BYTES: Final = 64 * 1024
MAX_NESTING: Final = 32
ALLOWED: Final = "None, bool, int, float, str, bytes, tuple, list, dict, UUID, datetime, Decimal and Enum members"
_DEEPEST: Final = 6 * MAX_NESTING
"""The limit when reading. It is higher, because errors and instances inside a value start a nesting of their own."""

_SHALLOW: Final = 8

BIG_INT, UUID_, DATETIME, DECIMAL, ENUM, TUPLE, DICT = 1, 2, 3, 4, 5, 7, 8
FIRST_FREE: Final = 16
"""Extension types from here on belong to `records`."""

_INT_MIN, _INT_MAX = -(1 << 63), (1 << 64) - 1
_PLAIN: Final = frozenset({str, int, bytes, bool, type(None)})
_Ext = msgpack.ExtType
_DECIMALS: Final = Context(capitals=1)  # a fixed context: the result of `str` depends on the thread's own context

pack: Callable[[Any], bytes] = msgpack.packb
"""Pack a plain value."""
_unpackb: Callable[..., Any] = partial(msgpack.unpackb, raw=False, strict_map_key=False, timestamp=1)


def _no_extension(code: int, _payload: bytes) -> Any:
    raise ValueError(f"malformed bytes: extension type {code} has no place here")


_unpack_plain: Callable[..., Any] = partial(_unpackb, use_list=True, ext_hook=_no_extension)


def packer() -> Callable[[Any], bytes]:
    """Return a function that does what `pack` does, a third faster, because it reuses its memory.

    It must not be entered twice at the same time, and not be used again after it has raised an exception: when memory
    runs out, it keeps the bytes packed so far, and would return them the next time.
    """
    return msgpack.Packer(autoreset=True, use_bin_type=True).pack  # type: ignore[no-any-return]


_packers: Final = PerThread(packer)


def pack_flat(value: Any) -> bytes:
    """Pack a plain value without dicts in it; half a microsecond faster than `pack`.

    It reuses one packer per thread, which must not be entered twice: packing a dict allocates, and so may start a
    garbage collection and a finaliser that packs as well. Lists, tuples and scalars allocate nothing.
    """
    try:
        return _packers.value(value)
    except BaseException:
        _packers.renew()
        raise


def unpack(data: bytes | bytearray | memoryview) -> Any:
    """Unpack a plain value; lists come back as lists. Nothing is ever executed or imported.

    Raises:
        ValueError: The bytes are not a plain value.
    """
    try:
        return _unpack_plain(data)
    except Exception as error:
        _refuse(error)


class _Named(NamedTuple):
    kind: str
    name_of: Callable[[Any], str | None]
    find: Callable[[str], Any]


_named: dict[int, _Named] = {}
_code_of_kind = {"enum": ENUM}


def register_named(code: int, kind: str, name_of: Callable[[Any], str | None], find: Callable[[str], Any]) -> None:
    """Allow objects of a kind in identifiers and values; they are encoded by their names.

    Args:
        code: The extension type, below `FIRST_FREE`; it must never change.
        kind: The kind of the `Reference` that stands for an object which is not loaded.
        name_of: Returns the name of an object of that kind, and None for all other objects.
        find: Returns the object of a name, or None if it is not loaded.
    """
    _named[code] = _Named(kind, name_of, find)
    _code_of_kind[kind], PATH_LENGTHS[kind] = code, 1
    _READERS[code] = partial(_read_named, kind, find)


def canonical(identifier: Any) -> bytes:
    """Return the canonical bytes of an identifier.

    Raises:
        TypeError: A part has a type that identifiers must not have (subclasses and NaN included).
        ValueError: Lone surrogates, nesting over 32, or more than 64 KiB.
    """
    kind = type(identifier)
    try:
        if kind in _PLAIN or (kind is tuple and _PLAIN.issuperset(map(type, identifier))):
            data = pack_flat(identifier)
        else:
            data = pack(_canonical_form(identifier, 0))
    except OverflowError:
        data = pack(_canonical_form(identifier, 0))
    except UnicodeEncodeError:
        raise ValueError(f"an identifier must not contain lone surrogates, got: {show(identifier)}") from None
    if len(data) > MAX_CANONICAL_BYTES:
        raise ValueError(
            f"the canonical form of an identifier must have at most {MAX_CANONICAL_BYTES} bytes, got: {len(data)}"
        )
    return data


def identifier_of(data: bytes) -> Any:
    """Return the identifier that canonical bytes stand for.

    Raises:
        ValueError: The bytes are malformed.
    """
    return _load(data, _canonical_hook, use_list=False)


def encode(value: Any, extra: Callable[[Any], Any] | None = None) -> bytes:
    """Return the bytes of a value (`meta`, a message, a context).

    Args:
        value: The value.
        extra: Called with a part of any other type; returns the result of `extension`, or raises TypeError.

    Raises:
        TypeError: A part has a type that cannot be encoded.
        ValueError: Lone surrogates, or nesting over 32.
    """
    try:
        return pack(_value_form(value, 0, extra))
    except UnicodeEncodeError:
        raise ValueError("a value must not contain lone surrogates") from None


def decode(data: bytes, extra: Callable[[int, bytes], Any] | None = None) -> Any:
    """Return the value that `encode` made the bytes from; `extra` reads extension types from `FIRST_FREE` on."""
    return _load(data, _ValueHook(extra), use_list=True)


class _ValueHook:
    """Reads the extension types of the value form. It is not a nested function, which would be garbage in a cycle."""

    __slots__ = ("_extra",)

    def __init__(self, extra: Callable[[int, bytes], Any] | None) -> None:
        self._extra = extra

    def __call__(self, code: int, payload: bytes) -> Any:
        """Return the value of an extension type."""
        if code >= FIRST_FREE and self._extra is not None:
            return self._extra(code, payload)
        if code == TUPLE:
            return tuple(_load(payload, self, use_list=True))
        if code == DICT:
            return dict(_load(payload, self, use_list=True))
        return _scalar(code, payload)


def encode_meta(meta: object) -> bytes | None:
    """Return the bytes of an instance's `meta`, which must be None or a dict with `str` keys.

    Raises:
        TypeError: `meta` is something else, or a part has a type that identifiers must not have.
        ValueError: Lone surrogates, or nesting over 32.
    """
    if meta is None:
        return None
    if type(meta) is not dict or not all(type(key) is str for key in meta):
        raise TypeError(f"meta must be None or a dict with str keys, got: {show(meta)}")
    return encode(meta)


def extension(code: int, payload: bytes) -> Any:
    """Return an extension value, for the `extra` of `encode`."""
    return _Ext(code, payload)


_nesting: Final = Nesting(_DEEPEST + 1)


def _load(data: bytes, hook: Callable[[int, bytes], Any], *, use_list: bool) -> Any:
    # Nested extension types call this function again through C code: without a limit they would exhaust the C stack.
    try:
        return _nesting.run(_unpacked, data, hook, use_list, _unpackb if _nesting.depth < _SHALLOW else _on_heap)
    except TooDeep:
        raise ValueError("malformed bytes: nested too deeply") from None


def _unpacked(data: bytes, hook: Callable[[int, bytes], Any], use_list: bool, unpackb: Callable[..., Any]) -> Any:
    try:
        return unpackb(data, use_list=use_list, ext_hook=hook)
    except Exception as error:
        _refuse(error)


def _refuse(error: Exception) -> NoReturn:
    if isinstance(error, (ValueError, MemoryError)) or interruption(error) is not None:
        raise error
    raise ValueError(f"malformed bytes: {error}") from error


def _on_heap(data: bytes, *, use_list: bool, ext_hook: Callable[[int, bytes], Any]) -> Any:
    # `unpackb` needs 40 KiB of the C stack, which has 8 MiB at most; an unpacker has them on the heap, and is slower.
    unpacker = msgpack.Unpacker(
        use_list=use_list, ext_hook=ext_hook, raw=False, strict_map_key=False, timestamp=1, max_buffer_size=len(data)
    )
    unpacker.feed(data)
    value = unpacker.unpack()
    if unpacker.tell() != len(data):
        raise ValueError("malformed bytes: something follows the value")
    return value


def _canonical_form(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind in (tuple, list):
        _check_depth(depth, "an identifier")
        return [_canonical_form(part, depth + 1) for part in value]
    if kind is dict:
        _check_depth(depth, "an identifier")
        pairs = [(_canonical_form(k, depth + 1), _canonical_form(v, depth + 1)) for k, v in value.items()]
        return _Ext(DICT, pack(sorted(pairs, key=lambda pair: pack(pair[0]))))
    if (kind is float and isnan(value)) or (kind is Decimal and value.is_nan()):
        raise TypeError(f"an identifier must not contain NaN, got: {kind.__name__} {value}")
    return _scalar_form(value, "an identifier", None)


def _canonical_hook(code: int, payload: bytes) -> Any:
    if code == DICT:
        return dict(_load(payload, _canonical_hook, use_list=False))
    if code == TUPLE:
        raise ValueError("malformed identifier: it has a part of the value form")
    return _scalar(code, payload)


def _value_form(value: Any, depth: int, extra: Callable[[Any], Any] | None) -> Any:
    kind = type(value)
    if kind is list:
        _check_depth(depth, "a value")
        return [_value_form(part, depth + 1, extra) for part in value]
    if kind is tuple:
        _check_depth(depth, "a value")
        return _Ext(TUPLE, pack([_value_form(part, depth + 1, extra) for part in value]))
    if kind is dict:
        _check_depth(depth, "a value")
        if all(type(key) is str for key in value):
            return {key: _value_form(part, depth + 1, extra) for key, part in value.items()}
        pairs = [(_value_form(k, depth + 1, extra), _value_form(v, depth + 1, extra)) for k, v in value.items()]
        return _Ext(DICT, pack(pairs))
    return _scalar_form(value, "a value", extra)


def _check_depth(depth: int, what: str) -> None:
    if depth >= MAX_NESTING:
        raise ValueError(f"{what} must not be nested deeper than {MAX_NESTING}")


def _scalar_form(value: Any, what: str, extra: Callable[[Any], Any] | None) -> Any:
    kind = type(value)
    if kind is int:
        if not _INT_MIN <= value <= _INT_MAX:
            return _Ext(BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
        return value
    if kind in _PLAIN or kind is float:
        return value
    if kind is UUID:
        return _Ext(UUID_, value.bytes)
    if kind is datetime:
        return _Ext(DATETIME, _datetime_payload(value, what))
    if kind is Decimal:
        return _Ext(DECIMAL, _DECIMALS.to_sci_string(value).encode())
    if kind is Reference:
        return _Ext(_code_of_kind[value.kind], pack(value.path))
    if isinstance(value, Enum):
        return _Ext(ENUM, pack(_enum_path(value)))
    for code, named in _named.items():
        name = named.name_of(value)
        if name is not None:
            return _Ext(code, pack((name,)))
    if extra is not None:
        return extra(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    raise TypeError(f"{what} must not contain a value of type {name}, got: {show(value)}; allowed are {ALLOWED}")


def _enum_path(member: Enum) -> tuple[str, str, str]:
    cls = type(member)
    if cls.__members__.get(member.name) is not member:
        raise TypeError(f"a combination of flags has no name of its own, got: {member!r}")
    return cls.__module__, cls.__qualname__, member.name


def _datetime_payload(value: datetime, what: str) -> bytes:
    zone = value.tzinfo
    naive = value.replace(tzinfo=None, fold=0).isoformat()
    if zone is None:
        return pack([naive, value.fold, None, None])
    key = zone.key if type(zone) is ZoneInfo else None
    if type(zone) is not timezone and key is None:
        raise TypeError(f"{what} must not contain a datetime whose tzinfo is a {type(zone).__name__}, got: {value!r}")
    offset = value.utcoffset() or timedelta(0)
    return pack([naive, value.fold, offset // timedelta(microseconds=1), key])


def _scalar(code: int, payload: bytes) -> Any:
    try:
        return _READERS[code](payload)
    except KeyError:
        raise ValueError(f"malformed bytes: unknown extension type {code}") from None
    except (ValueError, TypeError, InvalidOperation, OverflowError) as error:
        raise ValueError(f"malformed bytes in extension type {code}: {error}") from None


def _read_datetime(payload: bytes) -> datetime:
    naive, fold, offset, key = unpack(payload)
    moment = datetime.fromisoformat(naive).replace(fold=fold)
    if key is not None:
        try:
            return moment.replace(tzinfo=ZoneInfo(key))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            key = None
    return moment if offset is None else moment.replace(tzinfo=timezone(timedelta(microseconds=offset)))


def _read_enum(payload: bytes) -> Any:
    path = _path(payload, 3)
    found: Any = sys.modules.get(path[0])
    for part in path[1].split("."):
        found = getattr(found, "__dict__", {}).get(part)
    if isinstance(found, type) and issubclass(found, Enum):
        member = found.__members__.get(path[2])
        if member is not None:
            return member
    return Reference("enum", path)


def _read_named(kind: str, find: Callable[[str], Any], payload: bytes) -> Any:
    path = _path(payload, 1)
    return find(path[0]) or Reference(kind, path)


def _path(payload: bytes, length: int) -> tuple[str, ...]:
    path = unpack(payload)
    if type(path) is not list or len(path) != length or not all(type(part) is str for part in path):
        raise ValueError("a reference must be a list of names")
    return tuple(path)


_READERS: dict[int, Callable[[bytes], Any]] = {
    BIG_INT: lambda payload: int.from_bytes(payload, "big", signed=True),
    UUID_: lambda payload: UUID(bytes=payload),
    DATETIME: _read_datetime,
    DECIMAL: lambda payload: Decimal(payload.decode("ascii")),
    ENUM: _read_enum,
}
