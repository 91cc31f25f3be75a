"""The work that is measured: observations through managers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import spex_shards as spex


class Light(spex.Specification):
    """A specification with two states and two actions."""

    name = "benchmarks.Light"
    transitions = [("red", "go", "green"), ("green", "stop", "red")]


@contextmanager
def placed(placement: str) -> Iterator[set[int]]:
    """Pin this process to one processor; return the processors for the other side.

    A scheduler may put two processes that take turns on one processor or on two. On two, a round trip takes several
    times as long, because each turn wakes an idle processor. So both cases are measured, with the floor and the peers
    placed in the same way.
    """
    before = os.sched_getaffinity(0)
    first, *others = sorted(before)
    os.sched_setaffinity(0, {first})
    try:
        yield {others[0] if placement == "apart" and others else first}
    finally:
        os.sched_setaffinity(0, before)


def manager(folder: Path, shards: int, durability: str) -> spex.ShardedInstanceManager:
    """Return a manager over a fresh directory."""
    return spex.ShardedInstanceManager(
        data_dir=folder / "data", impl_models_dir=folder / "models", distribution_factor=shards, durability=durability,
        learning_mode=True, call_timeout=60.0, max_restarts=1000,
    )  # fmt: skip


def blocking(folder: Path, durability: str, calls: int, placement: str) -> list[float]:
    """Return the seconds of each blocking transition, for one caller on one shard."""
    with manager(folder, 1, durability) as running, placed(placement) as server:
        os.sched_setaffinity(running.shards()[0].pid or 0, server)
        identifier = ("order", 17)
        running.init_instance(Light, identifier)
        times = []
        for _ in range(calls):
            started = time.perf_counter()
            running.transition(identifier, "go", "green")
            times.append(time.perf_counter() - started)
    return times


def blocking_in_process(folder: Path, durability: str, calls: int) -> list[float]:
    """Return the seconds of each blocking transition on the in-process manager."""
    options: dict[str, Any] = {"data_dir": folder / "data", "impl_models_dir": folder / "models"}
    with spex.SimpleInstanceManager(**options, durability=durability, learning_mode=True) as running:
        running.init_instance(Light, ("order", 17))
        times = []
        for _ in range(calls):
            started = time.perf_counter()
            running.transition(("order", 17), "go", "green")
            times.append(time.perf_counter() - started)
    return times


def nowait(folder: Path, shards: int, durability: str, calls: int) -> float:
    """Return observations per second, sent by one thread without waiting to a thousand instances, with the flush."""
    with manager(folder, shards, durability) as running:
        for number in range(1000):
            running.init_instance_nowait(Light, ("order", number))
        running.flush()
        started = time.perf_counter()
        for number in range(calls):
            running.transition_nowait(("order", number % 1000), "go", "green")
        running.flush()
        return calls / (time.perf_counter() - started)


def replayed(log: Path, folder: Path, shards: int, durability: str) -> float:
    """Return the events per second that the command line tool reports for the replay of an event log."""
    import json

    done = subprocess.run(
        [sys.executable, "-m", "spex_shards.cli", "replay", str(log), "--learn", "log", "--shards", str(shards),
         "--models-dir", str(folder), "--durability", durability, "--format", "json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(json.loads(done.stdout)["events_per_second"])


def start_up(folder: Path) -> tuple[float, float]:
    """Return the seconds that starting four shards takes, and the resident size of an idle worker in MiB."""
    started = time.perf_counter()
    with manager(folder, 4, "process") as running:
        seconds = time.perf_counter() - started
        pid = running.shards()[0].pid
        status = Path(f"/proc/{pid}/status").read_text()
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return seconds, resident / 1024


def import_time() -> float:
    """Return the seconds that importing the package adds to the start of an interpreter."""

    def run(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - started

    return min(run("import spex_shards") for _ in range(5)) - min(run("pass") for _ in range(5))
