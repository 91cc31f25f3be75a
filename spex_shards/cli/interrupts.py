"""Ctrl-C at any time: one line and exit code 130, also while modules are imported. Imports nothing that takes time."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130


def quiet_interrupts() -> None:
    """From now on, end the process at Ctrl-C with one line and no traceback; except where it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell without job control ignores it
        signal.signal(signal.SIGINT, _end)


@contextmanager
def interruptible() -> Iterator[None]:
    """Within a ``with`` block, raise KeyboardInterrupt at Ctrl-C again, so that what was begun is undone."""
    if signal.getsignal(signal.SIGINT) is not _end or threading.current_thread() is not threading.main_thread():
        yield  # the program of someone else, or a test, which has a handler of its own
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, _end)


def _end(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)  # nothing is open yet, or everything is closed already
