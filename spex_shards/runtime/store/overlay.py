"""An overlay: changes over a store that are not in it yet, read as if they were."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any, Final

from .port import TABLES, Changes

MISSING: Final[Any] = object()
_FEW: Final = 256


class Overlay:
    """Changes by table, in memory, with their keys in order when a range asks for them.

    Attributes:
        changes: Table → key → new value, or None for a deletion.
        rows: How many changes were added, those that are over others by now included.
    """

    def __init__(self, changes: Changes | None = None) -> None:
        self.changes: dict[str, dict[bytes, bytes | None]] = {table: {} for table in TABLES}
        self.rows = 0
        self._keys: dict[str, list[bytes]] = {}
        self._fresh: dict[str, list[bytes]] = {}
        if changes:
            self.add(changes)

    def __bool__(self) -> bool:
        return self.rows > 0

    def add(self, changes: Changes) -> None:
        """Put changes over those that are there."""
        for table, rows in changes.items():
            self.changes[table].update(rows)
            self.rows += len(rows)
            if table in self._keys:
                self._fresh[table] += rows

    def over(
        self,
        stored: Iterator[tuple[bytes, bytes]],
        table: str,
        start: bytes,
        stop: bytes | None,
        *,
        reverse: bool,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over the rows ``start <= key < stop`` of a store with the changes merged in.

        Nothing may be added while the iterator is in use.
        """
        changes = self.changes[table]
        if not changes:
            return stored
        keys = self._ordered(table)
        low = bisect_left(keys, start)
        high = len(keys) if stop is None else bisect_left(keys, stop, low)
        if low >= high:
            return stored
        inside = (keys[i] for i in (range(high - 1, low - 1, -1) if reverse else range(low, high)))
        return merged(stored, inside, changes, reverse=reverse)

    def _ordered(self, table: str) -> list[bytes]:
        keys = self._keys.get(table)
        if keys is None:
            keys = self._keys[table] = sorted(self.changes[table])
            self._fresh[table] = []
            return keys
        fresh = self._fresh[table]
        if len(fresh) > _FEW:
            keys += [key for key in set(fresh) if not _holds(keys, key)]
            keys.sort()  # one long run that is in order already: linear
        else:
            for key in fresh:
                if not _holds(keys, key):
                    insort(keys, key)
        fresh.clear()
        return keys


def _holds(keys: list[bytes], key: bytes) -> bool:
    place = bisect_left(keys, key)
    return place < len(keys) and keys[place] == key


def merged(
    stored: Iterator[tuple[bytes, bytes]],
    keys: Iterator[bytes],
    changes: dict[bytes, bytes | None],
    *,
    reverse: bool,
) -> Iterator[tuple[bytes, bytes]]:
    """Merge changes into the rows of a store; both in key order (or the reverse). `keys` are those of the changes."""
    changed = next(keys, None)
    for key, value in stored:
        while changed is not None and (changed > key if reverse else changed < key):
            new = changes[changed]
            if new is not None:
                yield changed, new
            changed = next(keys, None)
        if changed == key:
            new = changes[key]
            changed = next(keys, None)
            if new is not None:
                yield key, new
        else:
            yield key, value
    while changed is not None:
        new = changes[changed]
        if new is not None:
            yield changed, new
        changed = next(keys, None)
