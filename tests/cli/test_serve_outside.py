"""What a running server tells the outside: its log, its health, its readiness file, and systemd."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.cli.health import Health
from spex_shards.cli.readiness import notify
from tests.cli.test_serve import Server, serve
from tests.support.helper_specs import Door
from tests.support.places import ROOT
from tests.support.processes import is_gone, wait_until

__all__ = ["serve"]  # a fixture
pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]
Serve = Callable[..., Server]


class Unix(http.client.HTTPConnection):
    """An HTTP connection over an AF_UNIX socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def asked(connection: http.client.HTTPConnection, method: str = "GET", path: str = "/healthz") -> tuple[int, Any]:
    """Return the status and the JSON of an answer."""
    connection.request(method, path)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, json.loads(text) if text else None


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# ---------------------------------------------------------------------- the log


def test_every_line_of_its_log_is_json(
    serve: Serve, places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what a module prints that it imports, the restart of a shard, and each new deviation."""
    (tmp_path / "printing.py").write_text(
        "import spex_shards as spex\nprint('hello')\nclass It(spex.Specification): ...\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    monkeypatch.setenv("SPEX_SHARDS_SPECIFICATIONS", "printing:It")
    monkeypatch.setenv("SPEX_SHARDS_LEARNING_MODE", "false")
    places["impl_models_dir"].mkdir(exist_ok=True)
    model = spex.ImplModel(specification=Door.name, transitions=[(None, spex.INITIALISATION, "closed")])
    (places["impl_models_dir"] / "door.spex").write_text(model.serialise())
    server = serve("--shards", "2", learn=False).ready()
    assert [said["message"] for said in server.of("output")] == ["hello"]
    with spex.connect(places["data_dir"], call_timeout=30) as client:
        client.try_init_instance(Door, 1)
        client.try_transition(1, "open", "ajar")
        [deviation] = wait_until(
            lambda: [said for said in server.of("deviation") if said["transition"][2] == "ajar"], "it tells of it"
        )
        assert (deviation["specification"], deviation["transition"]) == (Door.name, ["closed", "open", "ajar"])
        assert (deviation["level"], deviation["count"], deviation["accepted"]) == ("warning", 1, False)
        os.kill(server.of("ready")[0]["shards"][1]["worker"], signal.SIGKILL)
        [restart] = wait_until(lambda: server.of("shard_restarted"), "it tells of the restart")
        assert (restart["shard"], restart["restarts"], restart["last_exit"][:7]) == (1, 1, "SIGKILL")
    assert server.end(signal.SIGTERM) == 0
    assert server.other == []
    assert all(said["time"].endswith("Z") and said["pid"] == server.process.pid for said in server.said)


@pytest.mark.long
def test_its_log_can_be_for_people(serve: Serve) -> None:
    """Each line has a time, a level, an event and its facts."""
    server = serve("--shards", "1", "--log-format", "text")
    wait_until(lambda: any(" info ready " in line for line in server.other), "it is ready")
    assert server.end(signal.SIGTERM) == 0
    assert server.other[-1].split()[1:] == ["info", "stopped"]


# ---------------------------------------------------------------------- readiness


def test_the_readiness_file_is_there_exactly_while_it_is_ready(serve: Serve, tmp_path: Path) -> None:
    """What a killed server has left is removed at the next start."""
    file = tmp_path / "ready"
    file.write_text("left")
    server = serve("--shards", "1", "--ready-file", str(file)).ready()
    wait_until(lambda: file.exists() and file.read_text() != "left", "the file is there")
    assert json.loads(file.read_text())["pid"] == server.process.pid
    assert server.end(signal.SIGTERM) == 0
    assert not file.exists()


@pytest.mark.long
def test_systemd_is_told_when_it_is_ready_and_when_it_stops(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By datagrams to `NOTIFY_SOCKET`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(60)
        listening.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        server = serve("--shards", "1")
        assert listening.recv(100) == b"READY=1"
        assert server.end(signal.SIGTERM) == 0
        assert listening.recv(100) == b"STOPPING=1"


def test_an_abstract_socket_is_notified_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name begins with @; without the variable nothing happens, and an error names it."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    name = f"spex-shards-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notify("READY=1")
        assert listening.recv(100) == b"READY=1"
    with pytest.raises(OSError, match=f"NOTIFY_SOCKET=@{name} does not take READY=1"):
        notify("READY=1")


# ---------------------------------------------------------------------- health


def test_its_health_is_answered_with_the_shards(serve: Serve) -> None:
    """200 while all are ready, 503 while one is given up; other paths and methods are refused."""
    port = free_port()
    server = serve("--shards", "2", "--health", f"127.0.0.1:{port}", env={"SPEX_SHARDS_MAX_RESTARTS": "0"}).ready()
    status, plain = asked(http.client.HTTPConnection("127.0.0.1", port, timeout=30))
    assert (status, plain["status"], plain["pid"]) == (200, "ok", server.process.pid)
    assert [shard["status"] for shard in plain["shards"]] == ["READY", "READY"]
    assert asked(http.client.HTTPConnection("127.0.0.1", port, timeout=30), "HEAD") == (200, None)
    assert asked(http.client.HTTPConnection("127.0.0.1", port, timeout=30), path="/")[0] == 404
    assert asked(http.client.HTTPConnection("127.0.0.1", port, timeout=30), "POST")[0] == 405
    os.kill(plain["shards"][0]["worker"], signal.SIGKILL)
    status, plain = wait_until(
        lambda: (found := asked(http.client.HTTPConnection("127.0.0.1", port, timeout=30)))[0] == 503 and found,
        "it says that a shard is not ready",
    )
    assert (plain["status"], plain["shards"][1]["status"]) == ("degraded", "READY")
    assert server.end(signal.SIGTERM) == 0


@pytest.mark.long
def test_its_health_is_answered_on_a_path_too(serve: Serve, tmp_path: Path) -> None:
    """A socket that a killed server has left is replaced; the file goes with the server."""
    path = tmp_path / "health"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = serve("--shards", "1", "--health", str(path)).ready()
    wait_until(lambda: asked(Unix(str(path)))[0] == 200, "it says that it is ready")
    with socket.socket(socket.AF_UNIX) as silent:  # a client that sends nothing holds nobody up for long
        silent.connect(str(path))
        assert asked(Unix(str(path)))[0] == 200
    assert server.end(signal.SIGTERM) == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("0.0.0.0:80", "it is for this machine only"),
        ("example.org:80", "it is for this machine only"),
        ("127.0.0.1:x", "must have a port from 1 to 65535"),
        ("127.0.0.1:0", "must have a port from 1 to 65535"),
        ("nowhere/health", "No such file or directory"),
    ],
)
def test_an_address_for_its_health_that_cannot_be_is_refused(address: str, text: str) -> None:
    """The error names the option and the rule."""
    with pytest.raises((ValueError, OSError), match=r"^--health") as raised:
        Health(address)
    assert text in str(raised.value)


def test_what_lies_at_the_path_of_another_is_left_alone(tmp_path: Path) -> None:
    """A file, and a socket on which someone listens."""
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OSError, match="something else is there"):
        Health(str(tmp_path / "file"))
    one = Health(str(tmp_path / "socket"))
    with pytest.raises(OSError, match="another process listens there"):
        Health(str(tmp_path / "socket"))
    assert asked(Unix(str(tmp_path / "socket"))) == (503, {"status": "starting", "pid": os.getpid()})
    one.close()
    assert (tmp_path / "file").read_text() == "precious"


# ---------------------------------------------------------------------- the end


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "code", "event"), [(signal.SIGTERM, 0, "stopped"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_before_it_is_ready_ends_it_quietly(
    places: dict[str, Path], number: int, code: int, event: str
) -> None:
    """While it waits for the directory of another process; SIGTERM is what a service manager sends."""
    with spex.ShardedInstanceManager(**places, distribution_factor=1):
        arguments = ["serve", "--data-dir", str(places["data_dir"]), "--shards", "1"]
        process = subprocess.Popen([sys.executable, "-m", "spex_shards", *arguments], stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        assert json.loads(process.stderr.readline())["event"] == "start"
        process.send_signal(number)
        rest = process.stderr.read().splitlines()
        process.stderr.close()
        assert process.wait(60) == code
    assert all(line.startswith("{") for line in rest), rest[-3:]
    assert [json.loads(line)["event"] for line in rest] == [event]


@pytest.mark.long
def test_it_ends_within_the_grace_time_though_a_shard_is_stopped(serve: Serve) -> None:
    """A worker that does not go is killed then, and the log says so."""
    server = serve("--shards", "1", "--grace", "0.5").ready()
    worker = server.of("ready")[0]["shards"][0]["worker"]
    os.kill(worker, signal.SIGSTOP)
    assert server.end(signal.SIGTERM) == 0
    assert is_gone(worker)
    assert server.other == []
    assert server.said[-1]["event"] == "stopped"
