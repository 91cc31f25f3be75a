"""The state of an application's service: tables of values, committed together with the call that changes them."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any, Final

from .protocol import records
from .protocol.codec import canonical, decode, encode, identifier_of
from .store import Batch

MOST_KEY_BYTES: Final = 480
"""The limit for a key's canonical form together with its table's name; LMDB's own limit is 511 bytes."""


class Rows(MutableMapping[Any, Any]):
    """One table of a shard: a mapping whose changes are committed with the call that makes them, or not at all.

    Keys are of the types that identifiers may have (see `InstanceManager.init_instance`). They are ordered by their
    canonical bytes. That is the order of the values for non-negative integers, and for texts or bytes of equal length.
    Values are None, bool, int, float, str, bytes, lists, tuples, dicts, UUID, datetime, Decimal and Enum members. A
    value that is read is a copy: to change a row, assign it.

    Args:
        batch: The batch of the shard.
        table: The table's name.
    """

    def __init__(self, batch: Batch, table: str = "") -> None:
        self._batch = batch
        self._prefix = len(table.encode()).to_bytes(1, "big") + table.encode()

    def table(self, name: str) -> Rows:
        """Return another table of the same shard.

        Raises:
            ValueError: The name is empty or has more than 255 bytes.
        """
        if not 0 < len(name.encode()) <= 255:
            raise ValueError(f"the name of a table must have 1 to 255 bytes, got: {name!r}")
        return Rows(self._batch, name)

    def __getitem__(self, key: Any) -> Any:
        row = self._batch.get("rows", self.place(key))
        if row is None:
            raise KeyError(key)
        return _value(row)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._batch.put("rows", self.place(key), records.seal_flat(encode(value)))

    def __delitem__(self, key: Any) -> None:
        place = self.place(key)
        if self._batch.get("rows", place) is None:
            raise KeyError(key)
        self._batch.delete("rows", place)

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self.after())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Rows(table={self._prefix[1:].decode()!r})"

    def after(self, key: Any = None) -> Iterator[tuple[Any, Any]]:
        """Iterate over the keys behind `key`, with their values, in order of the keys; None: over all keys.

        The table must not be changed while the iterator is in use.
        """
        start = self._prefix if key is None else self.place(key) + b"\x00"
        stop = self._prefix + b"\xff" * (MOST_KEY_BYTES + 1)
        for place, row in self._batch.range("rows", start, stop):
            yield identifier_of(place[len(self._prefix) :]), _value(row)

    def place(self, key: Any) -> bytes:
        """Return the key of a row in the shard's store.

        Raises:
            ValueError: The key is too long.
            TypeError: It is of a type that keys may not have.
        """
        place = self._prefix + canonical(key)
        if len(place) > MOST_KEY_BYTES:
            raise ValueError(f"a key must have at most {MOST_KEY_BYTES} bytes with its table's name, got: {len(place)}")
        return place


def named(place: bytes) -> tuple[str, Any]:
    """Return table and key of a row from its key in the store.

    Raises:
        ValueError: It is malformed.
    """
    end = 1 + place[0] if place else 0
    if not 0 < end < len(place):
        raise ValueError(f"malformed bytes: no table and key, got: {place.hex()}")
    return place[1:end].decode(), identifier_of(place[end:])


def _value(row: bytes) -> Any:
    return decode(records.unseal(row, "a row of the service"))
