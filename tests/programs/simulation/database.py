"""A simulated PostgreSQL: it executes a store's statements, and connections to it break before, during and after them.

The store is the library's own. Its statements are tuples here, which `SimLink` sends and `SimServer` executes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from spex_shards.runtime.store import MemoryStore, StoreLost
from spex_shards.runtime.store.postgres.claimant import Claimant
from spex_shards.runtime.store.postgres.link import Broken, Wait, int4, int8
from spex_shards.runtime.store.postgres.postgres_store import PostgresStore


class Owner(NamedTuple):
    """The shard's row: who owns it, and how many batches it has."""

    epoch: int
    claim: bytes
    seq: int


class Result:
    """The rows that a statement returns."""

    def __init__(self, rows: Sequence[Sequence[bytes | None]]) -> None:
        self._rows = rows
        self.ntuples = len(rows)

    def get_value(self, row: int, column: int) -> bytes | None:
        """Return a value."""
        return self._rows[row][column]


class SimStatements:
    """The statements of a store, as tuples."""

    claim, look, confirm, size = ("claim",), ("look",), ("confirm",), ("size",)

    def get(self, table: str) -> Any:
        """Return the statement that reads a key."""
        return ("get", table)

    def get_many(self, table: str) -> Any:
        """Return the statement that reads keys."""
        return ("get_many", table)

    def page(self, table: str, bounded: bool, reverse: bool, later: bool) -> Any:
        """Return the statement that reads a page."""
        return ("page", table, bounded, reverse, later)

    def batch(self, puts: Sequence[str], deletes: Sequence[str]) -> Any:
        """Return the statement of a batch."""
        return ("batch", puts, deletes)


class SimServer:
    """The database.

    Attributes:
        rows: The committed rows.
        owner: The shard's row.
        delayed: Batches of lost connections that are executed at some later time.
        happened: Called with a name for each thing that happens.
    """

    def __init__(self, random: Random, happened: Callable[[str], None]) -> None:
        self.rows = MemoryStore()
        self.owner = Owner(0, b"", 0)
        self.delayed: list[tuple[Any, Sequence[Any]]] = []
        self.happened = happened
        self._random = random

    def execute(self, statement: Any, values: Sequence[Any]) -> Result:
        """Execute a statement, after some of those that were delayed."""
        waiting, self.delayed = self.delayed, []
        for one in waiting:
            if self._random.random() < 0.5:
                self._execute(*one)
            else:
                self.delayed.append(one)
        return self._execute(statement, values)

    def _execute(self, statement: Any, values: Sequence[Any]) -> Result:
        return getattr(self, f"_{statement[0]}")(values, *statement[1:])  # type: ignore[no-any-return]

    def _claim(self, values: Sequence[Any]) -> Result:
        self.owner = Owner(self.owner.epoch + 1, values[2], self.owner.seq)
        return Result([(int8(self.owner.epoch), int8(self.owner.seq))])

    def _look(self, _values: Sequence[Any]) -> Result:
        return Result([(int8(self.owner.epoch), self.owner.claim, int8(self.owner.seq), b"another owner")])

    def _confirm(self, values: Sequence[Any]) -> Result:
        return Result([()] if (values[1], values[2]) == (int8(self.owner.epoch), self.owner.claim) else [])

    def _size(self, _values: Sequence[Any]) -> Result:
        return Result([(int8(self.rows.size()), int8(self.rows.rows()), int4(1))])

    def _get(self, values: Sequence[Any], table: str) -> Result:
        value = self.rows.get(table, values[1])
        return Result([] if value is None else [(value,)])

    def _get_many(self, values: Sequence[Any], table: str) -> Result:
        return Result([(key, value) for key in values[1] if (value := self.rows.get(table, key)) is not None])

    def _page(self, values: Sequence[Any], table: str, bounded: bool, reverse: bool, later: bool) -> Result:
        start, stop = values[1] + b"\0" * later, values[2] if bounded else None
        rows = self.rows.range(table, start, stop, reverse=reverse)
        return Result(list(rows)[: int.from_bytes(values[-1], "big")])

    def _batch(self, values: Sequence[Any], puts: Sequence[str], deletes: Sequence[str]) -> Result:
        if not self.fits(values):
            self.happened("batches refused by the fence")
            return Result([])
        self.owner = self.owner._replace(seq=self.owner.seq + 1)
        rest = iter(values[4:])
        changes: dict[str, dict[bytes, bytes | None]] = {}
        for table in puts:
            changes.setdefault(table, {}).update(zip(next(rest), next(rest), strict=True))
        for table in deletes:
            changes.setdefault(table, {}).update(dict.fromkeys(next(rest)))
        self.rows.apply(changes)
        return Result([()])

    def fits(self, values: Sequence[Any]) -> bool:
        """Return whether a batch fulfils its condition."""
        return (values[1], values[2], values[3]) == (int8(self.owner.epoch), self.owner.claim, int8(self.owner.seq))


class SimLink:
    """A connection that breaks.

    Args:
        server: The database.
        random: Decides when it breaks.
        breaks: Returns whether connections break at present.
        clock: Lets time pass.
    """

    def __init__(
        self, server: SimServer, random: Random, breaks: Callable[[], bool], pause: Callable[[float], None]
    ) -> None:
        self._server = server
        self._random = random
        self._breaks = breaks
        self._pause = pause
        self._is_open = False
        self.warned = False
        self.wait = Wait(2.0)

    def open(self, deadline: float | None = None) -> None:
        """Connect, unless the server cannot be reached."""
        if self._breaks() and self._random.random() < 0.1:
            self._server.happened("servers out of reach")
            self._pause(3.0)
            raise StoreLost("the server cannot be reached")
        self._is_open = True

    def run(self, statement: Any, values: Sequence[Any]) -> Result:
        """Execute a statement, or lose the connection in its course."""
        if not self._is_open:
            raise Broken("there is no connection")
        self.warned = False
        if not self._breaks() or self._random.random() > 0.04:
            return self._server.execute(statement, values)
        self._is_open = False
        when = self._random.choice(["before", "after", "during"])
        self._server.happened(f"connections lost {when} a statement")
        if when == "after":
            self._server.execute(statement, values)
        elif when == "during" and statement[0] == "batch":
            self._server.delayed.append((statement, values))
        raise Broken("the connection is lost")

    def close(self) -> None:
        """Close the connection."""
        self._is_open = False

    leave = close


def opened(link: SimLink) -> PostgresStore:
    """Return a store that claims the shard."""
    return PostgresStore(link, SimStatements(), 0, Claimant(1, b"", "an owner"))  # type: ignore[arg-type]
