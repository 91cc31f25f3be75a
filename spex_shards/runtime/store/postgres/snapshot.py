"""The rows of a shard as they were at one moment, for reading; its owner goes on meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import TYPE_CHECKING

from ....errors import StoreError
from ..port import Changes
from .link import Broken, Link
from .reading import TableReader
from .statements import Statements

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult


class SnapshotStore:
    """A shard's rows, read in one transaction that lasts until `release` or `close`.

    Args:
        link: A connection that is not open yet.
        statements: The statements of the namespace.
        shard: The shard.

    Raises:
        StoreLost: The server cannot be reached.
        DataDirError: It refuses.
    """

    far = True

    def __init__(self, link: Link, statements: Statements, shard: int) -> None:
        self._link = link
        self._statements = statements
        self._reader = TableReader(self._read, statements, shard)
        self._begun = False
        self.next_upkeep = inf
        link.open()

    def _read(self, statement: str, values: Sequence[bytes | None]) -> PGresult:
        try:
            if not self._begun:
                self._link.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ())
                self._begun = True
            return self._link.run(statement, values)
        except Broken as error:
            raise StoreError(f"the store cannot be read any more: {error}") from None

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        return self._reader.get(table, key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """Return the values of all `keys`."""
        return self._reader.get_many(table, keys)

    def range(
        self, table: str, start: bytes, stop: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over ``start <= key < stop`` in key order (or the reverse)."""
        return self._reader.range(table, start, stop, reverse=reverse)

    def apply(self, changes: Changes) -> None:
        """Refuse all changes.

        Raises:
            StoreError: Always.
        """
        raise StoreError(f"a store opened for reading takes no changes (in {', '.join(changes)})")

    def release(self) -> None:
        """End the transaction: the next read sees what is stored by then."""
        if self._begun:
            self._begun = False
            try:
                self._link.run("COMMIT", ())
            except Broken as error:
                raise StoreError(f"the store cannot be read any more: {error}") from None

    def upkeep(self) -> None:
        """Do nothing: a view needs no maintenance."""

    def size(self) -> int:
        """Return the size of the namespace in bytes, divided by the number of its shards."""
        return self._reader.size()

    def rows(self) -> int:
        """Return about how many rows the namespace has, divided by the number of its shards."""
        return self._reader.rows()

    def close(self) -> None:
        """Close the connection."""
        self._link.close()
