"""A store as it is together with its log, for reading only."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from ...errors import StoreError
from .files import LogFiles
from .logged_store import checkpoint_of
from .overlay import MISSING, Overlay
from .port import Changes, Store
from .redo_log import read_log


class StoreView:
    """What a store and the log in front of it hold; nothing is written anywhere.

    Raises:
        DataDirError: The log is damaged or cannot be read.
    """

    def __init__(self, base: Store, files: LogFiles) -> None:
        self._base = base
        self.recovered = read_log(files, checkpoint_of(base))
        self._overlay = Overlay(self.recovered.changes)
        self.next_upkeep = inf

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        value: bytes | None = self._overlay.changes[table].get(key, MISSING)
        return self._base.get(table, key) if value is MISSING else value

    def range(
        self, table: str, start: bytes, stop: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over ``start <= key < stop`` in key order (or the reverse)."""
        rows = self._base.range(table, start, stop, reverse=reverse)
        return self._overlay.over(rows, table, start, stop, reverse=reverse)

    def apply(self, changes: Changes) -> None:
        """Refuse.

        Raises:
            StoreError: Always.
        """
        raise StoreError(f"a store opened for reading takes no changes (in {', '.join(changes)})")

    def release(self) -> None:
        """End the reading view, if there is one."""
        self._base.release()

    def upkeep(self) -> None:
        """Do nothing."""

    def size(self) -> int:
        """Return the bytes of the store."""
        return self._base.size()

    def rows(self) -> int:
        """Return how many rows there are, about."""
        return self._base.rows() + self._overlay.rows

    def close(self) -> None:
        """Close the store."""
        self._base.close()
