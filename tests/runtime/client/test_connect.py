"""Several application processes on one data directory: `connect` attaches to a manager of another process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from tests.support.helper_specs import Door
from tests.support.processes import kill_worker, wait_until

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]


@pytest.fixture
def served(places: dict[str, Path]) -> Any:
    """Return a manager whose directory others connect to."""
    with spex.ShardedInstanceManager(
        **places, distribution_factor=2, learning_mode=True, call_timeout=20, max_restarts=100
    ) as manager:
        yield manager


def test_another_process_observes_the_same_instances(served: Any, places: dict[str, Path]) -> None:
    """Each process reads the other's observations, and may declare specifications that only it knows."""
    served.init_instance(Door, 1)
    script = f"""
import spex_shards as spex
class Window(spex.Specification):
    name = "tests.Window"
    transitions = [("shut", "open", "ajar")]
with spex.connect({str(places["data_dir"])!r}, specifications=[Window]) as manager:
    manager.transition(1, "open", "opened")
    manager.init_instance(Window, 2)
    print(len(manager.shards()), manager.get_instance(1).specification.name)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("2 tests.Door\n", "")
    assert served.get_instance(1).current_state == "opened"
    assert served.get_instance(2).specification.states == ("shut", "ajar")


def test_a_client_goes_on_over_the_death_of_a_worker_and_of_the_supervisor(
    served: Any, places: dict[str, Path]
) -> None:
    """It attaches again by itself, and its unanswered requests are applied once."""
    import os
    import signal

    with spex.connect(places["data_dir"], call_timeout=20) as client:
        for number in range(300):
            client.init_instance_nowait(Door, number)
            if number == 100:
                kill_worker(served, 0)
            if number == 200:
                os.kill(served.transport.ownership.pid, signal.SIGKILL)
        client.flush(30)
        assert {instance.identifier for instance in client.all_instances()} == set(range(300))


def test_closing_detaches_and_leaves_the_shards_at_work(served: Any, places: dict[str, Path]) -> None:
    """Other clients do not notice it."""
    client = spex.connect(places["data_dir"])
    client.init_instance(Door, 1)
    client.close()
    client.close()
    with pytest.raises(spex.ManagerClosed):
        client.get_instance(1)
    assert served.get_instance(1).current_state == "closed"


def test_connecting_to_nothing_says_what_is_missing(tmp_path: Path, places: dict[str, Path]) -> None:
    """Without a directory, or without a server, there are two different errors that say what to do."""
    with pytest.raises(spex.DataDirError, match="serve it first"):
        spex.connect(tmp_path / "nothing")
    with spex.ShardedInstanceManager(**places, distribution_factor=1):
        pass
    with pytest.raises(
        spex.ShardDown, match=r"no process serves .*: start one, for example by spex-shards serve --data-dir"
    ):
        spex.connect(places["data_dir"])


def test_messages_and_records_go_to_the_client_whose_call_it_was(served: Any, places: dict[str, Path]) -> None:
    """The handler's `caller` is the client that made the call, not the owner."""

    class Chatty(spex.Specification):
        name = "tests.Chatty"
        transitions = [("a", "b", "c")]

        @classmethod
        def error_handler(cls, error: spex.SpexError, caller: spex.Caller) -> None:
            caller.send(["about", error.reason, caller.pid])

    import os

    with spex.connect(places["data_dir"]) as client:
        client.init_instance(Chatty, "x")
        assert client.try_init_instance(Chatty, "x") is None
        assert wait_until(lambda: list(client.messages()), "the message is there") == [
            ["about", "instance_identifier_already_in_use", os.getpid()]
        ]
        assert list(served.messages()) == []


@pytest.mark.timeout(30)
def test_who_asks_for_the_shards_while_the_manager_closes_is_told_so_at_once(
    served: Any, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the close comes in the middle of the question, as a signal handler's does: found by injection."""
    client = spex.connect(places["data_dir"], call_timeout=1000)
    courier = client.transport._introducer
    ask = courier._questions.ask

    def closed_first(of: Any) -> Any:
        client.close()
        return ask(of)

    monkeypatch.setattr(courier._questions, "ask", closed_first)
    with pytest.raises(spex.ManagerClosed, match="was closed before the supervisor had answered"):
        client.shards()
