"""A store in dicts, for tests, mocks and simulations. Its rows are lost when the process ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

from .port import TABLES, Changes


class MemoryStore:
    """A store in plain dicts. Each range sorts all keys of its table, so it suits small data only.

    Attributes:
        tables: The rows, by table.
        applied: How many batches were applied.
    """

    far = False

    def __init__(self) -> None:
        self.tables: dict[str, dict[bytes, bytes]] = {table: {} for table in TABLES}
        self.applied = 0
        self.next_upkeep = inf

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        return self.tables[table].get(key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """Return the values of all `keys`."""
        return {key: self.get(table, key) for key in keys}

    def range(
        self, table: str, start: bytes, stop: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over ``start <= key < stop`` in key order (or the reverse)."""
        rows = self.tables[table]
        keys = sorted((key for key in rows if key >= start and (stop is None or key < stop)), reverse=reverse)
        return iter([(key, rows[key]) for key in keys])

    def apply(self, changes: Changes) -> None:
        """Apply all changes."""
        self.applied += 1
        for table, rows in changes.items():
            for key, value in rows.items():
                if value is None:
                    self.tables[table].pop(key, None)
                else:
                    self.tables[table][key] = value

    def release(self) -> None:
        """Do nothing: there are no views."""

    def upkeep(self) -> None:
        """Do nothing: this store needs no maintenance."""

    def size(self) -> int:
        """Return the size in bytes of all keys and values."""
        return sum(len(key) + len(value) for rows in self.tables.values() for key, value in rows.items())

    def rows(self) -> int:
        """Return how many rows there are."""
        return sum(map(len, self.tables.values()))

    def another_view(self) -> MemoryStore:
        """Return this store: there are no views."""
        return self

    def close(self) -> None:
        """Do nothing."""
