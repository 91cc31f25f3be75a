"""Compare the asyncio client with the blocking one, in one run, alternating: ``python -m benchmarks.aio``.

For each way it prints the calls in a second (wall time) and the processor time of a call in the calling process, and at
the end how long a loop is held up while a shard is stopped. All use the same two shards.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import spex_shards as spex
from spex_shards.aio import AsyncInstanceManager, connect

INSTANCES = 10_000


class Light(spex.Specification):
    """A traffic light."""

    name = "benchmarks.AioLight"
    transitions = [("red", "go", "green"), ("green", "stop", "red")]


def steps(share: int, of: int, calls: int) -> list[tuple[int, str, str]]:
    """Return the observations of one of `of` callers: each has instances of its own."""
    own = range(share, INSTANCES, of) if of <= INSTANCES else range(share, share + 1)
    return [(own[n % len(own)], "go", "green") for n in range(calls // of)]


async def in_flight(manager: AsyncInstanceManager, count: int, calls: int) -> None:
    """Have `count` coroutines wait for one call after another."""

    async def caller(share: int) -> None:
        for step in steps(share, count, calls):
            await manager.transition(*step)

    await asyncio.gather(*(caller(share) for share in range(count)))


async def posts(manager: AsyncInstanceManager, calls: int) -> None:
    """Post all, with drain before each."""
    for step in steps(0, 1, calls):
        await manager.drain(step[0])
        manager.transition_nowait(*step)
    await manager.flush()


def blocking_posts(manager: Any, calls: int) -> None:
    """Post all in one thread."""
    for step in steps(0, 1, calls):
        manager.transition_nowait(*step)
    manager.flush()


def threads(manager: Any, count: int, calls: int) -> None:
    """Have `count` threads wait for one call after another."""

    def caller(share: int) -> None:
        for step in steps(share, count, calls):
            manager.transition(*step)

    callers = [threading.Thread(target=caller, args=(share,)) for share in range(count)]
    for one in callers:
        one.start()
    for one in callers:
        one.join()


def ways(manager: Any) -> dict[str, tuple[int, Callable[[int], None]]]:
    """Return name → number of calls and what makes them."""

    def on_a_loop(work: Callable[[AsyncInstanceManager], Any]) -> tuple[float, float]:
        async def main() -> tuple[float, float]:
            async with await connect(manager.data_dir, call_timeout=60) as client:
                began, used = time.perf_counter(), time.process_time()
                await work(client)
                return time.perf_counter() - began, time.process_time() - used

        return asyncio.run(main())

    found: dict[str, Any] = {
        f"asyncio, {count} in flight": (calls, lambda n, k=count: on_a_loop(lambda m: in_flight(m, k, n)))
        for count, calls in ((1, 3000), (100, 20_000), (1000, 20_000), (10_000, 20_000))
    }
    found["asyncio, nowait with drain"] = (20_000, lambda n: on_a_loop(lambda m: posts(m, n)))
    found["blocking, 1 thread"] = (3000, lambda n: timed(lambda: threads(manager, 1, n)))
    found["blocking, 64 threads"] = (20_000, lambda n: timed(lambda: threads(manager, 64, n)))
    found["blocking, nowait"] = (20_000, lambda n: timed(lambda: blocking_posts(manager, n)))
    return found


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Return the wall time and this process's processor time of a call."""
    began, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - used


async def longest_gap(folder: Path, seconds: float) -> tuple[float, float, int]:
    """Stop one of two shards; return the loop's longest gap before and meanwhile, in ms, and the calls that went on."""
    gaps: list[float] = []

    async def tick() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            gaps.append((now - last) * 1000 - 1)
            last = now

    async with await connect(folder, call_timeout=60) as manager:
        ticker = asyncio.create_task(tick())

        async def load(until: float) -> int:
            count = 0
            while time.perf_counter() < until:
                done = await asyncio.gather(*(asyncio.wait_for(manager.transition(n, "go", "green"), 60) for n in ours))
                count += len(done)
            return count

        transport = manager._here()
        from spex_shards.runtime.protocol.codec import canonical

        shard = {n: transport.channel(canonical(n)).shard for n in range(400)}
        ours, theirs = [n for n in shard if shard[n] == 1][:20], [n for n in shard if shard[n] == 0]
        await load(time.perf_counter() + seconds)
        before = max(gaps)
        gaps.clear()
        pid = (await manager.shards())[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            waiting = [asyncio.create_task(manager.transition(n, "go", "green")) for n in theirs]
            count = await load(time.perf_counter() + seconds)
            meanwhile = max(gaps)
        finally:
            os.kill(pid, signal.SIGCONT)
        await asyncio.gather(*waiting)
        ticker.cancel()
    return before, meanwhile, count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"data_dir": f"{folder}/data", "impl_models_dir": f"{folder}/models"}
        with spex.ShardedInstanceManager(
            **options, distribution_factor=2, learning_mode=True, call_timeout=60
        ) as manager:
            for number in range(INSTANCES):
                manager.init_instance_nowait(Light, number)
            manager.flush()
            measured: dict[str, list[tuple[float, float]]] = {}
            for _ in range(rounds):
                for name, (calls, work) in ways(manager).items():
                    wall, used = work(calls)  # type: ignore[misc]
                    measured.setdefault(name, []).append((calls / wall, used / calls * 1e6))
            print("| way | calls in a second | client's processor time of a call, µs |\n|---|---|---|")
            for name, values in measured.items():
                rate, used = (statistics.median(column) for column in zip(*values, strict=True))
                print(f"| {name} | {rate:,.0f} | {used:.1f} |")
            gaps = asyncio.run(longest_gap(manager.data_dir, 3))
            print("longest gap of the loop before: {:.1f} ms; meanwhile: {:.1f} ms; {} calls went on".format(*gaps))


if __name__ == "__main__":
    main()
