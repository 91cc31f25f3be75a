"""Counters that are incremented and must survive: on the shard runtime, in Redis, and in SQLite.

Each has `increment` (blocking; what it returned is kept), `post_all` (many increments, all kept when it returns),
`total`, `again` (the same counters, for a forked child), and `servers` (the processes that work for it).
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import redis

from spex_shards import runtime

AT_ONCE = 100
"""Increments in a pipeline of Redis, and in a transaction of SQLite, where nobody waits for each."""


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

    def servers(self) -> list[int]: ...


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

    def servers(self) -> list[int]:
        own = os.getpid()
        return [info.pid for info in self._shards.shards() if info.pid not in (None, own)]


@contextmanager
def on_shards(folder: Path, durability: str, shards: int, *, processes: bool = True) -> Iterator[Counters]:
    """Give counters on so many shards."""
    options: dict[str, Any] = {"shards": shards, "durability": durability, "call_timeout": 60.0}
    with runtime.Shards(Count, data_dir=folder / "data", processes=processes, **options) as running:
        yield OnShards(running)


class InRedis:
    """INCR over a unix socket, by redis-py; what is posted goes in pipelines without MULTI."""

    def __init__(self, socket: Path, server: int) -> None:
        self._socket, self._server = socket, server
        self._client = redis.Redis(unix_socket_path=str(socket))

    def increment(self, key: str) -> int:
        return self._client.incr(key)  # type: ignore[return-value]

    def post_all(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), AT_ONCE):
            pipeline = self._client.pipeline(transaction=False)
            for key in keys[start : start + AT_ONCE]:
                pipeline.incr(key)
            pipeline.execute()

    def total(self) -> int:
        keys: Any = self._client.keys()
        values: Any = self._client.mget(keys)
        return sum(map(int, values))

    def again(self) -> Counters:
        return InRedis(self._socket, self._server)

    def servers(self) -> list[int]:
        return [self._server]


@contextmanager
def in_redis(folder: Path, fsync: str) -> Iterator[Counters]:
    """Give counters in a server of their own, with its append-only file synced as `fsync` says."""
    socket = folder / "redis"
    command = [
        "redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", "",
        "--appendonly", "yes", "--appendfsync", fsync,
    ]  # fmt: skip
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        waiting, deadline = redis.Redis(unix_socket_path=str(socket)), time.monotonic() + 20
        while True:
            with suppress(redis.ConnectionError):
                waiting.ping()
                break
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"redis-server does not answer (exit code {server.poll()})")
            time.sleep(0.02)
        waiting.close()
        yield InRedis(socket, server.pid)
    finally:
        server.terminate()
        server.wait(30)


class InSqlite:
    """A table in this process, in WAL mode: a transaction for each increment, or for so many that are posted."""

    _ADD = "insert into counts values (?, 1) on conflict(key) do update set n = n + 1 returning n"

    def __init__(self, path: Path, synchronous: str) -> None:
        self._path, self._synchronous = path, synchronous
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=120)
        self._connection.execute("pragma journal_mode=wal")
        self._connection.execute(f"pragma synchronous={synchronous}")
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
        return InSqlite(self._path, self._synchronous)

    def servers(self) -> list[int]:
        return []

    def close(self) -> None:
        self._connection.close()


@contextmanager
def in_sqlite(folder: Path, synchronous: str) -> Iterator[Counters]:
    """Give counters in a database file, synced as `synchronous` says."""
    counters = InSqlite(folder / "counts.db", synchronous)
    try:
        yield counters
    finally:
        counters.close()
