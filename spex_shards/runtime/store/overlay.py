"""An overlay: changes that are not in a store yet, and that reads see as if they were."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any, Final

from .port import TABLES, Changes

MISSING: Final[Any] = object()
_FEW: Final = 256


class Overlay:
    """Changes by table, in memory. The keys of a table are sorted when a range needs them.

    Attributes:
        changes: Table → key → new value, or None for a deletion.
        rows: How many changes were added; a key that was changed twice counts twice.
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
        """Add changes; they replace earlier changes of the same keys."""
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
        """Iterate over the rows ``start <= key < stop`` of a store, with the changes merged in.

        Nothing may be added while the iterator is in use.

        Args:
            stored: The store's rows in that range.
            table: The table.
            start: The first key.
            stop: The key after the last one; None: to the end.
            reverse: Whether the order is reversed.
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
            keys.sort()  # linear, because nearly all keys are one sorted run
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
    """Merge changes into the rows of a store.

    Args:
        stored: The rows, in key order (or the reverse).
        keys: The keys of the changes, in the same order.
        changes: Key → new value, or None for a deletion.
        reverse: Whether the order is reversed.
    """
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
