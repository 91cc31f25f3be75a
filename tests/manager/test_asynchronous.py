"""The asyncio manager: many calls at once on one loop, cancellation, stopped shards, and uses that are refused."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.aio import AsyncInstanceManager, connect
from tests.support.contract_specs import Order, Strict
from tests.support.places import ROOT
from tests.support.processes import is_gone, wait_until

pytestmark = pytest.mark.usefixtures("no_process_left")


def steps(instance: spex.Instance) -> list[tuple[str, str]]:
    """Return an instance's history as (action, state)."""
    return [(entry.action, entry.to_state) for entry in instance.history[1:]]


async def shard_of(manager: AsyncInstanceManager, shard: int) -> int:
    """Return the process of a shard."""
    pid = (await manager.shards())[shard].pid
    assert pid is not None
    return pid


async def identifiers_of(manager: AsyncInstanceManager, shard: int, count: int) -> list[int]:
    """Return some identifiers whose instances belong to a shard, and create the instances."""
    transport = manager._here()
    numbers = [n for n in range(50 * count) if transport.channel(spex_key(n)).shard == shard][:count]
    await asyncio.gather(*(manager.init_instance(Order, number) for number in numbers))
    return numbers


def spex_key(identifier: Any) -> bytes:
    """Return an identifier's canonical bytes."""
    from spex_shards.runtime.protocol.codec import canonical

    return canonical(identifier)


@asynccontextmanager
async def stopped(pid: int) -> AsyncIterator[None]:
    """Within the block, stop a process by SIGSTOP."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # the test has killed it
            os.kill(pid, signal.SIGCONT)


async def until(condition: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Return the first true value of an asynchronous condition."""
    deadline = time.monotonic() + 60
    while not (value := await condition()):
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)
    return value


@pytest.fixture
def run(places: dict[str, Path]) -> Callable[..., Any]:
    """Return a function that runs a coroutine function with a started manager."""

    def run(work: Callable[[AsyncInstanceManager], Coroutine[Any, Any, Any]], **options: Any) -> Any:
        async def main() -> Any:
            given = {"distribution_factor": 2, "learning_mode": True, "call_timeout": 20.0, **places, **options}
            async with AsyncInstanceManager(**given) as manager:
                return await work(manager)

        return asyncio.run(main())

    return run


@pytest.mark.long
def test_ten_thousand_calls_wait_at_once_without_a_thread_for_each(run: Callable[..., Any]) -> None:
    """Each gets its answer, and no thread is started for them."""

    async def work(manager: AsyncInstanceManager) -> None:
        await asyncio.gather(*(manager.init_instance(Order, number) for number in range(100)))
        before = threading.active_count()
        tasks = [asyncio.create_task(manager.transition(n % 100, "pay", f"paid {n // 100}")) for n in range(10_000)]
        await asyncio.sleep(0)
        assert (
            sum(channel.lines.current.session.unacknowledged for channel in manager._here().client.channels) == 10_000
        )
        assert threading.active_count() == before
        await asyncio.gather(*tasks)
        for instance in await manager.all_instances():
            assert steps(instance) == [("pay", f"paid {n}") for n in range(100)]

    run(work)


@pytest.mark.long
def test_observations_of_one_instance_keep_the_order_of_their_calls(run: Callable[..., Any]) -> None:
    """Those that wait and those that do not are one sequence."""

    async def work(manager: AsyncInstanceManager) -> None:
        manager.init_instance_nowait(Order, 1)
        tasks = []
        for number in range(200):
            if number % 3:
                tasks.append(asyncio.create_task(manager.transition(1, "pay", str(number))))
                await asyncio.sleep(0)
            else:
                manager.transition_nowait(1, "pay", str(number))
        await asyncio.gather(*tasks)
        assert [state for _, state in steps(await manager.get_instance(1))] == [str(number) for number in range(200)]

    run(work)


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_cancelled_call_is_applied_once_and_its_answer_is_dropped(run: Callable[..., Any], how: str) -> None:
    """The request stays on its way; later calls of the same instance follow it."""

    async def work(manager: AsyncInstanceManager) -> None:
        [one] = await identifiers_of(manager, 0, 1)
        async with stopped(await shard_of(manager, 0)):
            task = asyncio.create_task(manager.transition(one, "pay", "paid"))
            await asyncio.sleep(0)
            if how == "cancel":
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await task
        await manager.transition(one, "ship", "shipped")
        assert steps(await manager.get_instance(one)) == [("pay", "paid"), ("ship", "shipped")]

    run(work)


@pytest.mark.long
def test_a_call_that_was_cancelled_before_it_began_is_never_applied(run: Callable[..., Any]) -> None:
    """Its task had no turn yet, so nothing was sent."""

    async def work(manager: AsyncInstanceManager) -> None:
        await manager.init_instance(Order, 1)
        task = asyncio.create_task(manager.transition(1, "pay", "paid"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await manager.flush()
        assert steps(await manager.get_instance(1)) == []

    run(work)


def test_calls_cancelled_in_the_middle_of_a_frame_leave_the_stream_whole(run: Callable[..., Any]) -> None:
    """Requests larger than a pipe are half written when they are cancelled, and arrive all the same."""

    async def work(manager: AsyncInstanceManager) -> None:
        async with stopped(await shard_of(manager, 0)):
            tasks = [
                asyncio.create_task(manager.init_instance(Order, number, {"large": str(number) * 300_000}))
                for number in range(8)
            ]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            done = await asyncio.gather(*tasks[::2], return_exceptions=True)
            assert all(isinstance(error, asyncio.CancelledError) for error in done)
        await asyncio.gather(*tasks[1::2])
        await manager.flush()
        assert {i.identifier: i.meta["large"][0] for i in await manager.all_instances()} == {
            n: str(n) for n in range(8)
        }

    run(work, distribution_factor=1)


def stall(run: Callable[..., Any], seconds: float) -> tuple[float, float, int]:
    """Stop a shard; return how long the loop was held up at most before and meanwhile, and how many calls went on."""

    async def work(manager: AsyncInstanceManager) -> tuple[float, float, int]:
        waiting = await identifiers_of(manager, 0, 50)
        [going_on] = await identifiers_of(manager, 1, 1)
        gaps: list[float] = []

        async def tick() -> None:
            last = time.monotonic()
            while True:
                await asyncio.sleep(0.001)
                now = time.monotonic()
                gaps.append(now - last - 0.001)
                last = now

        ticker = asyncio.create_task(tick())
        await asyncio.sleep(0.3)
        before, count = max(gaps), 0
        gaps.clear()
        async with stopped(await shard_of(manager, 0)):
            tasks = [asyncio.create_task(manager.transition(number, "pay", "paid")) for number in waiting]
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if count < 1000:  # a window takes no more of what is not answered
                    manager.transition_nowait(waiting[0], "pay", "paid")
                await manager.transition(going_on, "pay", "paid")
                count += 1
            assert not any(task.done() for task in tasks)
        await asyncio.gather(*tasks)
        ticker.cancel()
        return before, max(gaps), count

    return run(work)  # type: ignore[no-any-return]


def test_a_stopped_shard_does_not_hold_up_the_loop(run: Callable[..., Any]) -> None:
    """While some calls wait for it, calls to other shards go on, and so does everything else on the loop."""
    before, gap, count = stall(run, 0.5)
    assert gap < max(0.25, 3 * before)
    assert count > 10


@pytest.mark.long
def test_a_shard_that_is_stopped_for_three_seconds_does_not_hold_up_the_loop_either(run: Callable[..., Any]) -> None:
    """See above; the measured figures are in docs/asyncio.md."""
    before, gap, count = stall(run, 3)
    print(f"longest gap before: {before * 1000:.1f} ms, meanwhile: {gap * 1000:.1f} ms; {count} calls went on")
    assert gap < max(0.25, 3 * before)
    assert count > 100


@pytest.mark.long
def test_a_call_that_is_not_answered_in_time_may_be_applied_later(run: Callable[..., Any]) -> None:
    """It raises CallTimeout, as a blocking call does; all calls share one timer."""

    async def work(manager: AsyncInstanceManager) -> None:
        numbers = await identifiers_of(manager, 0, 20)
        async with stopped(await shard_of(manager, 0)):
            began = time.monotonic()
            calls = (manager.transition(number, "pay", "paid") for number in numbers)
            errors = await asyncio.gather(*calls, return_exceptions=True)
            assert time.monotonic() - began >= 0.5
        assert all(isinstance(error, spex.CallTimeout) and error.maybe_executed for error in errors)
        await manager.flush()
        assert {instance.current_state for instance in await manager.all_instances()} == {"paid"}

    run(work, call_timeout=0.5)


def test_a_post_that_has_no_room_says_so_and_drain_waits_for_room(run: Callable[..., Any]) -> None:
    """Nothing was sent then; with drain before each post, nothing is lost, however many tasks post."""

    async def work(manager: AsyncInstanceManager) -> None:
        [one] = await identifiers_of(manager, 0, 1)
        pid = await shard_of(manager, 0)
        async with stopped(pid):
            for number in range(100):
                manager.transition_nowait(one, "pay", str(number))
            with pytest.raises(spex.CallTimeout, match=r"max_unacknowledged=100 .* await drain\(\) before") as caught:
                manager.transition_nowait(one, "pay", "100")
            assert not caught.value.maybe_executed
            drained = asyncio.create_task(manager.drain(one))
            await asyncio.wait([drained], timeout=0.05)
            assert not drained.done()
            await manager.drain(next(n for n in range(99) if manager._here().channel(spex_key(n)).shard == 1))
        await drained

        async def post(number: int) -> None:
            await manager.drain()
            manager.transition_nowait(one, "pay", str(number))

        await asyncio.gather(*(post(number) for number in range(100, 1000)))
        await manager.flush()
        seen = [state for _, state in steps(await manager.get_instance(one))]
        assert sorted(seen, key=int) == [str(number) for number in range(1000)]

    run(work, max_unacknowledged=100)


def test_errors_and_log_records_arrive_as_with_a_blocking_manager(
    run: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """An error is raised or returned; the default handler's record names the place of the call."""

    async def work(manager: AsyncInstanceManager) -> None:
        with pytest.raises(spex.InstanceNotFound):
            await manager.get_instance("nobody")
        assert isinstance(await manager.try_transition("nobody", "pay", "paid"), spex.InstanceNotFound)
        assert isinstance(await manager.try_init_instance(Strict, 1), spex.ImplModelNotFound)
        with pytest.raises(spex.ImplModelNotFound):
            await manager.init_instance(Strict, 2)
        assert (await anext(manager.messages(timeout=20)))[0] == "impl_model_not_found"

    with caplog.at_level("WARNING", "spex_shards"):
        run(work, learning_mode=False)
    [record] = [record for record in caplog.records if "no instance 'nobody'" in record.getMessage()]
    assert f"(called from {__file__}:" in record.getMessage()
    assert record.getMessage().endswith("in work)")


def test_an_iterator_over_messages_waits_and_ends_with_its_manager(places: dict[str, Path]) -> None:
    """It is woken by each message, and ends when the manager is closed; an iterator over instances raises."""

    async def main() -> None:
        manager = AsyncInstanceManager(distribution_factor=1, **places)
        got: list[Any] = []

        async def read() -> None:
            async for message in manager.messages(timeout=None):
                got.extend([message])

        async with manager:
            reader = asyncio.create_task(read())
            await asyncio.sleep(0)
            await manager.try_init_instance(Strict, 1)
            async with asyncio.timeout(20):
                while not got:
                    await asyncio.sleep(0.005)
            iterator = manager.iter_instances()
        async with asyncio.timeout(20):
            await reader
        with pytest.raises(spex.ManagerClosed):
            await anext(iterator)
        with pytest.raises(spex.ManagerClosed):
            await manager.transition(1, "pay", "paid")
        await manager.close()

    asyncio.run(main())


def test_another_loop_thread_or_process_is_refused(run: Callable[..., Any]) -> None:
    """The error says what to do; the loop's own calls go on."""

    async def work(manager: AsyncInstanceManager) -> None:
        await manager.init_instance(Order, 1)
        with pytest.raises(RuntimeError, match="the event loop that it was started on"):
            await asyncio.to_thread(manager.transition_nowait, 1, "pay", "paid")
        with pytest.raises(RuntimeError, match="the event loop that it was started on"):
            await asyncio.to_thread(asyncio.run, manager.transition(1, "pay", "paid"))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                manager.transition_nowait(1, "pay", "paid")
            except RuntimeError as error:
                code = 0 if "this is its forked child" in str(error) else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, child, 0))[1]) == 0
        await manager.transition(1, "pay", "paid")
        assert steps(await manager.get_instance(1)) == [("pay", "paid")]

    run(work)


def test_a_manager_that_is_not_started_or_closed_refuses_calls(places: dict[str, Path]) -> None:
    """It starts once; a coroutine function is no on_message."""

    async def main() -> None:
        manager = AsyncInstanceManager(distribution_factor=1, **places)
        with pytest.raises(spex.ManagerClosed, match="not started"):
            manager.transition_nowait(1, "pay", "paid")
        async with manager:
            with pytest.raises(spex.ManagerClosed, match="starts once"):
                await manager.start()
        with pytest.raises(spex.ManagerClosed, match="closed"):
            await manager.flush()

    asyncio.run(main())

    async def on_message(_: Any) -> None: ...

    with pytest.raises(TypeError, match="on_message must be a plain function"):
        AsyncInstanceManager(on_message=on_message, **places)


def test_a_start_that_is_cancelled_leaves_nothing_running(places: dict[str, Path]) -> None:
    """The directory is free again afterwards."""

    async def main() -> None:
        task = asyncio.create_task(AsyncInstanceManager(distribution_factor=1, **places).start())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        another = AsyncInstanceManager(distribution_factor=1, **places)

        async def is_free() -> bool:
            try:
                await another.start()
            except spex.DataDirLocked:
                return False
            return True

        await until(is_free, "the directory is free")
        await another.init_instance(Order, 1)
        await another.close()

    asyncio.run(main())


@pytest.mark.long
def test_two_loops_use_the_shards_of_one_process(run: Callable[..., Any]) -> None:
    """`connect` attaches on another loop; closing it leaves the shards running."""

    async def work(manager: AsyncInstanceManager) -> None:
        async def elsewhere() -> None:
            async with await connect(manager.options["data_dir"]) as other:
                await other.init_instance(Order, 1)

        await asyncio.to_thread(asyncio.run, elsewhere())
        await manager.transition(1, "pay", "paid")

    run(work)


LEFT_OPEN = """
import asyncio, sys, warnings
import spex_shards as spex
from spex_shards.aio import AsyncInstanceManager

class Light(spex.Specification):
    name = "test.LeftOpen"
    transitions = [("red", "go", "green"), ("green", "stop", "red")]

async def main():
    manager = AsyncInstanceManager(data_dir=sys.argv[1], impl_models_dir=sys.argv[1] + "-models",
                                   distribution_factor=2, learning_mode=True)
    await manager.start()
    for number in range(500):
        manager.init_instance_nowait(Light, number)
    return manager

manager = asyncio.run(main())
"""


def test_a_loop_that_is_closed_without_a_close_hangs_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """At exit, what was posted is applied, the shards end, and a ResourceWarning tells what was forgotten."""
    script = tmp_path / "script.py"
    script.write_text(LEFT_OPEN)
    command = [sys.executable, "-X", "dev", str(script), str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0
    assert "ResourceWarning: the asyncio manager of" in done.stderr
    assert "Traceback" not in done.stderr
    with spex.ShardedInstanceManager(
        data_dir=tmp_path / "data", impl_models_dir=tmp_path / "data-models", distribution_factor=2
    ) as manager:
        assert len(manager.all_instances()) == 500


def test_a_manager_whose_loop_is_closed_can_be_closed_from_another(places: dict[str, Path]) -> None:
    """What was posted is applied, and the directory is free for the next manager."""
    manager = AsyncInstanceManager(**places, distribution_factor=1, learning_mode=True)

    async def use() -> None:
        await manager.start()
        await manager.init_instance(Order, 1)
        manager.init_instance_nowait(Order, 2)

    asyncio.run(use())
    asyncio.run(manager.close())
    asyncio.run(manager.close())
    with spex.ShardedInstanceManager(**places, distribution_factor=1) as again:
        assert [one.identifier for one in again.all_instances()] == [1, 2]


@pytest.mark.long
def test_nothing_is_amiss_in_the_debug_mode_of_asyncio(tmp_path: Path) -> None:
    """With all warnings as errors there is no word on stderr, through the death of a shard as well."""
    script = tmp_path / "script.py"
    script.write_text(
        LEFT_OPEN.replace("return manager", "await manager.flush(); await die(manager); await manager.close()").replace(
            "async def main", textwrap.dedent(
                """
                import os, signal
                async def die(manager):
                    os.kill((await manager.shards())[0].pid, signal.SIGKILL)
                    await asyncio.gather(*(manager.transition(n, "go", "green") for n in range(500)))
                async def main"""
            )
        )
    )  # fmt: skip
    command = [sys.executable, "-X", "dev", "-W", "error", str(script), str(tmp_path / "data")]
    environment = {**os.environ, "PYTHONASYNCIODEBUG": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment)
    slow = [line for line in done.stderr.splitlines() if "Executing <" not in line]
    assert (done.returncode, slow) == (0, [])


def test_calls_go_on_through_the_death_of_a_shard(run: Callable[..., Any]) -> None:
    """Those that wait get their answers from its successor, and each is applied once."""

    async def work(manager: AsyncInstanceManager) -> None:
        numbers = await identifiers_of(manager, 0, 50)
        pid = await shard_of(manager, 0)
        async with stopped(pid):
            tasks = [asyncio.create_task(manager.transition(number, "pay", "paid")) for number in numbers]
            await asyncio.sleep(0)
            os.kill(pid, signal.SIGKILL)
        await asyncio.gather(*tasks)
        wait_until(lambda: is_gone(pid), "the worker is gone")
        assert all(steps(instance) == [("pay", "paid")] for instance in await manager.all_instances())

    run(work)
