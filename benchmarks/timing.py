"""The figures of work that is done again and again: times, rates and processor time."""

from __future__ import annotations

import time
from collections.abc import Callable

from .processes import processor_time

Figures = dict[str, float]
"""Name → value. The unit is the last part of the name, as in ``p50_us``."""


def percentiles(times: list[float]) -> Figures:
    """Return the percentiles of some seconds, in microseconds."""
    ordered = sorted(times)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e6

    return {"p50_us": at(0.5), "p99_us": at(0.99), "p999_us": at(0.999), "longest_us": ordered[-1] * 1e6}


def blocking(one: Callable[[int], object], calls: int) -> Figures:
    """Return the figures of `calls` calls of `one`, each of which is waited for; it gets the call's number."""
    times: list[float] = []
    clock = time.perf_counter
    started, used, own = clock(), processor_time(), time.process_time()
    for number in range(calls):
        before = clock()
        one(number)
        times.append(clock() - before)
    wall, used, own = clock() - started, processor_time() - used, time.process_time() - own
    per_call = 1e6 / calls
    return {
        **percentiles(times), "per_second": calls / wall, "processor_us": used * per_call, "caller_us": own * per_call,
    }  # fmt: skip


def posted(all_of_it: Callable[[], object], calls: int) -> Figures:
    """Return the figures of work of so many calls that is waited for once."""
    started, used, own = time.perf_counter(), processor_time(), time.process_time()
    all_of_it()
    wall, used, own = time.perf_counter() - started, processor_time() - used, time.process_time() - own
    per_call = 1e6 / calls
    return {
        "posted_per_second": calls / wall, "posted_processor_us": used * per_call, "posted_caller_us": own * per_call,
    }  # fmt: skip
