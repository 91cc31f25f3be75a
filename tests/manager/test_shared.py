"""Equal processes on one data directory: one serves it, the others attach, and take over when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.audit import verify
from spex_shards.manager import SharedInstanceManager
from tests.programs.chaos.books import Books
from tests.programs.chaos.specs import Chain
from tests.support.helper_specs import Door
from tests.support.places import LONG, ROOT
from tests.support.processes import is_gone, wait_until
from tests.support.serving import server_of, supervisor_of

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]
KILLS = 20 if LONG else 2


class Equals:
    """Some processes that share a data directory, each with a journal; one that has ended is replaced."""

    def __init__(self, folder: Path, count: int) -> None:
        self.data = folder / "data"
        self.journals = folder / "journals"
        self.journals.mkdir()
        self._made = 0
        self.running = [self._start() for _ in range(count)]

    def _start(self) -> subprocess.Popen[bytes]:
        self._made += 1
        name = f"p{self._made}"
        command = [sys.executable, "-m", "tests.support.sharing_app", str(self.data)]
        return subprocess.Popen([*command, str(self.journals / f"{name}.journal"), name], cwd=ROOT)

    def serving(self) -> subprocess.Popen[bytes] | None:
        """Return the process that serves the directory now."""
        server = server_of(self.data)
        return next((process for process in self.running if process.pid == server), None)

    def replace(self, process: subprocess.Popen[bytes], number: int) -> None:
        """End a process by a signal, and start another."""
        process.send_signal(number)
        process.wait(60)
        self.running[self.running.index(process)] = self._start()

    def acknowledged(self) -> int:
        """Return how many observations are acknowledged by now."""
        return sum(path.read_text().count("\na ") for path in self.journals.glob("*.journal"))

    def close(self) -> None:
        """Have all processes close their managers, one after the other."""
        for process in self.running:
            process.terminate()
            process.wait(60)


def test_whoever_serves_is_killed_and_every_history_is_exact(tmp_path: Path) -> None:
    """By SIGKILL, by SIGTERM with a close, or its supervisor alone; no call fails, nothing is lost or doubled."""
    random = Random(11)
    equals = Equals(tmp_path, 3)
    try:
        for kill in range(KILLS):
            serving = wait_until(equals.serving, "one process serves")
            seen = equals.acknowledged()
            wait_until(lambda seen=seen: equals.acknowledged() > seen + 20, "all go on")
            time.sleep(random.uniform(0, 0.1))  # at any moment
            if kill % 4 == 3:
                supervisor = wait_until(lambda: supervisor_of(equals.data), "a supervisor runs")
                os.kill(supervisor, signal.SIGKILL)
                wait_until(lambda pid=supervisor: supervisor_of(equals.data) not in (0, pid), "there is another")
            else:
                equals.replace(serving, random.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
        seen = equals.acknowledged()
        wait_until(lambda: equals.acknowledged() > seen, "the rest goes on")
    finally:
        equals.close()
    assert verify(equals.data) == []
    books = Books(equals.journals)
    with spex.ShardedInstanceManager(data_dir=equals.data, distribution_factor=2) as manager:
        stored = {
            instance.identifier: [entry.to_state for entry in instance.history]
            for instance in manager.all_instances(Chain)
        }
    found = books.balance(stored, gaps=False)
    assert {name: count for name, count in found.items() if count} == {}
    assert books.uncertain == {}
    assert sum(map(len, books.told.values())) > 20 * KILLS


@contextmanager
def shared(places: dict[str, Path], **options: Any) -> Iterator[SharedInstanceManager]:
    """Return a started manager of the kind that the default manager is with ``manager="sharded"``."""
    fixed = {"distribution_factor": 2, "learning_mode": True, "call_timeout": 20}
    with SharedInstanceManager(**{**places, **fixed, **options}) as manager:
        yield manager


def test_the_first_serves_and_a_later_one_attaches_and_takes_over(places: dict[str, Path]) -> None:
    """Also two managers of one process; neither waits for the lock, and a close hands the directory over."""
    with shared(places) as second_to_last:
        first = SharedInstanceManager(**places, distribution_factor=2, call_timeout=20)
        second_to_last.init_instance(Door, 1)
        before = time.monotonic()
        first.start()
        assert time.monotonic() - before < 2.5  # a lock that is held would be waited for 3 s
        first.transition(1, "open", "opened")
        supervisor = supervisor_of(places["data_dir"])
        second_to_last.close()
        assert is_gone(supervisor)
        assert first.get_instance(1).current_state == "opened"
        assert supervisor_of(places["data_dir"]) not in (0, supervisor)
        first.close()
        assert supervisor_of(places["data_dir"]) == 0


def test_a_candidate_without_a_call_takes_over_as_well(places: dict[str, Path]) -> None:
    """Timeouts must be reported; but it leaves others some time, so that a common end is no relay."""
    with shared(places) as idle, shared(places) as other:
        other.init_instance(Door, 1)
        server = idle if idle.transport.ownership.is_serving else other
        heir = other if server is idle else idle
        server.close()
        assert not heir.transport.ownership.is_serving
        wait_until(lambda: heir.transport.ownership.is_serving, "it takes over by itself")
        assert heir.get_instance(1).current_state == "closed"


@pytest.mark.long
def test_a_supervisor_without_a_sign_of_life_is_replaced(places: dict[str, Path]) -> None:
    """By the process that serves, as an owner does."""
    with shared(places, hang_timeout=0.5) as manager, shared(places) as other:
        stopped = wait_until(lambda: supervisor_of(places["data_dir"]), "a supervisor runs")
        os.kill(stopped, signal.SIGSTOP)
        wait_until(lambda: supervisor_of(places["data_dir"]) not in (0, stopped), "there is another")
        for client in (manager, other):
            client.init_instance(Door, id(client))


def test_another_number_of_shards_is_the_same_error_as_ever(places: dict[str, Path]) -> None:
    """While the directory is served, and while it is not."""
    with shared(places) as manager:
        with pytest.raises(spex.LayoutMismatch, match="made for 2 shards, not 3"):
            SharedInstanceManager(**places, distribution_factor=3).start()
        manager.init_instance(Door, 1)
    with pytest.raises(spex.LayoutMismatch, match="made for 2 shards, not 3"):
        SharedInstanceManager(**places, distribution_factor=3).start()


def test_a_directory_that_is_open_and_not_served_is_an_error(places: dict[str, Path]) -> None:
    """As of an in-process manager, here or in another process, which might be about to end."""
    with spex.SimpleInstanceManager(**places):
        with pytest.raises(spex.DataDirLocked, match="open already, by an in-process manager"):
            SharedInstanceManager(**places, distribution_factor=1).start()
        pid = os.fork()
        if pid == 0:
            with pytest.raises(spex.DataDirLocked, match=f"belongs to process {os.getppid()}, whose in-process"):
                SharedInstanceManager(**places, distribution_factor=1).start()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0


def test_what_prevents_a_start_is_told_at_once(places: dict[str, Path]) -> None:
    """Such as a damaged layout record."""
    places["data_dir"].mkdir(mode=0o700)
    (places["data_dir"] / "layout").write_bytes(b"nothing")
    with pytest.raises(spex.DataDirError, match="layout record is damaged"):
        SharedInstanceManager(**places, distribution_factor=1).start()


def test_a_forked_child_takes_over_from_its_parent(places: dict[str, Path], tmp_path: Path) -> None:
    """Though it holds copies of everything that its parent had open when it was forked."""
    script = f"""
import os, signal, sys
import spex_shards as spex
from tests.support.helper_specs import Door
spex.configure(manager="sharded", data_dir={str(places["data_dir"])!r}, distribution_factor=2, learning_mode=True,
               call_timeout=20, mode="enforce")
spex.init_instance(Door, "parent")
ready, told = os.pipe()
if os.fork() == 0:
    spex.init_instance(Door, "child")
    os.write(told, b"x")
    import time
    while os.getppid() == {{parent}}:
        time.sleep(0.005)
    for number in range(50):
        spex.init_instance(Door, number)
    print(len(spex.all_instances()), flush=True)
    sys.exit()
os.read(ready, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    script = script.replace("{parent}", "parent").replace("ready, told", "parent = os.getpid()\nready, told")
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("52\n", -signal.SIGKILL)
    wait_until(lambda: supervisor_of(places["data_dir"]) == 0, "the directory is free")


def test_a_forked_child_that_observes_nothing_starts_nothing_at_its_end(places: dict[str, Path]) -> None:
    """Its exit is that of a process without a manager, even when nobody serves the directory any more."""
    manager = SharedInstanceManager(**places, distribution_factor=1, call_timeout=20).start()
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(ready, 1)
        manager.close()
        os._exit(0)
    manager.close()
    before = (places["data_dir"] / "lock").stat().st_mtime_ns
    os.write(go, b"x")
    assert os.waitpid(pid, 0)[1] == 0
    assert (places["data_dir"] / "lock").stat().st_mtime_ns == before
    os.close(ready)
    os.close(go)
