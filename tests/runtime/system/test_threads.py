"""Threads whose end can be waited for in the middle of another such wait."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from typing import Any

from spex_shards.runtime.system.threads import Helper
from tests.support.processes import wait_until


def test_a_handler_that_waits_on_top_of_a_wait_does_not_wait_for_itself() -> None:
    """This holds at every moment of the outer wait, including its last steps, where `Thread.join` hangs."""
    for pause in range(60):
        reading, writing = os.pipe()
        thread = Helper(partial(os.read, reading, 1), "a helper")
        thread.start()
        nested: list[bool] = []

        def on_alarm(*_: Any, thread: Helper = thread, nested: list[bool] = nested, end: int = writing) -> None:
            os.write(end, b"x")  # the alarm may come before the thread was told to end
            nested.append(thread.wait(20))

        before = signal.signal(signal.SIGALRM, on_alarm)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0005 + pause * 0.00005)
            os.write(writing, b"x")
            assert thread.wait(20)
            wait_until(lambda nested=nested: nested, "the handler has run")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            os.close(reading)
            os.close(writing)
        assert nested == [True]
        assert not thread.is_running


def test_a_wait_can_end_before_the_thread_does() -> None:
    """With a limit, it returns that the thread still runs."""
    begin = threading.Event()
    thread = Helper(begin.wait, "a helper")
    assert not thread.is_running
    thread.start()
    started = time.monotonic()
    assert not thread.wait(0.1)
    assert time.monotonic() - started >= 0.1
    assert thread.is_running
    begin.set()
    assert thread.wait()
