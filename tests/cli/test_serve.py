"""`spex-shards serve`: a data directory for many application processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.runtime.client import connection
from tests.support.helper_specs import Door
from tests.support.places import ROOT
from tests.support.processes import descendants, is_gone, wait_until
from tests.support.serving import supervisor_of

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]


class Server:
    """A running `spex-shards serve`, and its output."""

    def __init__(
        self, places: dict[str, Path], *options: str, learn: bool = True, env: dict[str, str] | None = None
    ) -> None:
        arguments = ["serve", "--data-dir", places["data_dir"], "--models-dir", places["impl_models_dir"]]
        options = (*(["--learn"] if learn else []), *options)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "spex_shards.cli", *map(str, arguments), *options],
            stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})},
        )  # fmt: skip
        self.said: list[dict[str, Any]] = []
        self.other: list[str] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("{"):
                self.said.append(json.loads(line))
            else:
                self.other.append(line)

    def ready(self) -> Server:
        """Wait until it is ready."""
        wait_until(lambda: self.of("ready") or self.process.poll() is not None, "the server is ready")
        assert self.of("ready"), (self.said, self.other)
        return self

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the events of that name."""
        return [said for said in list(self.said) if said["event"] == event]

    def end(self, number: int) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        self.process.wait(20)
        self.reader.join(20)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return self.process.returncode


@pytest.fixture
def serve(places: dict[str, Path]) -> Iterator[Callable[..., Server]]:
    """Return a function that serves the directory; all servers are ended."""
    servers: list[Server] = []

    def start(*options: str, **more: Any) -> Server:
        servers.append(Server(places, *options, **more))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.end(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_that_it_is_ready_and_stops_gracefully(
    serve: Callable[..., Server], places: dict[str, Path], number: int
) -> None:
    """It carries out the requests that clients have sent, exits with 0, and leaves no process."""
    server = serve("--shards", "2").ready()
    [ready] = server.of("ready")
    assert [shard["status"] for shard in ready["shards"]] == ["READY", "READY"]
    assert ready["data_dir"] == str(places["data_dir"])
    below = descendants(server.process.pid)
    with spex.connect(places["data_dir"]) as client:
        for count in range(500):
            client.init_instance_nowait(Door, count)
        client.flush()
        assert server.end(number) == 0
    assert [said["event"] for said in server.said] == ["start", "ready", "stopping", "stopped"]
    assert server.other == []
    assert all(is_gone(pid) for pid in below)
    with spex.ShardedInstanceManager(**places, distribution_factor=2) as manager:
        assert len(manager.all_instances()) == 500


@pytest.mark.long
def test_an_attached_process_sees_that_the_shards_were_stopped_on_purpose(
    serve: Callable[..., Server], places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their status is STOPPED until another server's shards are ready."""
    monkeypatch.setattr(connection, "CONNECT_WITHIN", 60.0)  # on a busy machine a server takes longer than ten seconds
    server = serve("--shards", "2").ready()
    with spex.connect(places["data_dir"], call_timeout=30) as client:
        assert {shard.status for shard in client.shards()} == {spex.ShardStatus.READY}
        assert server.end(signal.SIGTERM) == 0
        stopped = wait_until(
            lambda: [shard for shard in client.shards() if shard.status is spex.ShardStatus.STOPPED], "they are stopped"
        )
        assert [(shard.index, shard.pid, shard.last_exit) for shard in stopped] == [
            (0, None, "exit code 0"),
            (1, None, "exit code 0"),
        ]
        serve("--shards", "2").ready()
        wait_until(
            lambda: {shard.status for shard in client.shards()} == {spex.ShardStatus.READY}, "it is attached again"
        )


def test_who_asks_for_the_status_while_the_server_stops_is_answered(
    serve: Callable[..., Server], places: dict[str, Path]
) -> None:
    """By what the server said last, though no other server follows; nobody waits for the whole `call_timeout`."""
    server = serve("--shards", "2").ready()
    with spex.connect(places["data_dir"], call_timeout=120) as client:
        seen: list[set[spex.ShardStatus]] = []

        def ask() -> None:
            while not seen or seen[-1] != {spex.ShardStatus.STOPPED}:
                seen.append({shard.status for shard in client.shards()})

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(seen) > 8, "they ask")
        assert server.end(signal.SIGTERM) == 0
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)


@pytest.mark.long
def test_clients_attach_by_themselves_to_the_one_that_follows(
    serve: Callable[..., Server], places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is killed and started again by its user; unanswered requests are applied once."""
    monkeypatch.setattr(connection, "CONNECT_WITHIN", 60.0)  # on a busy machine its user takes longer than ten seconds
    server = serve("--shards", "2").ready()
    with spex.connect(places["data_dir"], call_timeout=30) as client:
        for count in range(100):
            client.init_instance_nowait(Door, count)
        below = descendants(server.process.pid)
        server.end(signal.SIGKILL)
        wait_until(lambda: all(is_gone(pid) for pid in below), "its processes are gone")
        for count in range(100, 200):
            client.init_instance_nowait(Door, count)
        serve("--shards", "2").ready()
        client.flush(30)
        assert {instance.identifier for instance in client.all_instances()} == set(range(200))


def test_a_second_server_over_the_directory_exits_with_2(serve: Callable[..., Server]) -> None:
    """The error names the owner, and says how to use its shards."""
    first = serve("--shards", "1").ready()
    second = serve("--shards", "1")
    assert second.process.wait(20) == 2
    second.reader.join(20)
    why = f"belongs to process {first.process.pid}, which serves it: use spex_shards.connect("
    assert why in second.said[-1]["message"]
    second.process.stderr.close()  # type: ignore[union-attr]
    assert first.process.poll() is None


def test_a_pool_of_processes_observes_shared_instances(serve: Callable[..., Server], places: dict[str, Path]) -> None:
    """Four workers of a process pool each have a connection of their own: the totals are exact."""
    serve("--shards", "2").ready()
    script = f"""
import concurrent.futures, multiprocessing, os
import spex_shards as spex
from tests.support.helper_specs import Door
def observe(number):
    global client
    if "client" not in globals():
        client = spex.connect({str(places["data_dir"])!r}, call_timeout=20)
    client.transition(number % 5, "open", str(os.getpid()))
    return os.getpid()
if __name__ == "__main__":
    with spex.connect({str(places["data_dir"])!r}) as own:
        for number in range(5):
            own.init_instance(Door, number)
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(4, mp_context=context) as pool:
        pids = list(pool.map(observe, range(400)))
    with spex.connect({str(places["data_dir"])!r}) as own:
        print(sum(len(instance.history) - 1 for instance in own.all_instances()), len(set(pids)) > 1)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60,
        cwd=ROOT, env={**os.environ, "PYTHONPATH": "."},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("400 True\n", "")


@pytest.mark.long
def test_a_supervisor_that_does_not_answer_for_a_while_does_not_end_the_server(
    serve: Callable[..., Server], places: dict[str, Path]
) -> None:
    """It is stopped for longer than a call waits; when it goes on, so do the shards."""
    server = serve().ready()
    with spex.connect(places["data_dir"], call_timeout=6.0) as manager:
        manager.init_instance(Door, 1)
        supervisor = wait_until(lambda: supervisor_of(places["data_dir"]), "a supervisor runs")
        os.kill(supervisor, signal.SIGSTOP)
        try:
            for _ in range(2):
                with pytest.raises(spex.ShardDown, match="did not answer"):
                    manager.shards()
        finally:
            os.kill(supervisor, signal.SIGCONT)
        assert len(manager.shards()) == 4
    assert server.end(signal.SIGTERM) == 0
