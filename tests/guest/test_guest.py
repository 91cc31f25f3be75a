"""The library as a guest: slow log handlers, endless failures, and no thread."""

from __future__ import annotations

import logging
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.runtime.client.failures import FIRST, NEWEST, Failures
from tests.support.processes import is_gone, wait_until

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]


class Door(spex.Specification):
    """A door."""

    name = "guest.Door"
    transitions = [("closed", "open", "opened"), ("opened", "close", "closed")]


@contextmanager
def slow_log(wait: Callable[[], Any]) -> Iterator[list[str]]:
    """Delay each log record of the library; return the records that were logged."""
    logged: list[str] = []

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            wait()
            logged.append(record.getMessage())

    handler = Slow()
    logger = logging.getLogger("spex_shards")
    logger.addHandler(handler)
    try:
        yield logged
    finally:
        logger.removeHandler(handler)


def test_a_slow_log_handler_holds_nobody_up(places: dict[str, Path]) -> None:
    """After the deaths of a worker and the supervisor, while no record can be logged, calls are answered as usual."""
    go_on = threading.Event()
    with (
        slow_log(lambda: go_on.wait(100)) as logged,
        spex.ShardedInstanceManager(
            **places, distribution_factor=2, learning_mode=True, call_timeout=20.0, max_restarts=100
        ) as manager,
    ):
        for number in range(8):
            manager.init_instance(Door, number)
        for _ in range(10):
            manager.transport.say("something to log", "other")
        for pid in (manager.shards()[0].pid, manager.transport.ownership.pid):
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: is_gone(pid), "it is gone")
            for number in range(8):
                manager.transition(number, "open", "opened")
        assert not any("died" in text for text in logged)
        go_on.set()
        wait_until(lambda: any("died" in text for text in logged), "it is logged all the same")


def test_failures_that_nobody_asks_for_take_a_bounded_room() -> None:
    """The first and the newest are kept, and their number."""
    failures = Failures()
    for number in range(200_000):
        failures.add(number)
    kept, missing = failures.take()
    assert kept == [*range(FIRST), *range(200_000 - NEWEST, 200_000)]
    assert missing == 200_000 - FIRST - NEWEST
    assert failures.take() == ([], 0)
    assert failures.total == 200_000


@pytest.mark.long
def test_observations_that_fail_without_end_cost_no_memory_and_are_told_at_the_flush(places: dict[str, Path]) -> None:
    """After twenty thousand failures the group has the first and newest errors, and one that counts the rest."""
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True, call_timeout=20.0) as manager:
        manager.init_instance(Door, 1)
        pid = manager.shards()[0].pid
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))
        with slow_log(lambda: None):
            for _ in range(20_000):
                manager.transition_nowait(1, "open", "opened" * 20)
            with pytest.raises(ExceptionGroup) as caught:
                manager.flush(60)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        errors = caught.value.exceptions
        assert len(errors) <= FIRST + NEWEST + 1
        more = errors[-1]
        assert "more observations for shard 0 could not be applied" in str(more)
        assert isinstance(more, spex.SpexError)
        failed = more.context["more"] + len(errors) - 1
        assert manager.stats()[0]["unapplied"] == failed
        assert len(manager.get_instance(1).history) == 1 + 20_000 - failed


@pytest.mark.parametrize("cls", [spex.SimpleInstanceManager, spex.ShardedInstanceManager])
def test_a_manager_that_gets_no_thread_says_so_and_leaves_nothing_behind(
    cls: Any, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be started again when there is a thread."""
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name.startswith("spex-shards"):
            raise RuntimeError("can't start new thread")
        start(thread)

    manager = cls(**places, distribution_factor=1, learning_mode=True)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(spex.SpexError, match="cannot start the threads"):
            manager.start()
    with manager:
        manager.init_instance(Door, 1)


def test_threads_that_messages_need_are_there_before_the_first_message(places: dict[str, Path]) -> None:
    """So a message never needs a new thread."""
    with spex.SimpleInstanceManager(**places, learning_mode=True, on_message=lambda _: None):
        assert {"spex-shards-messages", "spex-shards-keeper"} <= {thread.name for thread in threading.enumerate()}
