"""Threads that a signal handler can wait for while the same thread is already waiting for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

_LOOK_EVERY: Final = 0.05


class Helper(threading.Thread):
    """A daemon thread with a `wait` that can be called again while it is running.

    `Thread.join` and `Thread.is_alive` take a lock and release it. A signal handler that runs between the two, and
    joins as well, would wait for the very call that it interrupts. `wait` relies on the flag `ended` instead, which it
    checks again every 50 ms.

    Args:
        work: The function to run.
        name: The thread's name.

    Attributes:
        ended: Whether `work` has returned or raised.
    """

    def __init__(self, work: Callable[[], object], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._at_work = threading.Lock()
        self._at_work.acquire()
        self.ended = False

    def run(self) -> None:
        """Call `work`."""
        try:
            self._work()
        finally:
            self.ended = True  # set before the lock wakes the waiting threads, since they check it
            self._at_work.release()

    @property
    def is_running(self) -> bool:
        """Whether the thread was started and has not ended."""
        return self.ident is not None and not self.ended

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the thread has ended, up to `seconds` (None: without limit); return whether it has."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self.ended:
            left = _LOOK_EVERY if deadline is None else min(_LOOK_EVERY, deadline - time.monotonic())
            if left <= 0:
                return False
            if self._at_work.acquire(timeout=left):
                self._at_work.release()
        if self.ident is not None:  # else it could not be started
            # It clears Python's list of threads; a call that interrupts this one loses 50 ms at most.
            self.join(_LOOK_EVERY)
        return True
