"""Reports of shards (log records without a request) to applications that are slow, close, or die."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from tests.support.places import ROOT
from tests.support.processes import wait_until

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]
MANY = 2000


class Fuse(spex.Specification):
    """Its instances time out soon."""

    name = "tests.Fuse"
    transitions = [("lit", "go", "off")]
    transition_timeout = 0.3


@contextmanager
def listening(heard: Callable[[str], None]) -> Iterator[None]:
    """Call `heard` with each logged missed transition."""

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if "longer than its transition timeout" in text:
                heard(text.partition("instance ")[2].partition(" of ")[0])

    logger = logging.getLogger("spex_shards")
    ear = Ear()
    logger.addHandler(ear)
    before, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.removeHandler(ear)
        logger.propagate = before


def owner(places: dict[str, Path]) -> spex.ShardedInstanceManager:
    """Return a manager of one shard."""
    return spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True, call_timeout=20)


def light(places: dict[str, Path], heard: Counter[str]) -> None:
    """Create instances whose timeouts fall due later."""
    with listening(lambda who: heard.update([who])), owner(places) as manager:
        for number in range(MANY):
            manager.init_instance_nowait(Fuse, number)


def hear_all(places: dict[str, Path], heard: Counter[str], before: Path | None = None) -> None:
    """Listen until every timeout was reported."""

    def names() -> set[str]:
        return {*heard, *(before.read_text().split() if before else ())}

    with listening(lambda who: heard.update([who])), owner(places):
        wait_until(lambda: len(names()) == MANY, "all timeouts are heard of", within=60)


def test_a_manager_that_closes_while_reports_are_on_their_way_leaves_the_rest_for_the_next(
    places: dict[str, Path],
) -> None:
    """Each timeout is logged once over both runs."""
    heard: Counter[str] = Counter()
    light(places, heard)
    busy = sum(heard.values())
    with listening(lambda who: (heard.update([who]), time.sleep(0.001))[0]), owner(places):
        wait_until(lambda: sum(heard.values()) > busy + 50, "some are heard of")
    assert len(heard) < MANY
    hear_all(places, heard)
    assert set(heard.values()) == {1}


def test_what_an_application_had_not_logged_when_it_was_killed_is_logged_by_the_next(
    places: dict[str, Path], tmp_path: Path
) -> None:
    """Nothing is lost, few are logged twice, and calls are answered while logging is slow."""
    heard: Counter[str] = Counter()
    light(places, heard)
    noted = tmp_path / "noted"
    script = f"""
import os, sys, time
from tests.runtime.client.test_reports import Fuse, listening, owner
file = open({str(noted)!r}, "a")
def note(who):
    print(who, file=file, flush=True)
    time.sleep(0.002)
with listening(note):
    manager = owner({ {name: str(path) for name, path in places.items()}!r}).start()
    while os.stat({str(noted)!r}).st_size < 1000:
        manager.try_transition(1, "go", "off")
    print("called", flush=True)
    sys.stdin.readline()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as application:
        assert application.stdout is not None
        assert application.stdout.readline() == "called\n"
        os.kill(application.pid, signal.SIGKILL)
    hear_all(places, heard, noted)
    twice = (heard + Counter(noted.read_text().split())).total() - MANY
    assert twice <= 1 + 300  # it was in state "off" as well, and what a portion has


def test_records_of_a_shard_that_a_filter_chokes_on_are_confirmed_all_the_same(places: dict[str, Path]) -> None:
    """A filter that raises loses its own record, but not the others."""
    calls: list[str] = []

    def choke(who: str) -> None:
        calls.append(who)
        raise ZeroDivisionError(who)

    with listening(lambda who: None), owner(places) as manager:
        logger = logging.getLogger("spex_shards")

        def filtering(record: logging.LogRecord) -> Any:
            if "longer than" in record.getMessage():
                choke(record.getMessage())
            return True

        logger.addFilter(filtering)
        try:
            for number in range(5):
                manager.init_instance(Fuse, number)
            wait_until(lambda: len(calls) >= 5, "all are logged")
            manager.flush()
        finally:
            logger.removeFilter(filtering)
    with listening(calls.append), owner(places) as manager:
        manager.flush()
        assert len(calls) == 5
