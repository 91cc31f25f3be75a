"""The floor: what the machine, LMDB and Python take for the least that a step must do, without anything around it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import lmdb

from spex_shards.runtime.protocol import records
from spex_shards.runtime.protocol.codec import canonical

from .lights import ALLOWED, KEYS, Lights, in_portions, on_shards, step
from .placing import placed
from .timing import Figures, percentiles, posted

FRAME = b"x" * 48
MAP_SIZE = 1 << 30
LOGGED = 176
"""The bytes that a blocking step adds to the log, by strace."""
PORTION = 100


def least(folder: Path, calls: int) -> Figures:
    """Return the times of a bare round trip over pipes, of a step's rows in LMDB (unsynced), and the sum of both.

    The round trip is measured as the scheduler has it, and with both processes on one core and on two.
    """
    rows = percentiles(_lmdb_rows(calls, folder))
    figures = {"rows_p50_us": rows["p50_us"], "rows_p99_us": rows["p99_us"]}
    for placement in ("free", "apart", "together"):
        trip = percentiles(_ping_pong(calls, placement))
        prefix = "" if placement == "free" else f"{placement}_"
        figures |= {f"{prefix}trip_{name}": trip[name] for name in ("p50_us", "p99_us")}
        figures[f"{prefix}p50_us"] = trip["p50_us"] + rows["p50_us"]
    return figures


def _ping_pong(calls: int, placement: str) -> list[float]:
    (ask_read, ask_write), (answer_read, answer_write) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ask_write)
        while data := os.read(ask_read, 64):
            os.write(answer_write, data)
        os._exit(0)
    os.close(ask_read)
    times = []
    with nullcontext() if placement == "free" else placed(placement):
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


def _lmdb_rows(calls: int, folder: Path) -> list[float]:
    environment = lmdb.open(str(folder), map_size=MAP_SIZE, max_dbs=4, sync=False, metasync=False)
    instances, history, clients = (environment.open_db(name) for name in (b"instances", b"history", b"clients"))
    now = time.time_ns() // 1000
    key, row = canonical(KEYS[0]), records.seal([1, 1, 1, 1, now, None, None, False, "green", None])
    entry, client = records.seal([now, "go", "green"]), records.seal([1, 0, 0])
    times = []
    for number in range(calls):
        started = time.perf_counter()
        with environment.begin() as view:
            view.get(key, db=instances)
        with environment.begin(write=True) as transaction:
            transaction.put(key, row, db=instances)
            transaction.put(b"\0" * 8 + number.to_bytes(8, "big"), entry, db=history)
            transaction.put(b"c" * 16, client, db=clients)
        times.append(time.perf_counter() - started)
    environment.close()
    return times


class Loop:
    """Lights in LMDB (unsynced), in this process, with the rows that the library has, and a transaction for a portion.

    It reads and checks the light's row, and writes that row and one of its history; nothing else.
    """

    def __init__(self, folder: Path) -> None:
        self._environment = lmdb.open(str(folder), map_size=MAP_SIZE, max_dbs=4, sync=False, metasync=False)
        self._instances, self._history = map(self._environment.open_db, (b"instances", b"history"))
        with self._environment.begin(write=True) as transaction:
            for number, key in enumerate(KEYS):
                row = records.seal_flat((1, 1, number, 0, 0, None, None, False, "red", None))
                transaction.put(canonical(key), row, db=self._instances)

    def post_all(self, steps: Sequence[tuple[str, str, str]]) -> None:
        instances, history = self._instances, self._history
        for portion in in_portions(steps):
            with self._environment.begin(write=True) as transaction:
                for name, action, state in portion:
                    key = canonical(name)
                    row = transaction.get(key, db=instances)
                    version, spec, number, seq, last, deadline, prune, _, before, kept = records.unseal(row, "a light")
                    if (before, action, state) not in ALLOWED:
                        raise ValueError("not allowed")
                    now, seq = max(last, time.time_ns() // 1000), seq + 1
                    entry = records.seal_flat((now, action, state))
                    transaction.put(number.to_bytes(8, "big") + seq.to_bytes(8, "big"), entry, db=history)
                    moved = (version, spec, number, seq, now, deadline, prune, False, state, kept)
                    transaction.put(key, records.seal_flat(moved), db=instances)

    def close(self) -> None:
        self._environment.close()


def loop(folder: Path, posts: int) -> Figures:
    """Return the figures of the bare loop."""
    lights = Loop(folder)
    lights.post_all([step(number) for number in range(2 * len(KEYS))])
    steps = [step(number) for number in range(posts)]
    figures = posted(lambda: lights.post_all(steps), posts)
    lights.close()
    return figures


def synced(folder: Path, calls: int) -> Figures:
    """Return the times of blocking steps with durability "disk", and of bare appends of the same bytes with fdatasync.

    They take turns, because the time of a sync changes with what else the disk does.
    """
    path = folder / "file"
    path.write_bytes(bytes(LOGGED * calls))  # as the library's log, the file has its blocks already
    file = os.open(path, os.O_WRONLY)
    os.fsync(file)
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    with on_shards(folder, "disk") as lights:
        for number in range(calls):
            times["bare" if number // PORTION % 2 else "ours"].append(
                _append(file, number) if number // PORTION % 2 else _step(lights, number)
            )
    os.close(file)
    return {
        f"{name}_{figure}": percentiles(found)[figure]
        for name, found in times.items()
        for figure in ("p50_us", "p99_us")
    }


def _append(file: int, number: int) -> float:
    data = number.to_bytes(8, "big") * (LOGGED // 8)
    started = time.perf_counter()
    os.write(file, data)
    os.fdatasync(file)
    return time.perf_counter() - started


def _step(lights: Lights, number: int) -> float:
    made = number // (2 * PORTION) * PORTION + number % PORTION
    started = time.perf_counter()
    lights.step(*step(made))
    return time.perf_counter() - started
