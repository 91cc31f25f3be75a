"""What grows with the number of shards, and what must not grow with histories and instances."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import spex_shards as spex

from .lights import Light, on_shards, sharded, step
from .processes import own
from .timing import Figures, posted

BURNT_US = 200
BURNING = 2000
"""Instances: so many that shards have nearly equal shares of them."""


def burn(_error: Any, _caller: Any) -> None:
    """Use the processor for 200 µs, and accept what was observed."""
    until = time.thread_time_ns() + BURNT_US * 1000
    while time.thread_time_ns() < until:
        pass


class Burning(spex.Specification):
    """A traffic light whose every step is a deviation."""

    name = "benchmarks.Burning"
    transitions = [("red", "wait", "red")]
    judge = "run"

    @classmethod
    def error_handler(cls, error: Any, caller: Any) -> None:
        """Burn."""
        burn(error, caller)


def shards(folder: Path, durability: str, posts: int) -> Figures:
    """Return the processor time of a posted step, client and all shards together, for 1, 4 and 16 shards."""
    figures: Figures = {}
    for number in (1, 4, 16):
        with on_shards(folder / str(number), durability, number) as lights:
            lights.post_all([step(count) for count in range(2000)])
            steps = [step(count) for count in range(posts)]
            found = posted(lambda steps=steps, lights=lights: lights.post_all(steps), posts)  # type: ignore[misc]
        figures[f"{number}_processor_us"] = found["posted_processor_us"]
        figures[f"{number}_per_second"] = found["posted_per_second"]
    return figures


def handlers(folder: Path, posts: int) -> Figures:
    """Return the rate of posted observations whose handler burns 200 µs, for one and two shards.

    A machine that does other work may give two busy processes no more than one. So the processor time of the busiest
    worker is returned as well: with a core for each, this is what the rate depends on.
    """
    figures: Figures = {}
    for number in (1, 2):
        with sharded(folder / str(number), number, "process", specifications=[Burning]) as manager:
            for light in range(BURNING):
                manager.init_instance_nowait(Burning, light, initial_state="red")
            manager.flush(120)
            workers = [shard.pid or 0 for shard in manager.shards()]
            used = [own(pid) for pid in workers]
            before = time.perf_counter()
            for count in range(posts):
                manager.transition_nowait(count % BURNING, "burn", "red")
            manager.flush(120)
            figures[f"{number}_per_second"] = posts / (time.perf_counter() - before)
            figures[f"{number}_busiest_s"] = max(own(pid) - was for pid, was in zip(workers, used, strict=True))
            [burnt] = manager.deviations()
            if burnt.count != posts:
                raise RuntimeError(f"{posts} observations were made, and the handler was called {burnt.count} times")
    return figures


def histories(folder: Path, calls: int) -> Figures:
    """Return the median time of a step of an instance with a short history, and of one with 100,000 entries.

    The lengths take turns; the short history begins again with each portion.
    """
    times: dict[str, list[float]] = {"short": [], "long": []}
    with sharded(folder, 1, "process") as manager:
        manager.init_instance(Light, "long")
        for number in range(100_000):
            manager.transition_nowait("long", *(("go", "green"), ("stop", "red"))[number % 2])
        manager.flush(120)
        for portion in range(calls // 10):
            manager.init_instance(Light, f"short {portion}")
            for name, key in (("short", f"short {portion}"), ("long", "long")):
                times[name] += _timed(manager.transition, key)
    return {f"{name}_p50_us": statistics.median(found) * 1e6 for name, found in times.items()}


def _timed(make: Callable[[str, str, str], Any], key: str) -> list[float]:
    found = []
    for number in range(10):
        action, state = (("go", "green"), ("stop", "red"))[number % 2]
        before = time.perf_counter()
        make(key, action, state)
        found.append(time.perf_counter() - before)
    return found
