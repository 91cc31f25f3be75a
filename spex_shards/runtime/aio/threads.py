"""Runs what must wait on a thread of its own, so that no event loop waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ..system.threads import Helper

_Result = TypeVar("_Result")
_NAME = "spex-shards-aio"


async def in_thread(work: Callable[[], _Result], undo: Callable[[_Result], object] = lambda _: None) -> _Result:
    """Call `work` on a thread of its own, and return its result.

    The thread is a daemon, and not one of the loop's executor: that may be full of the application's work, and Python
    waits for its threads at exit.

    Args:
        work: Called once. If the waiting task is cancelled, it goes on.
        undo: Called with the result, on a thread, if the task was cancelled or the loop closed meanwhile.

    Raises:
        RuntimeError: The system gives no thread.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Result] = loop.create_future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            _tell(loop, partial(failed, error))
        else:
            if not _tell(loop, partial(done, result)):
                undo(result)

    def failed(error: BaseException) -> None:
        if not future.done():
            future.set_exception(error)

    def done(result: _Result) -> None:
        if future.done():
            Helper(partial(undo, result), _NAME).start()
        else:
            future.set_result(result)

    Helper(run, _NAME).start()
    return await future


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> bool:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:  # the loop is closed
        return False
    return True
