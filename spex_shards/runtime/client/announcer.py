"""The daemon thread that logs: whatever a log handler of the application's does, nobody else waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final

from ..system.threads import Helper
from .call_site import emit

MOST_WAITING: Final = 1000
"""So many records may wait: then no further ones are read from the shards, and own ones are counted instead."""
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
        # Its `put` may be called in the middle of another `put` of the same thread, as by a signal handler.
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
        """Whether the thread has not ended."""
        return self._thread is not None and self._thread.is_running

    @property
    def full(self) -> bool:
        """Whether no more records are to be read from the shards for now."""
        if self._waiting.qsize() < MOST_WAITING:
            return False
        self._was_full = True
        return True

    def say(self, text: str) -> None:
        """Log an error of this process; when too many wait, only their number."""
        if self._waiting.qsize() < MOST_WAITING:
            self._waiting.put((text,))
        else:
            self._left_out += 1

    def pass_on(self, shard: int, pid: int, record: Any, *, report: int) -> None:
        """Log a record of a shard; the report of that number is confirmed to the shard (0: it is none)."""
        self._waiting.put((shard, pid, record, report))

    def close(self, within: float) -> None:
        """Log what waits, and end the thread; what is not logged within so many seconds is left to the thread."""
        self._waiting.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.wait(within)

    def _run(self) -> None:
        unconfirmed: dict[int, int] = {}
        confirmed = time.monotonic()
        while (item := self._waiting.get()) is not None:
            if len(item) == 1:
                self._say(item[0])
            else:
                shard, pid, record, report = item
                _emit(record, shard, pid)
                if report:
                    unconfirmed[shard] = report
            few = self._waiting.qsize() < _FEW
            # Between what takes long as well: if this process is killed, little is reported twice.
            if unconfirmed and (self._waiting.empty() or time.monotonic() - confirmed > _CONFIRM_EVERY):
                while unconfirmed:
                    self._confirm(*unconfirmed.popitem())
                confirmed = time.monotonic()
            if few and self._was_full:
                self._was_full = False
                self._resume()
        for shard, upto in unconfirmed.items():
            self._confirm(shard, upto)

    def _say(self, text: str) -> None:
        with suppress(Exception):
            logger.error("%s", text)
            left_out, self._left_out = self._left_out, 0
            if left_out:
                logger.error("%d more errors were not logged one by one", left_out)


def _emit(record: Any, shard: int, pid: int) -> None:
    try:
        emit(record, shard, pid, called_here=False)
    except Exception:  # a log filter of the application's may raise anything: the thread goes on
        with suppress(Exception):
            logger.exception("an event of shard %d could not be delivered", shard)
