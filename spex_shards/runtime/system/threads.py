"""Threads whose end may be waited for in the middle of waiting for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

_LOOK_EVERY: Final = 0.05


class Helper(threading.Thread):
    """A daemon thread.

    `Thread.join` and `Thread.is_alive` take a lock and give it back: a signal handler that runs between the two, and
    joins as well, would wait for the very call that it interrupts. `wait` trusts a flag, and looks at it again.

    Args:
        work: What it does.
        name: Its name.

    Attributes:
        ended: Whether its work is done.
    """

    def __init__(self, work: Callable[[], None], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._at_work = threading.Lock()
        self._at_work.acquire()
        self.ended = False

    def run(self) -> None:
        """Do the work."""
        try:
            self._work()
        finally:
            self.ended = True  # before anybody is woken
            self._at_work.release()

    @property
    def is_running(self) -> bool:
        """Whether it was started, and has not ended."""
        return self.ident is not None and not self.ended

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it has ended, or so many seconds (None: as long as it takes); return whether it has."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self.ended:
            left = _LOOK_EVERY if deadline is None else min(_LOOK_EVERY, deadline - time.monotonic())
            if left <= 0:
                return False
            if self._at_work.acquire(timeout=left):
                self._at_work.release()
        self.join(_LOOK_EVERY)  # so that it counts no more; whoever comes in the middle of this loses a moment
        return True
