"""Managers whose shards are in PostgreSQL: what a crash of the server costs, who has a namespace, what is shown."""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.manager import SharedInstanceManager
from spex_shards.runtime import Shards
from tests.support.contract_specs import Order
from tests.support.places import LONG
from tests.support.postgres import Server, server
from tests.support.processes import descendants, wait_until
from tests.support.runtime_services import Counter as CounterService
from tests.support.serving import kill_supervisor
from tests.support.writers import Writers

pytestmark = [pytest.mark.postgres, pytest.mark.process]


class Loop(spex.Specification):
    """An instance that counts."""

    transitions = [("new", "go", "on"), ("on", "go", "on")]


@pytest.fixture
def own_server() -> Iterator[Server]:
    """Return a server that syncs as servers do, to be killed."""
    with server("fsync=on", "full_page_writes=on", "checkpoint_timeout=30s") as one:
        yield one


@pytest.mark.long
def test_what_a_killed_server_loses_without_waiting_for_its_disk_is_told(
    own_server: Server, places: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """With durability "process", the last acknowledged batches may be lost; the shard says so, and goes on without."""
    own_server.set("wal_writer_delay", "10s")
    with spex.ShardedInstanceManager(
        **places, distribution_factor=1, store=own_server.url, call_timeout=60.0, learning_mode=True
    ) as manager:
        manager.init_instance(Loop, 1)
        own_server.stop(signal.SIGKILL)
        own_server.start()
        lost = manager.try_transition(1, "go", "on")
        assert isinstance(lost, spex.ShardDown)
        assert "the shard has forgotten this client" in str(lost)
        assert isinstance(manager.try_transition(1, "go", "on"), spex.InstanceNotFound)
        said = manager.shards()[0].last_exit or ""
        assert "the store has" in said
        assert "where this owner had" in said


@pytest.mark.long
def test_an_in_process_manager_says_that_there_is_no_server_and_later_what_it_has_lost(
    own_server: Server, places: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Its calls raise errors of this package meanwhile, and go on with what the server has once it is back.

    What was declared is known again, though the declaration was lost, too.
    """
    own_server.set("wal_writer_delay", "10s")
    with spex.SimpleInstanceManager(**places, store=own_server.url, learning_mode=True) as manager:
        manager.init_instance(Order, "kept")
        own_server.checkpoint()
        manager.init_instance(Loop, 1)
        own_server.stop(signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(spex.StoreError, match="PostgreSQL cannot be reached"):
                manager.transition(1, "go", "on")
        own_server.start()
        assert isinstance(manager.try_transition(1, "go", "on"), spex.InstanceNotFound)
        manager.init_instance(Loop, 1)
        assert manager.get_instance("kept").current_state == "new"
        lost = [record.getMessage() for record in caplog.records if record.__dict__.get("spex_event") == "batches_lost"]
        assert lost
        assert "has lost the newest" in lost[0]


def test_a_server_that_is_killed_loses_nothing_and_doubles_nothing(own_server: Server, places: dict[str, Path]) -> None:
    """It is killed and started again under writers; each history has exactly the acknowledged transitions."""
    with spex.ShardedInstanceManager(
        **places, distribution_factor=2, store=own_server.url, durability="disk", call_timeout=60.0, learning_mode=True
    ) as manager:
        writers = Writers(manager, 4)
        for _ in range(5 if LONG else 1):
            writers.wait(10)
            own_server.stop(signal.SIGKILL)
            own_server.start()
        writers.wait(10)
        writers.check()


@pytest.mark.long
def test_the_shards_come_back_when_the_server_does(own_server: Server, places: dict[str, Path]) -> None:
    """While there is no server, calls end by their timeout; afterwards they are carried out, without `revive`."""
    with spex.ShardedInstanceManager(
        **places, distribution_factor=1, store=own_server.url, durability="disk", call_timeout=1.0, learning_mode=True
    ) as manager:
        manager.init_instance(Loop, 1)
        own_server.stop(signal.SIGKILL)
        with pytest.raises(spex.CallTimeout) as caught:
            manager.transition(1, "go", "on")
        assert caught.value.maybe_executed
        own_server.start()
        manager.flush(60)
        wait_until(lambda: manager.try_transition(1, "go", "on") is None, "a call is carried out")
        assert len(manager.get_instance(1).history) >= 3


@pytest.mark.long
def test_the_manager_that_is_started_last_has_the_namespace(
    tmp_path: Path, store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With another directory, as on another host: it goes on with what was acknowledged, and the first one fails."""
    options: dict[str, Any] = {
        "impl_models_dir": tmp_path / "models", "distribution_factor": 1, "store": store_url, "learning_mode": True,
        "max_restarts": 0, "retry_failed": None, "call_timeout": 20.0,
    }  # fmt: skip
    with spex.ShardedInstanceManager(**options, data_dir=tmp_path / "one") as first:
        first.init_instance(Loop, 1)
        with spex.ShardedInstanceManager(**options, data_dir=tmp_path / "two") as second:
            assert f"is taken over from {tmp_path / 'one'} on " in caplog.text
            second.transition(1, "go", "on")
            with pytest.raises(spex.ShardFailed):
                first.transition(1, "go", "on")
            said = first.shards()[0].last_exit or ""
            assert "has claimed the shard" in said or "another process has claimed the shard" in said
            with pytest.raises(spex.ShardFailed, match="another manager has taken the namespace over"):
                first.revive(0)
            assert len(second.get_instance(1).history) == 2


@pytest.mark.long
@pytest.mark.parametrize("kind", [spex.ShardedInstanceManager, SharedInstanceManager])
def test_a_supervisor_that_takes_the_place_of_one_that_died_leaves_the_namespace_to_who_has_it_now(
    kind: Any, tmp_path: Path, store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls of the manager that has lost it fail, and say who has it; the other manager is not disturbed."""
    options: dict[str, Any] = {
        "impl_models_dir": tmp_path / "models", "distribution_factor": 1, "store": store_url, "learning_mode": True,
        "call_timeout": 20.0,
    }  # fmt: skip
    with kind(**options, data_dir=tmp_path / "one") as first:
        first.init_instance(Loop, 1)
        kill_supervisor(tmp_path / "one")  # nobody else has it: another supervisor goes on
        first.transition(1, "go", "on")
        with spex.ShardedInstanceManager(**options, data_dir=tmp_path / "two") as second:
            worker = second.shards()[0].pid
            kill_supervisor(tmp_path / "one")
            with pytest.raises((spex.ShardDown, spex.CallTimeout)):
                first.transition(1, "go", "on")
            wait_until(lambda: f"was taken over by {tmp_path / 'two'}" in caplog.text, "it says who has it")
            child = os.fork()
            if not child:
                code = 1
                with suppress(spex.ShardError):  # a child continues its parent's work, and takes nothing back either
                    first.transition(1, "go", "on")
                    code = 2
                os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
            second.transition(1, "go", "on")
            assert [shard.pid for shard in second.shards()] == [worker]
            assert len(second.get_instance(1).history) == 3


def test_a_directory_belongs_to_one_namespace_or_has_its_own_shards(places: dict[str, Path], store_url: str) -> None:
    """Each of the wrong combinations is refused with an error that says what to give."""
    other = {**places, "data_dir": places["data_dir"].with_name("other")}
    with spex.SimpleInstanceManager(**places, store=store_url):
        pass
    with pytest.raises(spex.DataDirError, match="give that as the option store"):
        spex.SimpleInstanceManager(**places).start()
    with pytest.raises(spex.DataDirError, match="belongs to another namespace"):
        spex.SimpleInstanceManager(**places, store=f"{store_url}2").start()
    with spex.SimpleInstanceManager(**other):
        pass
    with pytest.raises(spex.DataDirError, match=r"has shards of its own.*spex-shards move"):
        spex.SimpleInstanceManager(**other, store=f"{store_url}3").start()


def test_a_password_is_shown_nowhere(
    places: dict[str, Path], store_url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither in process titles, nor in files of the directory, nor in log records, errors and the manager's text."""
    caplog.set_level(logging.DEBUG)
    secret = "ge-hei-m"
    url = store_url.replace("user=spex", f"user=spex&password={secret}")
    with spex.ShardedInstanceManager(**places, distribution_factor=1, store=url) as manager:
        manager.init_instance(Order, 1)
        titles = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in descendants()]
        shown = [*titles, repr(manager), str(manager.stats()), str(manager.shards())]
        with pytest.raises(spex.SpexError) as caught:
            spex.ShardedInstanceManager(**places, distribution_factor=1).start()
        shown += [str(caught.value), repr(caught.value.context)]
    with pytest.raises(ValueError, match="option store") as wrong:
        spex.ShardedInstanceManager(store=f"postgresql://me:{secret}/x@h/db")
    shown += [str(wrong.value), caplog.text, *capfd.readouterr()]
    files = [path.read_bytes() for path in places["data_dir"].rglob("*") if path.is_file()]
    assert not [text for text in shown if secret in text]
    assert not [content for content in files if secret.encode() in content]


class Cut(Exception):
    """What a signal handler raises."""


def duration(manager: Any) -> float:
    """Return about how long a transition takes, in seconds."""
    began = time.perf_counter()
    for _ in range(20):
        manager.transition(1, "go", "on")
    return (time.perf_counter() - began) / 20


@pytest.mark.long
@pytest.mark.timeout(60)
def test_calls_that_are_cut_off_in_the_middle_of_a_statement_are_kept_once_or_not(
    places: dict[str, Path], store_url: str
) -> None:
    """A handler raises at any moment of a call; acknowledged is stored, and nothing twice. The next call goes on."""

    def cut(*_: object) -> None:
        raise Cut

    counts = Counter[str]()
    before = signal.signal(signal.SIGALRM, cut)
    try:
        with spex.SimpleInstanceManager(**places, store=store_url, learning_mode=True) as manager:
            manager.init_instance(Loop, 1)
            takes = duration(manager)
            for _ in range(150):
                try:
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.1, 2.5) * takes)
                    try:
                        manager.transition(1, "go", "on")
                        counts["acknowledged"] += 1
                    finally:
                        signal.setitimer(signal.ITIMER_REAL, 0)
                except Cut:
                    counts["cut"] += 1
            stored = len(manager.get_instance(1).history) - 1 - 20
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    # A call may be cut off after its commit and before it returns, also when it has been counted.
    assert counts["acknowledged"] <= stored <= counts["acknowledged"] + counts["cut"]


def test_handlers_that_call_the_manager_in_the_middle_of_a_statement_get_their_turn(
    places: dict[str, Path], store_url: str
) -> None:
    """Each call of either is applied once."""
    counts = Counter[str]()

    def call(*_: object) -> None:
        manager.transition(1, "go", "on")
        counts["inside"] += 1

    before = signal.signal(signal.SIGALRM, call)
    try:
        with spex.SimpleInstanceManager(**places, store=store_url, learning_mode=True) as manager:
            manager.init_instance(Loop, 1)
            takes = duration(manager)
            while counts["inside"] < 50:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.1, 2) * takes)
                manager.transition(1, "go", "on")
                signal.setitimer(signal.ITIMER_REAL, 0)
                counts["outside"] += 1
            assert len(manager.get_instance(1).history) - 1 == 20 + counts["outside"] + counts["inside"]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("processes", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_service_of_an_application_has_its_rows_there(tmp_path: Path, store_url: str, processes: bool) -> None:
    """`Shards` with a store: what was called is there when it is opened again, also with another directory."""
    options: dict[str, Any] = {"shards": 1, "processes": processes, "store": store_url, "durability": "remote_apply"}
    with Shards(CounterService, data_dir=tmp_path / "one", **options) as shards:
        for number in range(50):
            shards.post(number, "add", 5)
        shards.flush()
    with Shards(CounterService, data_dir=tmp_path / "two", **options) as shards:
        assert [shards.call(number, "add", 1) for number in range(50)] == [6] * 50


def test_options_that_need_a_store_say_so(tmp_path: Path) -> None:
    """A namespace, or the durability of replicas, without a store; and two namespaces."""
    for options, text in [
        ({"namespace": "orders"}, "there is no store: give both"),
        ({"durability": "remote_apply"}, "needs a store in PostgreSQL"),
        ({"store": "postgresql:///db?namespace=a", "namespace": "b"}, r"name different ones: \['a', 'b'\]"),
        ({"store": "postgresql:///db", "namespace": "B"}, "option namespace must be 1 to 63 lower-case"),
    ]:
        with pytest.raises(ValueError, match=text):
            spex.SimpleInstanceManager(data_dir=tmp_path, **options)  # type: ignore[arg-type]
    for arguments in ({"durability": "remote_apply"}, {"namespace": "x"}, {"store": 5}):
        with pytest.raises(ValueError, match=r"must be|there is no store"):
            Shards(CounterService, data_dir=tmp_path, **arguments)  # type: ignore[arg-type]


def test_the_store_is_taken_from_the_environment(
    places: dict[str, Path], store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every option is."""
    url, _, name = store_url.partition("&namespace=")
    monkeypatch.setenv("SPEX_SHARDS_STORE", url)
    monkeypatch.setenv("SPEX_SHARDS_NAMESPACE", name)
    with spex.SimpleInstanceManager(**places) as manager:
        manager.init_instance(Order, 1)
        assert manager.options["store"] == store_url
    assert "data.mdb" not in {file for _, _, files in os.walk(places["data_dir"]) for file in files}
