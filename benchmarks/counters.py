"""Counters that are incremented and must survive: on the shard runtime, in Redis, and in SQLite.

Each has `increment` (blocking; what it returned is kept), `post_all` (many increments, all kept when it returns),
`total`, and `again` (the same counters, for a forked child).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from spex_shards import runtime

from .callers import at_once
from .lights import AT_ONCE
from .peers import Missing
from .peers.redis import client, server
from .peers.sqlite import SYNCHRONOUS
from .timing import Figures, blocking, posted

KEYS = [f"counter {number}" for number in range(1000)]
CALLERS = 4
CALLS = {"process": 5_000, "disk": 1_000}
POSTS = {"process": 40_000, "disk": 10_000}
Opened = Callable[[Path, str], AbstractContextManager["Counters"]]
"""Opens counters in a folder, with a durability."""


class Count(runtime.Service):
    """Counters, one a key."""

    @runtime.command
    def increment(self, key: str) -> int:
        """Add one; return the sum."""
        count: int = self.rows.get(key, 0) + 1
        self.rows[key] = count
        return count

    @runtime.query
    def total(self) -> int:
        """Return the sum of all counters of a shard."""
        return sum(self.rows.values())


class Counters(Protocol):
    """What is measured."""

    def increment(self, key: str) -> int: ...

    def post_all(self, keys: Sequence[str]) -> None: ...

    def total(self) -> int: ...

    def again(self) -> Counters: ...


class OnShards:
    """Counters of the shard runtime; posted increments are sent one by one, and flushed once."""

    def __init__(self, shards: runtime.Shards) -> None:
        self._shards = shards

    def increment(self, key: str) -> int:
        return self._shards.call(key, "increment")  # type: ignore[no-any-return]

    def post_all(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._shards.post(key, "increment")
        self._shards.flush(120)

    def total(self) -> int:
        return sum(self._shards.call_all("total"))

    def again(self) -> Counters:
        return self


@contextmanager
def on_shards(folder: Path, durability: str, shards: int = 1, *, processes: bool = True) -> Iterator[Counters]:
    """Give counters on so many shards."""
    options: dict[str, Any] = {"shards": shards, "durability": durability, "call_timeout": 60.0}
    with runtime.Shards(Count, data_dir=folder / "data", processes=processes, **options) as running:
        yield OnShards(running)


class InRedis:
    """INCR by redis-py; what is posted goes in pipelines without MULTI."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        try:
            self._client = client(socket, hiredis=True)
        except Missing:
            self._client = client(socket, hiredis=False)

    def increment(self, key: str) -> int:
        return self._client.incr(key)  # type: ignore[no-any-return]

    def post_all(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), AT_ONCE):
            pipeline = self._client.pipeline(transaction=False)
            for key in keys[start : start + AT_ONCE]:
                pipeline.incr(key)
            pipeline.execute()

    def total(self) -> int:
        return sum(map(int, self._client.mget(self._client.keys())))

    def again(self) -> Counters:
        return InRedis(self._socket)


@contextmanager
def in_redis(folder: Path, durability: str) -> Iterator[Counters]:
    """Give counters in a server of their own."""
    with server(folder, durability) as socket:
        yield InRedis(socket)


class InSqlite:
    """A table in this process, in WAL mode: a transaction for each increment, or for so many that are posted."""

    _ADD = "insert into counts values (?, 1) on conflict(key) do update set n = n + 1 returning n"

    def __init__(self, path: Path, durability: str) -> None:
        self._path, self._durability = path, durability
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=120)
        self._connection.execute("pragma journal_mode=wal")
        self._connection.execute(f"pragma synchronous={SYNCHRONOUS[durability]}")
        self._connection.execute("create table if not exists counts(key text primary key, n integer) without rowid")

    def increment(self, key: str) -> int:
        [(count,)] = self._connection.execute(self._ADD, (key,)).fetchall()
        return count  # type: ignore[no-any-return]

    def post_all(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), AT_ONCE):
            self._connection.execute("begin immediate")
            for key in keys[start : start + AT_ONCE]:
                self._connection.execute(self._ADD, (key,)).fetchall()
            self._connection.execute("commit")

    def total(self) -> int:
        return self._connection.execute("select sum(n) from counts").fetchone()[0]  # type: ignore[no-any-return]

    def again(self) -> Counters:
        return InSqlite(self._path, self._durability)

    def close(self) -> None:
        self._connection.close()


@contextmanager
def in_sqlite(folder: Path, durability: str) -> Iterator[Counters]:
    """Give counters in a database file."""
    counters = InSqlite(folder / "counts.db", durability)
    try:
        yield counters
    finally:
        counters.close()


def callers(counters: Counters, calls: int) -> dict[str, float]:
    """Several processes, each of which waits for each of its own."""

    def begin(caller: int) -> Callable[[], None]:
        mine = counters.again()
        mine.increment(KEYS[caller])  # its connection is there

        def work() -> None:
            for number in range(calls):
                mine.increment(KEYS[(caller * 251 + number) % len(KEYS)])

        return work

    wall = at_once(CALLERS, begin)
    return {"callers_per_second": CALLERS * calls / wall}


OPENED: dict[str, Opened] = {
    "runtime": on_shards,
    "runtime of 2 shards": partial(on_shards, shards=2),
    "runtime in-process": partial(on_shards, processes=False),
    "redis": in_redis,
    "sqlite": in_sqlite,
}


def measured(folder: Path, kind: str, durability: str) -> Figures:
    """Return the figures of one kind of counters.

    Raises:
        RuntimeError: Not every increment is counted.
    """
    calls, posts = CALLS[durability], POSTS[durability]
    with OPENED[kind](folder, durability) as counters:
        for key in KEYS:
            counters.increment(key)
        figures = blocking(lambda number: counters.increment(KEYS[number % len(KEYS)]), calls)
        sent = len(KEYS) + calls + posts
        if kind != "runtime in-process":  # its shard is in one process, and no other has it
            each = calls // CALLERS
            figures |= callers(counters, each)
            sent += CALLERS * (each + 1)
        keys = [KEYS[number % len(KEYS)] for number in range(posts)]
        figures |= posted(lambda: counters.post_all(keys), posts)
        if counters.total() != sent:
            raise RuntimeError(f"{kind}: {counters.total()} were counted, and {sent} were sent")
    return figures
