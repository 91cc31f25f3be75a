"""A store together with the content of its log, for reading only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

from ...errors import StoreError
from .checkpoint import checkpoint_of
from .files import LogFiles
from .overlay import MISSING, Overlay
from .port import Changes, Store
from .redo_log import read_log


class StoreView:
    """The rows of a store and the log in front of it; nothing is written to either.

    Args:
        base: The store.
        files: The files of the log.

    Attributes:
        recovered: The batches that were found in the log.

    Raises:
        DataDirError: The log is damaged or cannot be read.
    """

    far = False

    def __init__(self, base: Store, files: LogFiles) -> None:
        self._base = base
        self.recovered = read_log(files, checkpoint_of(base))
        self._overlay = Overlay(self.recovered.changes)
        self.next_upkeep = inf

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        value: bytes | None = self._overlay.changes[table].get(key, MISSING)
        return self._base.get(table, key) if value is MISSING else value

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """Return the values of all `keys`."""
        return {key: self.get(table, key) for key in keys}

    def range(
        self, table: str, start: bytes, stop: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over ``start <= key < stop`` in key order (or the reverse)."""
        rows = self._base.range(table, start, stop, reverse=reverse)
        return self._overlay.over(rows, table, start, stop, reverse=reverse)

    def apply(self, changes: Changes) -> None:
        """Refuse all changes.

        Raises:
            StoreError: Always.
        """
        raise StoreError(f"a store opened for reading takes no changes (in {', '.join(changes)})")

    def release(self) -> None:
        """End the reading view, if there is one."""
        self._base.release()

    def upkeep(self) -> None:
        """Do nothing: a view needs no maintenance."""

    def size(self) -> int:
        """Return the size of the store in bytes."""
        return self._base.size()

    def rows(self) -> int:
        """Return about how many rows there are; rows that are also in the log count more than once."""
        return self._base.rows() + self._overlay.rows

    def close(self) -> None:
        """Close the store."""
        self._base.close()
