"""Measure the floor that the manager is compared with: what the hardware and the libraries allow."""

from __future__ import annotations

import os
import sqlite3
import time
from multiprocessing.managers import BaseManager
from pathlib import Path

import lmdb

from spex_shards.engine import Engine, EngineOptions, ModelSource
from spex_shards.messages.specifications import describe
from spex_shards.runtime.protocol import records
from spex_shards.runtime.protocol.codec import canonical
from spex_shards.runtime.store import Batch
from spex_shards.runtime.store.opening import StoreOptions, open_store

from .work import Light, placed

KEY = canonical(("order", 17))
FRAME = b"x" * 48
ROW = records.seal([1, 1, 1, 1, time.time_ns() // 1000, None, None, False, "green", None])
ENTRY = records.seal([time.time_ns() // 1000, "go", "green"])
CLIENT = records.seal([1, 0, 0])


def ping_pong(calls: int, placement: str) -> list[float]:
    """Return the seconds of each round trip of 48 bytes, over two pipes, to a forked process that does nothing else."""
    with placed(placement) as server:
        return _ping_pong(calls, server)


def _ping_pong(calls: int, server: set[int]) -> list[float]:
    (ask_read, ask_write), (answer_read, answer_write) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.sched_setaffinity(0, server)
        os.close(ask_write)
        while data := os.read(ask_read, 64):
            os.write(answer_write, data)
        os._exit(0)
    os.close(ask_read)
    times = []
    for _ in range(calls):
        started = time.perf_counter()
        os.write(ask_write, FRAME)
        os.read(answer_read, 64)
        times.append(time.perf_counter() - started)
    os.close(ask_write)
    os.waitpid(child, 0)
    os.close(answer_read)
    os.close(answer_write)
    return times


def lmdb_rows(calls: int, folder: Path, *, sync: bool) -> list[float]:
    """Return the seconds for one transition's reads and writes, as bare LMDB transactions in this process."""
    environment = lmdb.open(str(folder), map_size=1 << 30, max_dbs=4, sync=sync, metasync=sync)
    instances, history, clients = (environment.open_db(name) for name in (b"instances", b"history", b"clients"))
    times = []
    for number in range(calls):
        started = time.perf_counter()
        with environment.begin() as view:
            view.get(KEY, db=instances)
        with environment.begin(write=True) as transaction:
            transaction.put(KEY, ROW, db=instances)
            transaction.put(b"\0" * 8 + number.to_bytes(8, "big"), ENTRY, db=history)
            transaction.put(b"c" * 16, CLIENT, db=clients)
        times.append(time.perf_counter() - started)
    environment.close()
    return times


def engine_alone(calls: int, folder: Path, *, sync: bool) -> list[float]:
    """Return the seconds of each transition in a bare engine: one commit each, no manager, pipe or lock."""
    store = open_store(folder, StoreOptions("disk" if sync else "process"))
    engine = Engine(Batch(store), ModelSource(learning_mode=True), EngineOptions(), 0)
    engine.register(describe(Light)[0], None)
    engine.init_instance(Light.name, KEY, None, None, 0)
    times = []
    for number in range(calls):
        started = time.perf_counter()
        engine.transition(KEY, "go", "green", number)
        engine.batch.commit()
        times.append(time.perf_counter() - started)
    store.close()
    return times


class _Peer:
    """The same rows behind a call of the standard library's manager process."""

    def __init__(self, folder: str) -> None:
        self._connection = sqlite3.connect(folder + "/peer.db", isolation_level=None, check_same_thread=False)
        self._connection.execute("pragma journal_mode=wal")
        self._connection.execute("pragma synchronous=off")
        self._connection.execute("create table instances(key blob primary key, row blob)")
        self._connection.execute(
            "create table history(number integer, seq integer, row blob, primary key(number, seq))"
        )
        self._seq = 0

    def transition(self, key: bytes, _action: str, _state: str) -> None:
        self._seq += 1
        run = self._connection.execute
        run("begin")
        run("select row from instances where key = ?", (key,)).fetchone()
        run("insert or replace into instances values (?, ?)", (key, ROW))
        run("insert into history values (1, ?, ?)", (self._seq, ENTRY))
        run("commit")


class _PeerManager(BaseManager):
    pass


_PeerManager.register("Peer", _Peer)


def peer_manager(calls: int, folder: Path, placement: str) -> list[float]:
    """Return the seconds of each call of a peer: `multiprocessing`'s manager process over SQLite (WAL, unsynced).

    The peer validates nothing, judges nothing and is not restarted, and a request in flight when it dies is lost.
    """
    with _PeerManager() as manager, placed(placement) as server:
        for thread in Path(f"/proc/{manager._process.pid}/task").iterdir():  # type: ignore[attr-defined]
            os.sched_setaffinity(int(thread.name), server)
        peer = manager.Peer(str(folder))  # type: ignore[attr-defined]
        times = []
        for _ in range(calls):
            started = time.perf_counter()
            peer.transition(KEY, "go", "green")
            times.append(time.perf_counter() - started)
    return times


__all__ = ["engine_alone", "lmdb_rows", "peer_manager", "ping_pong"]
