"""Measure what an observation costs its caller in each mode: ``python -m benchmarks.modes``.

The modes take turns, and each figure is a median over the rounds, since other programs share the machine.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import spex_shards as spex

MODES = ("off", "observe", "warn", "enforce")
ROUNDS, CALLS = 7, 2000
STEPS = ("go", "green"), ("stop", "red")


class Light(spex.Specification):
    """A traffic light."""

    name = "benchmarks.ModesLight"
    transitions = [("red", "go", "green"), ("green", "stop", "red")]


def timed(call: Callable[[int, str, str], None]) -> tuple[float, float]:
    """Return the median wall time and the mean processor time of this thread of a call, in µs."""
    walls = []
    used = time.thread_time()
    for number in range(CALLS):
        before = time.perf_counter()
        call(1, *STEPS[number % 2])
        walls.append(time.perf_counter() - before)
    return statistics.median(walls) * 1e6, (time.thread_time() - used) / CALLS * 1e6


def measure(manager: Any) -> dict[tuple[str, str], tuple[float, float]]:
    """Return (mode, kind of call) → wall and processor time, in µs."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    manager.init_instance(Light, 1)
    for round_ in range(ROUNDS + 1):
        for mode in MODES:
            manager.mode = mode
            for kind, call in (("blocking", manager.transition), ("nowait", manager.transition_nowait)):
                result = timed(call)
                manager.flush()
                if round_:  # the first one warms up
                    found.setdefault((mode, kind), []).append(result)
    return {key: tuple(map(statistics.median, zip(*results, strict=True))) for key, results in found.items()}  # type: ignore[misc]


def main() -> None:
    """Measure both kinds of managers, and print a table."""
    print(f"{'':12}{'':10}{'blocking: wall':>16}{'processor':>12}{'nowait: wall':>16}{'processor':>12}")
    for cls in (spex.SimpleInstanceManager, spex.ShardedInstanceManager):
        with tempfile.TemporaryDirectory() as folder:
            places = {"data_dir": Path(folder) / "data", "impl_models_dir": Path(folder) / "models"}
            name = cls.__name__.removesuffix("InstanceManager")
            with cls(**places, distribution_factor=1, learning_mode=True, mode="enforce") as manager:
                figures = measure(manager)
        for mode in MODES:
            (wall, used), (wall_, used_) = figures[mode, "blocking"], figures[mode, "nowait"]
            print(f"{name:12}{mode:10}{wall:16.2f}{used:12.2f}{wall_:16.2f}{used_:12.2f}")


if __name__ == "__main__":
    main()
