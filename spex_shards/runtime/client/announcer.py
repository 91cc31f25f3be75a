"""The daemon thread that logs, so that no other thread waits for the application's log handlers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final

from ...log_fields import about
from ..system.threads import Helper
from .call_site import emit

MOST_WAITING: Final = 1000
"""The most records that may wait.

Beyond that, no more are read from the shards, and errors of this process are only counted.
"""
_FEW: Final = 100
_CONFIRM_EVERY: Final = 0.05
logger = logging.getLogger("spex_shards")


class Announcer:
    """Hands log records to the application's logging, in order.

    Args:
        confirm: Called with a shard and the number up to which its reports are logged.
        resume: Called when there is room again after `full` was true.
    """

    def __init__(self, confirm: Callable[[int, int], None], resume: Callable[[], None]) -> None:
        self._confirm = confirm
        self._resume = resume
        # A SimpleQueue, because a signal handler may call `put` in the middle of another `put` of the same thread.
        self._waiting: SimpleQueue[tuple[Any, ...] | None] = SimpleQueue()
        self._left_out = 0
        self._was_full = False
        self._thread: Helper | None = None

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: The system gives no thread.
        """
        thread = Helper(self._run, "spex-shards-log")
        thread.start()
        self._thread = thread

    @property
    def is_running(self) -> bool:
        """Whether the thread was started and has not ended."""
        return self._thread is not None and self._thread.is_running

    @property
    def full(self) -> bool:
        """Whether too many records wait, so that no more must be read from the shards for now."""
        if self._waiting.qsize() < MOST_WAITING:
            return False
        self._was_full = True
        return True

    def say(self, text: str, fields: dict[str, Any]) -> None:
        """Log an error of this process, with the fields of its record; if too many records wait, only count it."""
        if self._waiting.qsize() < MOST_WAITING:
            self._waiting.put((text, fields))
        else:
            self._left_out += 1

    def pass_on(self, shard: int, pid: int, record: Any, *, report: int) -> None:
        """Log a record of a shard.

        Args:
            shard: The shard's index.
            pid: The worker's process id.
            record: The record as the shard sent it.
            report: The record's report number, which is confirmed to the shard once it is logged; 0: it has none.
        """
        self._waiting.put((shard, pid, record, report))

    def close(self, within: float) -> None:
        """Log the waiting records, and end the thread; after `within` seconds, the rest is left to the thread."""
        self._waiting.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.wait(within)

    def _run(self) -> None:
        unconfirmed: dict[int, int] = {}
        confirmed = time.monotonic()
        while (item := self._waiting.get()) is not None:
            if len(item) == 2:
                self._say(*item)
            else:
                shard, pid, record, report = item
                _emit(record, shard, pid)
                if report:
                    unconfirmed[shard] = report
            few = self._waiting.qsize() < _FEW
            # Confirm also while records keep waiting: if this process is killed, few reports are logged twice.
            if unconfirmed and (self._waiting.empty() or time.monotonic() - confirmed > _CONFIRM_EVERY):
                while unconfirmed:
                    self._confirm(*unconfirmed.popitem())
                confirmed = time.monotonic()
            if few and self._was_full:
                self._was_full = False
                self._resume()
        for shard, upto in unconfirmed.items():
            self._confirm(shard, upto)

    def _say(self, text: str, fields: dict[str, Any]) -> None:
        with suppress(Exception):
            logger.error("%s", text, extra=fields)
            left_out, self._left_out = self._left_out, 0
            if left_out:
                fields = about("errors_left_out", count=left_out)
                logger.error("%d more errors were not logged one by one", left_out, extra=fields)


def _emit(record: Any, shard: int, pid: int) -> None:
    try:
        emit(record, shard, pid, called_here=False)
    except Exception:  # a log filter of the application may raise anything: the thread must go on
        with suppress(Exception):
            fields = about("record_lost", shard=shard)
            logger.exception("an event of shard %d could not be delivered", shard, extra=fields)
