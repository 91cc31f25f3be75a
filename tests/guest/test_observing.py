"""A monitor in the mode "observe" never harms the program that it watches, whatever happens to its processes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.formats.model_files import write_model
from tests.support.contract_specs import Order, model
from tests.support.processes import is_gone, kill_worker, wait_until

pytestmark = pytest.mark.process
WAIT = 0.05
"""The `observe_timeout` of these tests."""


def observing(places: dict[str, Path], **options: Any) -> Any:
    """Return a manager that observes; nothing but a signal restarts its processes."""
    fixed = {"distribution_factor": 2, "learning_mode": True, "mode": "observe", "observe_timeout": WAIT}
    return spex.ShardedInstanceManager(**{**places, **fixed, "hang_timeout": None, **options})


def wait_for_channels(manager: Any) -> None:
    """Use each channel once, so that it is open."""
    manager.stats()


@contextmanager
def stopped(*pids: int | None) -> Iterator[None]:
    """Stop processes within a ``with`` block."""
    for pid in pids:
        os.kill(pid or 0, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            if not is_gone(pid or 0):
                os.kill(pid or 0, signal.SIGCONT)


def observe_orders(manager: Any, numbers: range) -> float:
    """Observe two steps of each order; return the seconds of the longest call."""
    longest = 0.0
    for number in numbers:
        before = time.monotonic()
        manager.init_instance(Order, number)
        between = time.monotonic()
        manager.transition(number, "pay", "paid")
        longest = max(longest, between - before, time.monotonic() - between)
    return longest


def applied(manager: Any) -> int:
    """Return how many observations the shards have applied, after everything that was sent."""
    manager.flush(60)
    return sum(len(instance.history) for instance in manager.iter_instances())


@pytest.mark.parametrize("what", ["the supervisor is stopped", "the supervisor is killed", "a shard is stopped"])
def test_two_hundred_calls_wait_once_and_raise_nothing_and_are_all_counted(
    places: dict[str, Path], no_process_left: None, what: str
) -> None:
    """What was late is applied exactly once when the processes go on."""
    with observing(places) as manager:
        wait_for_channels(manager)
        supervisor, workers = manager.transport.ownership.pid, [shard.pid for shard in manager.shards()]
        pids = [workers[0]] if "shard" in what else [supervisor]
        with stopped(*pids):
            if "killed" in what:
                os.kill(supervisor, signal.SIGKILL)
                wait_until(lambda: all(map(is_gone, workers)), "the shards are gone as well")
            began = time.monotonic()
            observe_orders(manager, range(100))
            took = time.monotonic() - began
            losses = manager.losses()
        assert took < 100 * WAIT  # one wait for each shard, and not one for each call
        assert losses.kept + losses.late == 200
        assert (losses.lost, losses.refused, losses.deviations) == (0, {}, 0)
        if "shard" in what:
            assert losses.late > 0
            assert losses.kept > 0
        if "killed" in what:
            assert losses.late > 0
        assert applied(manager) == 200
        observe_orders(manager, range(100, 103))
        assert applied(manager) == 206
        assert manager.losses()._replace(kept=0, late=0) == spex.Losses()


@pytest.mark.parametrize("waits", [True, False], ids=["blocking", "nowait"])
def test_what_a_full_window_does_not_take_is_lost_and_counted(
    places: dict[str, Path], waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Memory is bounded: the window takes 50, and no call waits for more once one has waited in vain."""
    with observing(places, distribution_factor=1, max_unacknowledged=50) as manager:
        manager.init_instance(Order, 0)
        [shard] = manager.shards()
        call = manager.transition if waits else manager.transition_nowait
        with stopped(shard.pid), caplog.at_level(logging.WARNING, "spex_shards"):
            began = time.monotonic()
            for number in range(300):
                call(0, "step", str(number))
            assert time.monotonic() - began < 100 * WAIT
            assert manager.losses() == spex.Losses(kept=1, late=50 if waits else 0, posted=0 if waits else 50, lost=250)
        assert len(caplog.records) == 1
        assert applied(manager) == 51
        manager.transition(0, "pay", "paid")
        assert manager.losses().kept == 2


def test_a_late_deviation_is_logged_and_counted_when_its_answer_comes(
    places: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """So is a late refusal; nobody waits for either, and nothing is told twice."""
    write_model(places["impl_models_dir"], model(Order, ("new", "pay", "paid"), ("paid", "ship", "shipped")))
    with observing(places, distribution_factor=1, learning_mode=False) as manager:
        manager.init_instance(Order, 1)
        [shard] = manager.shards()
        with stopped(shard.pid):
            manager.transition(1, "ship", "shipped")
            manager.init_instance(Order, 1)
        caplog.clear()
        manager.flush(60)
        losses = manager.losses()
        assert (losses.kept, losses.late, losses.deviations) == (1, 2, 1)
        assert losses.refused == {"IdentifierInUse": 1}
        wait_until(lambda: len(caplog.records) >= 2, "both are logged")
        manager.close()
        texts = [record.getMessage() for record in caplog.records]
        assert sum("which its model does not know" in text for text in texts) == 1
        assert sum("cannot get an instance 1: there is one already" in text for text in texts) == 1
        assert sum("observations of process" in text for text in texts) == len(texts) - 2 <= 1  # the last late one


def test_a_forked_child_waits_for_no_supervisor(places: dict[str, Path]) -> None:
    """It attaches without waiting; what it observes meanwhile is late, and applied when the supervisor goes on."""
    with observing(places) as manager:
        manager.init_instance(Order, "parent")
        ready, go = os.pipe(), os.pipe()
        with stopped(manager.transport.ownership.pid):
            child = os.fork()
            if child == 0:
                began = time.monotonic()
                observe_orders(manager, range(20))
                quick, losses = time.monotonic() - began < 20 * WAIT, manager.losses()
                os.write(ready[1], b"x")
                os.read(go[0], 1)
                manager.flush(60)
                os._exit(0 if quick and losses == spex.Losses(late=40) else 1)
            assert os.read(ready[0], 1) == b"x"
        os.write(go[1], b"x")
        assert os.waitpid(child, 0)[1] == 0
        assert applied(manager) == 41
        for descriptor in (*ready, *go):
            os.close(descriptor)


@pytest.mark.long
def test_threads_and_dying_shards_leave_no_observation_uncounted(places: dict[str, Path]) -> None:
    """Each observation is kept or late, and is applied exactly once."""
    with observing(places, max_restarts=1000) as manager:
        numbers = [range(start, start + 150) for start in range(0, 600, 150)]
        threads = [threading.Thread(target=observe_orders, args=(manager, part)) for part in numbers]
        for thread in threads:
            thread.start()
        for _ in range(4):
            wait_until(lambda: manager.shards()[0].status is spex.ShardStatus.READY, "the shard is ready")
            kill_worker(manager, 0)
        for thread in threads:
            thread.join(60)
        losses = manager.losses()
        assert losses.kept + losses.late == 1200
        assert losses._replace(kept=0, late=0) == spex.Losses()
        assert applied(manager) == 1200


@pytest.mark.long
def test_a_shard_that_is_given_up_costs_its_observations_only(places: dict[str, Path]) -> None:
    """They are lost; the other shard's are kept; after `revive` all are kept again."""
    with observing(places, max_restarts=0, retry_failed=None) as manager:
        wait_for_channels(manager)
        kill_worker(manager, 0)
        wait_until(lambda: manager.shards()[0].status is spex.ShardStatus.FAILED, "the shard is given up")
        began = time.monotonic()
        observe_orders(manager, range(100))
        assert time.monotonic() - began < 100 * WAIT
        losses = manager.losses()
        assert losses.kept > 0
        assert losses.lost + losses.refused.get("ShardFailed", 0) >= 1
        assert losses.kept + losses.late + losses.lost == 200
        manager.revive(0)
        assert applied(manager) == losses.kept
        observe_orders(manager, range(100, 120))
        assert manager.losses().kept == losses.kept + 40


def test_a_program_whose_manager_is_closed_goes_on(places: dict[str, Path]) -> None:
    """Each call is counted as lost, and `close` has raised nothing."""
    manager = observing(places).start()
    manager.init_instance(Order, 1)
    manager.close()
    for call in (manager.transition, manager.transition_nowait):
        call(1, "pay", "paid")
    assert isinstance(manager.try_transition(1, "pay", "paid"), spex.ManagerClosed)
    assert manager.losses() == spex.Losses(kept=1, lost=3)
    manager.flush()
    manager.mode = "enforce"
    with pytest.raises(spex.ManagerClosed):
        manager.flush()


@pytest.mark.long
@pytest.mark.parametrize("cls", [spex.SimpleInstanceManager, spex.ShardedInstanceManager])
def test_signal_handlers_that_observe_leave_no_observation_uncounted(places: dict[str, Path], cls: Any) -> None:
    """A handler that interrupts an observation makes another; each is applied exactly once."""
    issued = 3
    alarms = 0

    def observe_as_well(*_: Any) -> None:
        nonlocal issued, alarms
        issued, alarms = issued + 1, alarms + 1
        (manager.transition if alarms % 2 else manager.transition_nowait)("alarm", "step", str(alarms))
        signal.setitimer(signal.ITIMER_REAL, 0.0005 * (1 + alarms % 17))

    with cls(**places, mode="observe", learning_mode=True, distribution_factor=2) as manager:
        for identifier in ("alarm", "main", "post"):
            manager.init_instance(Order, identifier)
        before = signal.signal(signal.SIGALRM, observe_as_well)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            until = time.monotonic() + 2
            while time.monotonic() < until:
                issued += 1
                manager.transition("main", "step", str(issued))
                issued += 1
                manager.transition_nowait("post", "step", str(issued))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert alarms > 10
        losses = manager.losses()
        assert losses.kept + losses.posted + losses.late + losses.lost == issued
        assert applied(manager) == issued - losses.lost


# ---------------------------------------------------------------------- full disks

FULL = """
import logging, sys, time
import spex_shards as spex
class Door(spex.Specification):
    name = "observing.Door"
    transitions = [("closed", "open", "opened")]
logging.basicConfig()
spex.configure(manager=sys.argv[1], data_dir=sys.argv[2], distribution_factor=1, impl_models_dir="models")
longest, issued = 0, 0
began = time.monotonic()
while not (spex.losses().lost or spex.losses().refused) and time.monotonic() < began + 60 or issued < 200:
    before = time.monotonic()
    spex.init_instance(Door, issued)
    longest, issued = max(longest, time.monotonic() - before), issued + 1
spex.flush()
losses = spex.losses()
print(losses.kept + losses.late + losses.lost + sum(losses.refused.values()) == issued, losses.kept, longest < 2)
"""


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of this test that has no room left."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(place)], check=True)
    with (place / "filler").open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                break
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
@pytest.mark.tool("mount")
@pytest.mark.parametrize("kind", [pytest.param("simple", marks=pytest.mark.long), "sharded"])
def test_a_default_manager_that_cannot_start_on_a_full_disk_costs_observations_only(
    tmp_path: Path, full_disk: Path, kind: str
) -> None:
    """Nothing is raised, each observation is counted, and the log says why."""
    program = [sys.executable, "-c", FULL, kind, str(full_disk / "data")]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "True 0 True\n")
    assert "not kept: " in done.stderr
