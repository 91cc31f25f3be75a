"""Stops all workers within a time: asks them, waits for all together, terminates, kills, reports."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ..protocol.control import TO_WORKER, Drain
from ..protocol.wire import send_message
from ..system.waits import milliseconds
from .process import STOPPED, WorkerProcess

_TERMINATE: Final = 0.3


def stop_workers(
    workers: dict[int, WorkerProcess], within: float, ended: Callable[[int, str], None] = lambda *_: None
) -> list[str]:
    """Have the workers drain and end; return a text for each that did not stop by itself.

    This takes at most `within` seconds, plus 0.3 seconds each after SIGTERM and SIGKILL.

    Args:
        workers: The workers, by shard; empty when this returns.
        within: Seconds.
        ended: Called for each worker that has ended, with its shard and how it ended.
    """
    for worker in workers.values():
        with suppress(OSError):
            send_message(worker.control, TO_WORKER.plain(Drain()))
    abnormal = _wait_for(workers, time.monotonic() + within, ended, asked=True)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for worker in workers.values():
            os.kill(worker.pid, number)
        abnormal += _wait_for(workers, time.monotonic() + _TERMINATE, ended, asked=False)
    return abnormal


def _wait_for(
    workers: dict[int, WorkerProcess], deadline: float, ended: Callable[[int, str], None], *, asked: bool
) -> list[str]:
    abnormal = []
    poll = select.poll()
    for worker in workers.values():
        poll.register(worker.pidfd, select.POLLIN)
    while workers and time.monotonic() < deadline:
        poll.poll(milliseconds(deadline - time.monotonic()))
        for index, worker in list(workers.items()):
            how = worker.reap()
            if how is not None:
                ended(index, how)
                if how != STOPPED or not asked:
                    abnormal.append(f"shard {index} (pid {worker.pid}) did not stop by itself: {how}")
                poll.unregister(worker.pidfd)
                del workers[index]
                worker.close()
    return abnormal
