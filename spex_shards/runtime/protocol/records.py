"""The versioned form of everything that is stored or sent.

A row is ``msgpack([...]) + 4-byte checksum`` (xxh32 of the payload). Rows of a kind that may change carry a version as
their first entry. Reading checks the checksum, the version and the shape; it never imports or executes anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import xxhash

from ...errors import CLASS_BY_CODE, RemoteTraceback, SpexError, StoreError, code_of, encodable, rebuild, show
from ..system.nesting import Nesting, TooDeep
from . import codec

_ERROR: Final = codec.FIRST_FREE + 1
MOST_NESTED_ERRORS: Final = 3
"""How deep errors may be nested in the contexts of other errors."""
_to_plain: dict[type, tuple[int, Callable[[Any], Any]]] = {}
_of_plain: dict[int, Callable[[Any], Any]] = {}


_nesting: Final = Nesting(MOST_NESTED_ERRORS)

checksum: Final[Callable[[bytes], bytes]] = xxhash.xxh32_digest
"""Return what follows the payload of a row."""


def seal(value: Any) -> bytes:
    """Return the row that stores a plain value."""
    payload = codec.pack(value)
    return payload + checksum(payload)


def seal_flat(value: Any) -> bytes:
    """Return the row that stores a plain value without dicts; faster than `seal`."""
    payload = codec.pack_flat(value)
    return payload + checksum(payload)


def unseal(row: bytes, what: str) -> Any:
    """Return the plain value that a row stores.

    Args:
        row: The row.
        what: What the row is, for the error.

    Raises:
        StoreError: The row is damaged; names `what`.
    """
    payload = row[:-4]
    if checksum(payload) != row[-4:]:
        raise StoreError(f"a damaged row: the checksum of {what} does not match", row=what)
    try:
        return codec.unpack(payload)
    except ValueError as error:
        raise StoreError(f"a damaged row: {what}: {error}", row=what) from None


def register_value(code: int, cls: type, to_plain: Callable[[Any], Any], of_plain: Callable[[Any], Any]) -> None:
    """Allow values of a class in messages and in errors' contexts.

    Args:
        code: The extension type, from `codec.FIRST_FREE` on. Each class has its own, and it must never change.
        cls: The class itself; its subclasses are not included.
        to_plain: Returns a value's plain form.
        of_plain: Returns the value of a plain form; raises ValueError if the form is malformed.
    """
    _to_plain[cls] = code, to_plain
    _of_plain[code] = of_plain


def encode_value(value: Any) -> bytes:
    """Return the bytes of a message or context: values of identifiers' types, errors, and registered classes.

    Raises:
        TypeError: A part has a type that cannot be encoded.
        ValueError: Lone surrogates, or nesting over 32.
    """
    return codec.encode(value, _extra)


def decode_value(data: bytes) -> Any:
    """Return the value that `encode_value` made the bytes from.

    Raises:
        ValueError: The bytes are malformed.
    """
    return codec.decode(data, _read_extra)


def error_plain(error: SpexError) -> list[Any]:
    """Return an error's plain form: code, text, context, and the text of its cause.

    A context entry that cannot be sent is replaced by its `repr`. For a subclass that the application defines, the
    context gets an entry ``class`` with its name. The plain form can always be packed, whatever the application's error
    class does.
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
    # An error's context may hold errors, even the error itself: beyond a depth they are sent without their context.
    try:
        return _nesting.run(_entries_plain, error.context) if isinstance(error.context, dict) else {}
    except TooDeep:
        return {}


def _entries_plain(context: dict[Any, Any]) -> dict[str, bytes]:
    return {encodable(key) if type(key) is str else show(key): _sendable(value) for key, value in context.items()}


def error_of(plain: Any) -> SpexError:
    """Return the error that a plain form stands for.

    Raises:
        ValueError: The form is malformed.
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
    registered = _to_plain.get(kind)
    if registered is not None:
        code, to_plain = registered
        return codec.extension(code, codec.pack(to_plain(value)))
    if isinstance(value, SpexError):
        return codec.extension(_ERROR, codec.pack(error_plain(value)))
    raise TypeError(f"a value of type {kind.__module__}.{kind.__qualname__} cannot be sent, got: {value!r}")


def _read_extra(code: int, payload: bytes) -> Any:
    plain = codec.unpack(payload)
    if code == _ERROR:
        return error_of(plain)
    of_plain = _of_plain.get(code)
    if of_plain is None:
        raise ValueError(f"malformed bytes: unknown extension type {code}")
    return of_plain(plain)
