"""The shard runtime without Spex: services of an application, with and without processes."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards import runtime
from spex_shards.audit import backup, reshard, verify
from spex_shards.runtime.declared import declared
from spex_shards.runtime.protocol import codec
from tests.support.helper_specs import Door
from tests.support.places import ROOT
from tests.support.processes import descendants, kill_worker, wait_until
from tests.support.runtime_services import Alarm, Counter, Reentrant, Refused

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]
KINDS = {"in-process": {"processes": False, "shards": 1}, "1-shard": {"shards": 1}, "3-shards": {"shards": 3}}


@pytest.fixture(params=KINDS)
def options(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Return the options for each kind of shards."""
    return {"data_dir": tmp_path / "data", "call_timeout": 20, **KINDS[request.param]}


@pytest.fixture
def counter(options: dict[str, Any]) -> Iterator[runtime.Shards]:
    """Return shards that run a `Counter`."""
    with runtime.Shards(Counter, **options) as shards:
        yield shards


def test_what_is_called_is_answered_and_kept(counter: runtime.Shards, options: dict[str, Any]) -> None:
    """Keys may be any identifiers, arguments positional or named, with defaults; the next process has the state."""
    keys: list[Any] = ["a", 7, ("order", 1), b"\x00", None, 2**70]
    for key in keys:
        assert counter.call(key, "add") == 1
        assert counter.call(key, "add", 2) == 3
        assert counter.call(key, "add", amount=4) == 7
    counter.close()
    with runtime.Shards(Counter, **options) as again:
        assert [again.call(key, "get") for key in keys] == [7] * len(keys)
        assert sum(again.call_all("count")) == len(keys)
    assert verify(options["data_dir"]) == []


def test_what_is_posted_is_applied_in_order(counter: runtime.Shards) -> None:
    """Flush waits for it, and stats count it."""
    for number in range(500):
        counter.post(number % 7, "add", number)
    counter.flush()
    assert [counter.call(key, "get") for key in range(7)] == [sum(range(key, 500, 7)) for key in range(7)]
    assert sum(report["requests"].get("add", 0) for report in counter.stats()) == 500
    assert [info.status for info in counter.shards()] == [runtime.ShardStatus.READY] * len(counter.shards())


def test_an_error_that_the_service_declares_arrives_as_itself(counter: runtime.Shards) -> None:
    """It has its text and context; no change of the operation is kept, in any table."""
    with pytest.raises(Refused, match="it is refused") as caught:
        counter.call("a", "add_and", "refused")
    assert (caught.value.context["key"], caught.value.context["why"]) == ("a", ("a", 1))
    assert (counter.call("a", "get"), counter.call("a", "logged")) == (None, None)
    with pytest.raises(runtime.Error, match="it is refused, too"):
        counter.call("a", "add_and", "undeclared")


def test_any_other_error_is_a_failure_with_the_remote_traceback(counter: runtime.Shards) -> None:
    """No change is kept, and the shard continues."""
    with pytest.raises(runtime.OperationFailed, match="add_and raised ZeroDivisionError: by zero") as caught:
        counter.call("a", "add_and", "by zero")
    assert "in add_and" in str(caught.value.__cause__)
    assert counter.call("a", "get") is None
    counter.post("a", "add_and", "posted")
    with pytest.raises(ExceptionGroup, match="could not be applied") as group:
        counter.flush()
    assert isinstance(group.value.exceptions[0], runtime.OperationFailed)
    assert counter.call("a", "add") == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("add", "two"), "Counter.add: amount must be int, got: 'two'"),
        (("add", True), "Counter.add: amount must be int, got: True"),
        (("add", 1, 2), "Counter.add: too many positional arguments"),
        (("add_and",), "Counter.add_and: missing a required argument: 'ending'"),
    ],
)
def test_arguments_are_checked_before_anything_is_sent(counter: runtime.Shards, arguments: Any, text: str) -> None:
    """They are checked by annotations and signature; the error names operation, argument, rule and value."""
    with pytest.raises(TypeError) as caught:
        counter.call("a", *arguments)
    assert str(caught.value) == text
    assert sum(counter.call_all("count")) == 0


def test_operations_that_are_not_there_are_named(counter: runtime.Shards) -> None:
    """The error lists the existing ones, and names the right call."""
    with pytest.raises(AttributeError, match="Counter has no operation 'addd'; it has add, add_and, count"):
        counter.call("a", "addd")
    with pytest.raises(AttributeError, match="belongs to no key: use call_all"):
        counter.call("a", "count")
    with pytest.raises(AttributeError, match="belongs to a key: use call or post"):
        counter.call_all("add")


def test_all_shards_are_iterated_in_pages(counter: runtime.Shards) -> None:
    """Each row appears once, in the order of keys on each shard."""
    for number in range(50):
        counter.post(number, "add", number)
    counter.flush()
    assert sorted(counter.iterate("everything")) == [(number, number) for number in range(50)]
    assert sorted(counter.iterate("everything", most=50)) == [(number, number) for number in range(50)]


def test_messages_reach_the_caller(counter: runtime.Shards) -> None:
    """They arrive once the changes of their operation are committed."""
    counter.call("a", "say", "hello")
    assert next(counter.messages(20)) == {"text": "hello"}


def test_what_is_due_is_done_once_and_again_when_it_failed(options: dict[str, Any]) -> None:
    """A tick that raises leaves nothing half done, and is called again."""
    with runtime.Shards(Alarm, **options) as alarm:
        alarm.call("now", "ring_at", 0.0)
        alarm.call("fails at first", "ring_at", time.time())
        alarm.call("far", "ring_at", time.time() + 1e6)
        wait_until(lambda: sum(alarm.call_all("rung")) == 2, "two have rung")
    with runtime.Shards(Alarm, **options) as alarm:
        assert sum(alarm.call_all("rung")) == 2


def test_an_operation_that_calls_its_own_shards_is_an_error(tmp_path: Path) -> None:
    """Nothing deadlocks."""
    with runtime.Shards(Reentrant, data_dir=tmp_path / "data", shards=1, processes=False) as shards:
        Reentrant.shards = shards
        with pytest.raises(runtime.OperationFailed, match="a handler must not call a shard runtime"):
            shards.call("a", "again")


@pytest.mark.long
def test_a_killed_shard_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    """After 100 kills while four threads post and call, the sums are exact."""
    threads, each, kills = 4, 1500, 100
    often = {"call_timeout": 60.0, "max_restarts": 100_000, "max_seconds": 0.01}
    with runtime.Shards(Counter, data_dir=tmp_path / "d", shards=2, **often) as counter:
        done = threading.Event()

        def work(name: int) -> None:
            for number in range(each):
                if number % 10:
                    counter.post((name, number % 5), "add")
                else:
                    counter.call((name, number % 5), "add")

        def kill() -> None:
            for number in range(kills):
                kill_worker(counter, number % 2)
                counter.call_all("count")  # not before it is there again
            done.set()

        workers = [threading.Thread(target=work, args=(name,)) for name in range(threads)]
        for thread in [*workers, killer := threading.Thread(target=kill)]:
            thread.start()
        for thread in [*workers, killer]:
            thread.join()
        counter.flush(60)
        assert done.is_set()
        found = dict(counter.iterate("everything"))
    assert found == {(name, rest): each // 5 for name in range(threads) for rest in range(5)}
    assert verify(tmp_path / "d") == []


def test_other_processes_attach_and_forked_children_go_on(tmp_path: Path) -> None:
    """They use the same service; if no process serves the directory, connect says so."""
    with runtime.Shards(Counter, data_dir=tmp_path / "data", shards=2, call_timeout=20) as counter:
        counter.call("a", "add")
        with runtime.connect(Counter, tmp_path / "data", call_timeout=20) as other:
            assert other.call("a", "add") == 2
        child = os.fork()
        if child == 0:
            os._exit(0 if counter.call("a", "add") == 3 else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert counter.call("a", "get") == 3
    with pytest.raises(spex.ShardDown):
        runtime.connect(Counter, tmp_path / "data")
    with pytest.raises(spex.DataDirError, match="there is no data directory"):
        runtime.connect(Counter, tmp_path / "nothing")


def test_a_directory_belongs_to_one_service(options: dict[str, Any], tmp_path: Path) -> None:
    """Neither another service nor Spex opens it, no service opens one of Spex, and it cannot be resharded."""
    with runtime.Shards(Counter, **options) as counter:
        counter.call("a", "add")
    places = {"data_dir": options["data_dir"], "impl_models_dir": tmp_path / "models"}
    of_spex = {**places, "data_dir": tmp_path / "spex"}
    with spex.SimpleInstanceManager(**of_spex, learning_mode=True) as manager:
        manager.init_instance(Door, 1)
    if options.get("processes", True):
        with runtime.Shards(Alarm, **options) as alarm, pytest.raises(spex.ShardFailed):
            alarm.call("a", "ring_at", 1.0)
    else:
        with pytest.raises(spex.DataDirError, match=r"belongs to .*Counter, and cannot be opened by .*Alarm"):
            runtime.Shards(Alarm, **options).start()
    if options["shards"] == 1:
        with pytest.raises(spex.DataDirError, match=r"belongs to .*Counter, and cannot be opened by Spex"):
            spex.SimpleInstanceManager(**places).start()
        with pytest.raises(spex.DataDirError, match="belongs to Spex"):
            runtime.Shards(Counter, data_dir=of_spex["data_dir"], shards=1, processes=False).start()
    with pytest.raises(spex.DataDirError, match="belongs to the service"):
        reshard(options["data_dir"], 5)
    backup(options["data_dir"], tmp_path / "copy")
    assert verify(tmp_path / "copy") == []
    with runtime.Shards(Counter, **{**options, "data_dir": tmp_path / "copy"}) as counter:
        assert counter.call("a", "get") == 1


class NoOperations(runtime.Service):
    """A service without operations."""


class Coroutine(runtime.Service):
    """A service with an operation of an invalid form."""

    @runtime.command
    async def wait(self, key: str) -> None:
        """Wait."""


@pytest.mark.parametrize(
    ("service", "text"),
    [
        (dict, "a service must be a subclass of runtime.Service, got: <class 'dict'>"),
        (NoOperations, "the service NoOperations has no operations: mark methods with command or query"),
        (Coroutine, "the operation Coroutine.wait must be a plain function: no coroutine and no generator"),
    ],
)
def test_what_is_no_service_is_refused_at_once(tmp_path: Path, service: Any, text: str) -> None:
    """The constructor refuses it, and starts nothing."""
    with pytest.raises(TypeError) as caught:
        runtime.Shards(service, data_dir=tmp_path)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("shards", 0, "shards must be an integer from 1 to 1024, got: 0"),
        ("durability", "none", 'durability must be "process" or "disk", got: \'none\''),
        ("call_timeout", 0, "call_timeout must be a number of seconds above 0, at most 2592000, got: 0"),
        ("max_frame_bytes", 10, "max_frame_bytes must be an integer from 4096 to 1073741824, got: 10"),
        ("on_message", 3, "on_message must be callable, or None, got: 3"),
    ],
)
def test_options_have_rules(tmp_path: Path, option: str, value: Any, text: str) -> None:
    """The error names the option, the rule and the value."""
    with pytest.raises(ValueError) as caught:
        runtime.Shards(Counter, data_dir=tmp_path, **{option: value})
    assert str(caught.value) == text


def test_a_service_that_cannot_be_had_in_its_shard_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the application can import its module: the shards are given up with that reason."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "vanishing_service.py").write_text(
        "from spex_shards import runtime\n"
        "class Vanishing(runtime.Service):\n    @runtime.query\n    def get(self, key): return 1\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    cls = importlib.import_module("vanishing_service").Vanishing
    (folder / "vanishing_service.py").unlink()
    text = "vanishing_service:Vanishing cannot be had in the shard"
    options = {"data_dir": tmp_path / "data", "shards": 1, "call_timeout": 20.0}
    with runtime.Shards(cls, **options) as shards, pytest.raises(spex.ShardFailed, match=text):
        shards.call("a", "get")


@pytest.mark.long
@pytest.mark.parametrize(
    ("example", "said", "logged"),
    [("ledger", "as it must be", "died"), ("rate_limiter", "5 of 8 let through", "nothing is logged")],
)
def test_the_examples_run(example: str, said: str, logged: str) -> None:
    """Their classes belong to `__main__`, and are sent."""
    command = [sys.executable, str(ROOT / "examples" / f"{example}.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert all(logged in line for line in done.stderr.splitlines()), done.stderr
    assert not descendants(os.getpid())


def test_a_damaged_row_of_a_service_is_found_by_verify(tmp_path: Path) -> None:
    """The finding names the row."""
    from spex_shards.runtime.data_dir import DataDir
    from spex_shards.runtime.store.lmdb_store import LmdbStore

    with runtime.Shards(Counter, data_dir=tmp_path / "data", shards=1, processes=False) as counter:
        counter.call("a", "add")
    store = LmdbStore(DataDir(tmp_path / "data").shard(0), sync=True)
    [(key, row)] = store.range("rows", b"", None)
    store.apply({"rows": {key: row[:-1] + bytes([row[-1] ^ 1])}})
    store.close()
    [finding] = verify(tmp_path / "data")
    assert finding.table == "rows"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (b"\xc1", "add cannot be carried out: FormatError"),
        (codec.encode({"a": 1}), "the arguments must be a list"),
        (codec.encode([]), "the arguments must be a list"),
        (codec.encode(["a", "two"]), "Counter.add: amount must be int, got: 'two'"),
    ],
)
def test_what_another_client_sends_is_checked_in_the_shard(counter: runtime.Shards, arguments: Any, text: str) -> None:
    """A client that speaks the protocol may send anything: only that request is refused, and nothing changes."""
    assert counter.transport is not None
    operation = declared(Counter).operation("add", keyed=True).wire
    with pytest.raises(runtime.OperationFailed, match=text):
        counter.transport.call(codec.canonical("a"), operation, (arguments,))
    assert counter.call("a", "get") is None
