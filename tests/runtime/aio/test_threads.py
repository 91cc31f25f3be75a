"""Work that must block, on a thread of its own: results, errors, and what is undone."""

from __future__ import annotations

import asyncio
import threading

import pytest

from spex_shards.runtime.aio.threads import in_thread
from tests.support.processes import wait_until


def test_the_result_and_the_error_of_the_work_come_back() -> None:
    """The loop goes on meanwhile."""

    async def main() -> None:
        go = threading.Event()
        task = asyncio.create_task(in_thread(lambda: go.wait(20)))
        await asyncio.sleep(0)
        go.set()
        assert await task is True
        with pytest.raises(ZeroDivisionError):
            await in_thread(lambda: 1 // 0)

    asyncio.run(main())


def test_the_result_for_a_cancelled_task_is_undone() -> None:
    """The work itself is not interrupted."""
    undone: list[int] = []

    def work(go: threading.Event) -> int:
        go.wait(20)
        return 7

    async def main() -> None:
        go = threading.Event()
        task = asyncio.create_task(in_thread(lambda: work(go), undone.append))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go.set()
        async with asyncio.timeout(20):
            while not undone:
                await asyncio.sleep(0.005)

    asyncio.run(main())
    assert undone == [7]


def test_the_result_for_a_closed_loop_is_undone_too() -> None:
    """There is nobody to take it."""
    undone: list[int] = []
    go = threading.Event()

    def work() -> int:
        go.wait(20)
        return 7

    async def main() -> None:
        task = asyncio.create_task(in_thread(work, undone.append))
        await asyncio.wait([task], timeout=0.01)

    asyncio.run(main())
    go.set()
    wait_until(lambda: undone == [7], "it is undone")
