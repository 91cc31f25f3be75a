"""Reads rows of one shard: single keys, many keys in one round trip, and ranges in pages that grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from .link import array, int4, number
from .statements import Statements

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

Run = Callable[[str, Sequence[bytes | None]], "PGresult"]
"""Executes a statement that reads."""
_PAGES: Final = (4, 64, 512, 2048)
"""The sizes of a range's pages; the last one is repeated. Most ranges are left after a few rows."""


class TableReader:
    """Reads rows of one shard.

    Args:
        run: Executes a statement.
        statements: The statements of the namespace.
        shard: The shard.
    """

    def __init__(self, run: Run, statements: Statements, shard: int) -> None:
        self._run = run
        self._statements = statements
        self._shard = int4(shard)

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        result = self._run(self._statements.get(table), (self._shard, key))
        return result.get_value(0, 0) if result.ntuples else None

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """Return the values of all `keys`, in one round trip."""
        found: dict[bytes, bytes | None] = dict.fromkeys(keys)
        result = self._run(self._statements.get_many(table), (self._shard, array(list(found))))
        for row in range(result.ntuples):
            found[result.get_value(row, 0) or b""] = result.get_value(row, 1)
        return found

    def size(self) -> int:
        """Return the size of the namespace in bytes, divided by the number of its shards."""
        return self._share(0)

    def rows(self) -> int:
        """Return about how many rows the namespace has, divided by the number of its shards."""
        return self._share(1)

    def _share(self, column: int) -> int:
        result = self._run(self._statements.size, ())
        return max(0, number(result.get_value(0, column))) // max(1, number(result.get_value(0, 2)))

    def range(self, table: str, start: bytes, stop: bytes | None, *, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over ``start <= key < stop`` in key order (or the reverse), one page at a time."""
        page, later = 0, False
        while True:
            size = _PAGES[min(page, len(_PAGES) - 1)]
            statement = self._statements.page(table, stop is not None, reverse, later and not reverse)
            values = [self._shard, start, *([] if stop is None else [stop]), int4(size)]
            result = self._run(statement, values)
            last = b""
            for row in range(result.ntuples):
                last = result.get_value(row, 0) or b""
                yield last, result.get_value(row, 1) or b""
            if result.ntuples < size:
                return
            page, later = page + 1, True
            if reverse:
                stop = last
            else:
                start = last
