"""Many callers at once on one shard: threads, processes, and coroutines, each of which waits for each of its steps."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import spex_shards as spex
from spex_shards.aio import AsyncInstanceManager

from .lights import KEYS, Light, Managed, on_shards, sharded, step
from .processes import processor_time
from .timing import Figures, blocking

CALLERS = 64


def threads(folder: Path, durability: str, calls: int) -> Figures:
    """Return the figures of one caller, and the rate of 64 threads of one process."""
    with on_shards(folder, durability) as lights:
        alone = blocking(lambda number: lights.step(*step(number)), calls)
        each = max(1, calls // 16)
        rate, used = _together(lambda caller: _steps(lights.step, caller, each), each)
        alone_again = blocking(lambda number: lights.step(*step(number)), calls)
    p50 = min(alone["p50_us"], alone_again["p50_us"])
    alone_rate = max(alone["per_second"], alone_again["per_second"])
    return {"one_p50_us": p50, "one_per_second": alone_rate, "many_per_second": rate, "many_processor_us": used}


def _steps(make: Callable[[str, str, str], Any], caller: int, calls: int) -> None:
    key = KEYS[caller]
    for number in range(calls // 2):
        for action, state in (("go", "green"), ("stop", "red"))[: 2 if 2 * number + 1 < calls else 1]:
            make(key, action, state)


def _together(work: Callable[[int], None], each: int) -> tuple[float, float]:
    """Return the rate, and the processor time in µs of a call, of work that 64 threads do at once."""
    gate = threading.Barrier(CALLERS + 1)

    def run(caller: int) -> None:
        gate.wait()
        work(caller)

    started = [threading.Thread(target=run, args=(caller,)) for caller in range(CALLERS)]
    for thread in started:
        thread.start()
    used = processor_time()
    gate.wait()
    before = time.perf_counter()
    for thread in started:
        thread.join()
    made = CALLERS * (each // 2) * 2
    return made / (time.perf_counter() - before), (processor_time() - used) / made * 1e6


def coroutines(folder: Path, durability: str, calls: int) -> Figures:
    """Return the rate of 64 coroutines on one loop, and that of 1,000."""

    async def run() -> Figures:
        options: dict[str, Any] = {
            "data_dir": folder / "data", "impl_models_dir": folder / "models", "distribution_factor": 1,
            "durability": durability, "learning_mode": True, "call_timeout": 60.0,
        }  # fmt: skip
        figures: Figures = {}
        async with AsyncInstanceManager(**options) as manager:
            for key in KEYS:
                await manager.init_instance(Light, key)
            for callers in (CALLERS, 1000):
                each = max(2, calls // callers // 2 * 2)
                started, own = time.perf_counter(), time.process_time()
                await asyncio.gather(*(_walk(manager, key, each) for key in KEYS[:callers]))
                figures[f"{callers}_per_second"] = callers * each / (time.perf_counter() - started)
                figures[f"{callers}_caller_us"] = (time.process_time() - own) / (callers * each) * 1e6
        return figures

    return asyncio.run(run())


async def _walk(manager: Any, key: str, calls: int) -> None:
    for _ in range(calls // 2):
        await manager.transition(key, "go", "green")
        await manager.transition(key, "stop", "red")


def processes(folder: Path, durability: str, calls: int, callers: tuple[int, ...] = (1, 2, 4, 8)) -> Figures:
    """Return the rate of so many forked processes with one thread each."""
    figures: Figures = {}
    with sharded(folder, 1, durability) as manager:
        Managed(manager)
        for number in callers:
            each = max(2, calls // number // 2 * 2)
            used = processor_time()
            figures[f"{number}_per_second"] = number * each / _forked(manager, number, each)
            figures[f"{number}_processor_us"] = (processor_time() - used) / (number * each) * 1e6
    return figures


def _forked(manager: spex.ShardedInstanceManager, callers: int, each: int) -> float:
    def begin(caller: int) -> Callable[[], None]:
        _steps(manager.transition, caller, 2)  # its pipes are there
        return lambda: _steps(manager.transition, caller, each)

    return at_once(callers, begin)


def at_once(callers: int, begin: Callable[[int], Callable[[], None]]) -> float:
    """Return the seconds from when all of so many forked processes are ready to when all have ended.

    Args:
        callers: How many processes.
        begin: Called in each process with its number; makes it ready, and returns its work.
    """
    ready, go = os.pipe(), os.pipe()
    children = []
    for caller in range(callers):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work = begin(caller)
                os.write(ready[1], b".")
                os.read(go[0], 1)
                work()
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    for _ in children:
        os.read(ready[0], 1)
    started = time.perf_counter()
    os.write(go[1], b"." * callers)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    wall = time.perf_counter() - started
    for descriptor in (*ready, *go):
        os.close(descriptor)
    if any(statuses):
        raise RuntimeError(f"a caller failed: {statuses}")
    return wall
