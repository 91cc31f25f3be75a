"""The signals that stop a server: they interrupt its start, and end its wait."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Terminated(KeyboardInterrupt):
    """SIGTERM has come before the server was ready."""


class StopSignals:
    """SIGTERM and SIGINT, for the main thread.

    Until `hold` is called, the first of them raises, so that whatever is begun is undone. After that it is only noted.
    """

    def __init__(self) -> None:
        self.told: int | None = None
        self._held = False

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Within a ``with`` block, handle the signals."""
        self._wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # By a descriptor, because another thread may get the signal, and this one would sleep on.
        waker_before = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        before = {number: signal.signal(number, self._note) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(waker_before)
            os.close(self._wake)
            os.close(waker)

    def hold(self) -> None:
        """From now on, only note signals."""
        self._held = True

    def wait(self, seconds: float) -> bool:
        """Wait for a signal, at most so long; return whether one has come."""
        if self.told is None and select.select([self._wake], [], [], seconds)[0]:
            os.read(self._wake, 64)
        return self.told is not None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.told = number
        if not self._held:
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
