"""The handshake of a client and a supervisor: versions, limits, and identities."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.runtime.protocol import requests as protocol
from spex_shards.runtime.protocol.control import TO_SUPERVISOR, Attach
from spex_shards.runtime.supervisor.attach import NoCommonVersion, agree
from tests.runtime.supervisor.test_processes import stop
from tests.support.places import ROOT
from tests.support.processes import wait_until

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]
ELSEWHERE = """
import sys
from spex_shards.runtime.protocol import requests as protocol
protocol.PROTOCOL_VERSION = protocol.OLDEST_PROTOCOL = 7
import spex_shards as spex
try:
    spex.connect(sys.argv[1], call_timeout=5)
except spex.ShardDown as error:
    print(error)
"""


class Door(spex.Specification):
    """A door."""

    name = "handshake.Door"
    transitions = [("closed", "open", "opened"), ("opened", "close", "closed")]


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def make(places: dict[str, Path]) -> Any:
    """Return a function that starts a manager; all are closed at the end."""
    made: list[Any] = []

    def start(**options: Any) -> Any:
        given = {"distribution_factor": 1, "learning_mode": True, "call_timeout": 20.0, **options}
        made.append(spex.ShardedInstanceManager(**places, **given).start())
        return made[-1]

    yield start
    for manager in made:
        manager.close()


def test_a_client_of_another_version_is_told_both_versions_at_connect_and_spins_nowhere(make: Any) -> None:
    """After a rolling upgrade that skipped a version, there is an error at once instead of a timeout of every call."""
    manager = make()
    manager.init_instance(Door, 1)
    supervisor = manager.transport.ownership.pid
    before = processor_seconds(supervisor)
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(manager.data_dir)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert f"speaks protocol versions {protocol.OLDEST_PROTOCOL} to {protocol.PROTOCOL_VERSION}" in done.stdout
    assert "this process 7 to 7" in done.stdout
    assert processor_seconds(supervisor) - before < 0.5
    manager.transition(1, "open", "opened")


def test_a_client_of_the_version_before_is_served(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It offers its one version, in the form from before versions were negotiated."""
    manager = make()
    monkeypatch.setattr("spex_shards.runtime.client.attaching.PROTOCOL_VERSION", 1)
    with spex.connect(manager.data_dir) as client:
        client.init_instance(Door, "old")
        assert client.transport.channels[0].lines.version == 1
    assert manager.get_instance("old").current_state == "closed"


@pytest.mark.parametrize(
    ("message", "version"),
    [(["attach", 1, b"x" * 16], 1), (["attach", 2, b"x" * 16, 1], 2), (["attach", 9, b"x" * 16, 2], 2)],
)
def test_the_newest_version_that_both_sides_speak_is_taken(message: list[Any], version: int) -> None:
    """Either side may be the newer one."""
    assert agree(TO_SUPERVISOR.read(message)) == version


def test_a_client_without_a_version_in_common_is_refused() -> None:
    """Both its bounds are above, or below."""
    with pytest.raises(NoCommonVersion):
        agree(Attach(9, b"x" * 16, 8))
    with pytest.raises(NoCommonVersion):
        agree(Attach(0, b"x" * 16))


def test_a_request_larger_than_the_shards_take_is_refused_alone(make: Any) -> None:
    """The handshake names the limit: only that call is a ValueError, and other threads' calls continue."""
    manager = make(max_frame_bytes=8192)
    counted = 0
    with spex.connect(manager.data_dir) as client:
        client.init_instance(Door, 1)
        enough = threading.Event()

        def observe() -> None:
            nonlocal counted
            while not enough.is_set():
                client.transition_nowait(1, "open", "opened")
                counted += 1

        thread = threading.Thread(target=observe)
        thread.start()
        for _ in range(20):
            with pytest.raises(ValueError, match="at most max_frame_bytes=8192 bytes"):
                client.init_instance(Door, 2, meta={"text": "x" * 10_000})
        enough.set()
        thread.join()
        client.flush()
        assert len(client.get_instance(1).history) == counted + 1


def test_a_request_that_the_next_supervisor_would_not_take_is_refused_alone(make: Any) -> None:
    """It was in the window when the limit became smaller: a question gets its number, and the rest is applied."""
    manager = make()
    manager.init_instance(Door, 1)
    stop(manager.shards()[0].pid)
    manager.transition_nowait(1, "open", "a")
    manager.init_instance_nowait(Door, 2, meta={"text": "x" * 10_000})
    manager.transition_nowait(1, "open", "b")
    manager.transport.channels[0].lines.limit = 8192  # as a successor with another limit says
    os.kill(manager.shards()[0].pid, signal.SIGKILL)
    with pytest.raises(ExceptionGroup) as caught:
        manager.flush(20)
    [error] = caught.value.exceptions
    assert "at most max_frame_bytes=8192 bytes" in str(error)
    assert [entry.to_state for entry in manager.get_instance(1).history] == ["closed", "a", "b"]
    with pytest.raises(spex.InstanceNotFound):
        manager.get_instance(2)


def test_a_supervisor_that_is_stopped_is_ended_and_replaced_by_its_owner(make: Any, caplog: Any) -> None:
    """After hang_timeout without a sign of life, a successor takes over, and the log says why."""
    manager = make(hang_timeout=1.0)
    manager.init_instance(Door, 1)
    stopped = manager.transport.ownership.pid
    stop(stopped)
    wait_until(lambda: manager.transport.ownership.pid != stopped, "another supervisor is there")
    manager.transition(1, "open", "opened")
    assert manager.get_instance(1).current_state == "opened"
    wait_until(lambda: "gave no sign of life within hang_timeout=1.0 s" in caplog.text, "the log says why")


def test_a_connect_to_a_supervisor_that_is_stopped_says_that_it_does_not_answer(make: Any) -> None:
    """The error comes within its call_timeout."""
    manager = make(hang_timeout=None)
    stop(manager.transport.ownership.pid)
    try:
        with pytest.raises(spex.ShardDown, match="did not answer within"):
            spex.connect(manager.data_dir, call_timeout=0.5)
    finally:
        os.kill(manager.transport.ownership.pid, signal.SIGCONT)
