"""Signal handlers that post or raise in the middle of the asyncio manager's calls and of its loop's callbacks."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.aio import AsyncInstanceManager
from tests.manager.test_asynchronous import steps
from tests.support.contract_specs import Order

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("no_process_left")]
PACKAGE = spex.__path__[0] + "/"
CHANNEL = PACKAGE + "runtime/aio/loop_channel.py"


class Cut(Exception):
    """What the signal handler raises."""


@contextmanager
def alarms(handle: Callable[[FrameType | None], None]) -> Iterator[None]:
    """Within the block, call a function by a signal handler again and again, but never in the middle of itself."""

    def handler(_: int, frame: FrameType | None) -> None:
        try:
            handle(frame)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0009)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def opened(places: dict[str, Path]) -> AsyncInstanceManager:
    """Return a manager of two shards."""
    return AsyncInstanceManager(**places, distribution_factor=2, learning_mode=True, call_timeout=20.0)


def test_a_signal_handler_may_post_in_the_middle_of_a_call(places: dict[str, Path]) -> None:
    """Each post is applied once, in order, whatever it interrupts, and no call of the loop is lost."""

    async def main() -> None:
        async with opened(places) as manager:
            identifiers = ["signals", *range(50)]
            await asyncio.gather(*(manager.init_instance(Order, identifier) for identifier in identifiers))
            posted = 0

            def post(_: FrameType | None) -> None:
                nonlocal posted
                manager.transition_nowait("signals", "pay", str(posted))
                posted += 1

            with alarms(post):
                for step in range(40):
                    await asyncio.gather(*(manager.transition(n, "pay", str(step)) for n in identifiers[1:]))
            await manager.flush()
            assert posted > 20
            for identifier in identifiers:
                seen = [state for _, state in steps(await manager.get_instance(identifier))]
                assert seen == [str(number) for number in range(posted if identifier == "signals" else 40)]

    asyncio.run(main())


def test_an_exception_of_a_signal_handler_leaves_the_channels_whole(places: dict[str, Path]) -> None:
    """It cuts off calls and callbacks anywhere; each call is applied once, or at most once if it was cut off."""
    cut = 0

    def raise_inside(frame: FrameType | None) -> None:
        nonlocal cut
        if frame is None or not frame.f_code.co_filename.startswith(PACKAGE):
            return
        above: FrameType | None = frame
        while above is not None:
            if above.f_code.co_name == "__del__":
                return  # Python would only print it
            above = above.f_back
        cut += 1
        raise Cut

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: others.append(context) if not is_cut(context) else None)
        others: list[Any] = []
        certain: dict[int, list[str]] = {number: [] for number in range(60)}
        perhaps: dict[int, set[str]] = {number: set() for number in certain}

        async def observe(number: int) -> None:
            for step in map(str, range(100)):
                try:
                    await manager.transition(number, "pay", step)
                    certain[number].append(step)
                except Cut:
                    perhaps[number].add(step)

        async with opened(places) as manager:
            await asyncio.gather(*(manager.init_instance(Order, number) for number in certain))
            with alarms(raise_inside):
                await asyncio.gather(*(observe(number) for number in certain))
            await manager.flush()
            for number in certain:
                seen = [state for _, state in steps(await manager.get_instance(number))]
                assert seen == sorted(set(seen), key=int)
                assert [state for state in seen if state not in perhaps[number]] == certain[number]
        assert not others

    asyncio.run(main())
    assert cut > 5


def test_a_look_that_is_cut_off_before_it_has_begun_is_made_up_for(places: dict[str, Path]) -> None:
    """A callback has taken answers from the pipe, and is cut off before it wakes anybody; so is the look after that."""
    to_cut: list[str] = []

    def trace(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and to_cut and frame.f_code.co_name == to_cut[0] and frame.f_code.co_filename == CHANNEL:
            to_cut.pop(0)
            raise Cut

    async def main() -> None:
        def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            cuts.append(is_cut(context))
            sys.settrace(trace if to_cut else before)  # Python has switched it off, because it has raised

        asyncio.get_running_loop().set_exception_handler(note)
        cuts: list[bool] = []
        before = sys.gettrace()
        async with opened(places) as manager, asyncio.timeout(60):
            # If more arrives in the pipe after the first cut, a callback makes up for it, and nothing else is cut.
            for number in range(30):
                await manager.init_instance(Order, number)
                call = asyncio.ensure_future(manager.transition(number, "pay", "paid"))
                await asyncio.sleep(0)  # it is sent
                cuts.clear()
                to_cut[:] = ["_settle", "_expire"]
                try:
                    sys.settrace(trace)
                    await call
                finally:
                    sys.settrace(before)
                    to_cut.clear()
                assert steps(await manager.get_instance(number)) == [("pay", "paid")]
                if cuts == [True, True]:
                    break
        assert cuts == [True, True]

    asyncio.run(main())
    assert not to_cut


def is_cut(context: dict[str, Any]) -> bool:
    """Return whether the loop reports an exception of the signal handler."""
    return isinstance(context.get("exception"), Cut)
