"""Measure shards behind a gate beside the same shards behind pipes: ``python -m benchmarks.cluster [ROUNDS]``.

It needs Debian's postgresql and psycopg. A private server is started, which syncs. The kinds alternate within a round,
and the medians of the rounds are printed, and written to ``build/cluster.json``: other work on the machine then slows
all of them alike. Everything runs on this machine, so there is no network in these figures but the loopback.

* a blocking transition, from one thread; transitions of 32 threads; transitions that are not waited for
* how long a writer waits at most when its shard is moved to another member, and when the worker is killed
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import spex_shards as spex
from tests.support.postgres import server

from .postgres import Loop
from .timing import blocking

CALLS: Final = 1_000
POSTED: Final = 20_000
SECONDS: Final = 2.0
THREADS: Final = 32
TOKEN: Final = "a token of the benchmarks"
OUTPUT: Final = Path("build/cluster.json")


@contextmanager
def pipes(url: str, folder: Path) -> Iterator[spex.InstanceManager]:
    """Return a manager with a shard of its own."""
    with spex.ShardedInstanceManager(
        store=url, data_dir=folder, durability="disk", distribution_factor=1, learning_mode=True, call_timeout=30.0
    ) as manager:
        yield manager


def member(url: str, folder: Path) -> spex.ClusterMember:
    """Return a member that runs the only shard."""
    return spex.ClusterMember(
        store=url, data_dir=folder, durability="disk", partitions=1, token=TOKEN, learning_mode=True
    )


@contextmanager
def gate(url: str, folder: Path) -> Iterator[spex.InstanceManager]:
    """Return a manager whose shard is behind a gate."""
    with member(url, folder), spex.ClusterInstanceManager(store=url, token=TOKEN) as manager:
        yield manager


def threads(manager: spex.InstanceManager) -> float:
    """Return the transitions a second of 32 threads, each with an instance of its own."""
    counts = [0] * THREADS
    end = time.perf_counter() + SECONDS

    def write(number: int) -> None:
        while time.perf_counter() < end:
            manager.transition(("thread", number), "go", "on")
            counts[number] += 1

    for number in range(THREADS):
        manager.init_instance(Loop, ("thread", number))
    began = time.perf_counter()
    running = [threading.Thread(target=write, args=(number,)) for number in range(THREADS)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def posted(manager: spex.InstanceManager) -> float:
    """Return the transitions a second that are sent without waiting."""
    began = time.perf_counter()
    for _ in range(POSTED):
        manager.transition_nowait(1, "go", "on")
    manager.flush(60)
    return POSTED / (time.perf_counter() - began)


def pause(manager: spex.InstanceManager, happens: Callable[[], object]) -> float:
    """Return the longest wait of a writer, in milliseconds, while something happens."""
    longest, stop = [0.0], threading.Event()

    def write() -> None:
        while not stop.is_set():
            at = time.perf_counter()
            manager.transition(1, "go", "on")
            longest[0] = max(longest[0], time.perf_counter() - at)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        happens()
        time.sleep(SECONDS)
    finally:
        stop.set()
        writer.join()
    return 1000 * longest[0]


def main() -> None:
    """Print the medians."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    found: dict[str, dict[str, list[float]]] = {}

    def note(kind: str, name: str, value: float) -> None:
        found.setdefault(name, {}).setdefault(kind, []).append(value)

    with (
        server("fsync=on", "full_page_writes=on", "shared_buffers=128MB", "max_wal_size=2GB") as database,
        tempfile.TemporaryDirectory() as base,
    ):
        for number in range(rounds):
            for kind, make in (("pipes", pipes), ("gate", gate)):
                place = f"{database.url}&namespace=c{number}_{kind}"
                with make(place, Path(base) / f"{kind}{number}") as manager:
                    manager.init_instance(Loop, 1)
                    figures = blocking(lambda _, manager=manager: manager.transition(1, "go", "on"), CALLS)
                    note(kind, "blocking p50, µs", figures["p50_us"])
                    note(kind, "blocking p99, µs", figures["p99_us"])
                    note(kind, f"{THREADS} threads, a second", threads(manager))
                    note(kind, "not waited for, a second", posted(manager))
                    pid = manager.shards()[0].pid
                    assert pid is not None
                    note(kind, "worker killed, longest wait, ms", pause(manager, partial(os.kill, pid, signal.SIGKILL)))
                    if kind == "gate":
                        other = member(place, Path(base) / f"other{number}")
                        note(kind, "moved, longest wait, ms", pause(manager, other.start))
                        other.close()
    report(found)


def report(found: dict[str, dict[str, list[float]]]) -> None:
    """Print the medians, and write all values."""
    print(f"medians; load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    for name, kinds in found.items():
        medians: dict[str, Any] = {kind: statistics.median(values) for kind, values in kinds.items()}
        ratio = f", gate / pipes {medians['gate'] / medians['pipes']:.2f}" if len(medians) == 2 else ""
        print(f"{name:34}", ", ".join(f"{kind} {value:,.0f}" for kind, value in medians.items()) + ratio)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
