"""Measure the time from a worker's kill to its first answer: ``python -m benchmarks.recovery``.

It alternates between two managers with one shard each: one with a single instance, one with many. "rested": all changes
are in LMDB. "loaded": the newest changes are in the log.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import spex_shards as spex

RESULTS = Path(__file__).parent / "results"


class Order(spex.Specification):
    """A specification that is a cycle of two states."""

    name = "benchmark.Recovery"
    transitions = [("new", "pay", "paid"), ("paid", "back", "new")]


def start(folder: str, name: str) -> spex.ShardedInstanceManager:
    return spex.ShardedInstanceManager(
        data_dir=f"{folder}/{name}", impl_models_dir=f"{folder}/models", distribution_factor=1, learning_mode=True,
        call_timeout=300, max_restarts=1_000_000, max_seconds=0.05,
    ).start()  # fmt: skip


def kill(manager: spex.ShardedInstanceManager) -> float:
    """Kill the worker; return the milliseconds until its successor has answered a blocking transition."""
    action, state = ("back", "new") if manager.get_instance(0).current_state == "paid" else ("pay", "paid")
    pid = manager.shards()[0].pid
    assert pid is not None
    started = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    manager.transition(0, action, state)
    return (time.perf_counter() - started) * 1000


def measure(managers: dict[str, spex.ShardedInstanceManager], rounds: int) -> dict[str, Any]:
    times: dict[str, list[float]] = {name: [] for name in managers}
    for _ in range(rounds):
        for name, manager in managers.items():
            times[name].append(kill(manager))
            time.sleep(0.2)
    return {name: {"median_ms": statistics.median(ms), "max_ms": max(ms)} for name, ms in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__)
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        managers = {"empty": start(folder, "empty"), "full": start(folder, "full")}
        try:
            for manager in managers.values():
                manager.init_instance(Order, 0)
            for number in range(1, options.instances):
                managers["full"].init_instance_nowait(Order, number)
            managers["full"].flush()
            loaded = kill(managers["full"])
            time.sleep(12)  # until the last checkpoint is written
            result = {"instances": options.instances, "loaded_ms": loaded, **measure(managers, options.rounds)}
        finally:
            for manager in managers.values():
                manager.close()
    result["ratio"] = result["full"]["median_ms"] / result["empty"]["median_ms"]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "recovery.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
