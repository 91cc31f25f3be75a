"""Real servers with four workers and module-level calls: no request fails for the library, and nothing is lost.

The applications are those of ``examples/web``, which docs/web.md shows.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.audit import verify
from tests.support.places import ROOT
from tests.support.processes import descendants, is_gone, wait_until
from tests.support.serving import server_of, supervisor_of
from tests.support.visitors import Visitors, wait_for_socket

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]
WORKERS = 4


class Server:
    """A running web server or task worker, its data directory, and its ends.

    Args:
        folder: For data, socket and log.
        command: The command, as words after ``python -m``; ``{socket}`` stands for the socket.
        environment: Further variables.
    """

    def __init__(self, folder: Path, command: list[str], **environment: str) -> None:
        self.data = folder / "data"
        self.socket = folder / "http"
        self._log = (folder / "log").open("wb")
        self.log = folder / "log"
        self.environment = {
            **os.environ,
            "SPEX_SHARDS_DATA_DIR": str(self.data),
            "SPEX_SHARDS_IMPL_MODELS_DIR": str(folder / "models"),
            "SPEX_SHARDS_CALL_TIMEOUT": "60",  # the machine may be busy; nothing may fail for that
            "SPEX_SHARDS_DISTRIBUTION_FACTOR": "2",
            "SPEX_SHARDS_MODE": "enforce",  # so whatever goes wrong is an error of the request
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "default",
            **environment,
        }
        words = [word.format(socket=self.socket) for word in command]
        self.process = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=folder, env=self.environment, stdout=self._log, stderr=self._log
        )

    def end(self) -> None:
        """Stop the server as its operator would, and wait until nothing of it is left."""
        everybody = {self.process.pid, *descendants(self.process.pid)}
        self.process.terminate()
        try:
            self.process.wait(90)  # uvicorn may wait for a worker's answer meanwhile, for up to 60 s (see below)
        finally:
            for pid in everybody if self.process.poll() is None else ():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(60)
            self._log.close()
        wait_until(lambda: all(map(is_gone, everybody)), "the server and its shards are gone")

    def kill_serving(self) -> None:
        """SIGKILL the process that serves the data directory."""
        self._signal_serving(signal.SIGKILL)

    def terminate_serving(self) -> None:
        """SIGTERM the process that serves the data directory: it finishes its request and exits."""
        self._signal_serving(signal.SIGTERM)

    def _signal_serving(self, number: int) -> None:
        def signalled() -> bool:
            try:
                os.kill(self.serving(), number)
            except ProcessLookupError:  # it has just ended
                return False
            return True

        wait_until(signalled, "the process that serves gets the signal")

    def kill_supervisor(self) -> None:
        """SIGKILL the supervisor."""
        os.kill(wait_until(lambda: supervisor_of(self.data), "there is a supervisor"), signal.SIGKILL)

    def restart(self) -> None:
        """Have the master replace all workers gracefully."""
        before = wait_until(lambda: server_of(self.data), "a process serves")
        self.process.send_signal(signal.SIGHUP)
        wait_until(  # uvicorn replaces its workers one after the other
            lambda: server_of(self.data) not in (0, before) or before == self.process.pid, "another serves", within=180
        )

    def serving(self) -> int:
        """Return the process id of the worker that serves the data directory."""

        def worker() -> int:
            found = server_of(self.data)
            return found if found in descendants(self.process.pid) else 0

        return int(wait_until(worker, "a worker serves the directory"))


@contextmanager
def running(folder: Path, command: list[str], **environment: str) -> Iterator[tuple[Server, Visitors]]:
    """Run a web server with visitors; at the end, everything must have been answered well and be stored."""
    server = Server(folder, command, **environment)
    try:
        wait_for_socket(server.socket)
        visitors = Visitors(server.socket)
        try:
            yield server, visitors
        finally:
            visitors.leave()
    finally:
        server.end()
    assert visitors.wrong == [], server.log.read_text()
    assert visitors.compare(stored(server.data)) == {}
    assert "Traceback" not in server.log.read_text()


def stored(data: Path) -> Iterator[tuple[str, list[str]]]:
    """Return the history of each order of a directory that is sound and that nobody serves any more."""
    assert verify(data) == []
    with spex.ShardedInstanceManager(data_dir=data, distribution_factor=2) as manager:
        for instance in manager.all_instances():
            kind, order = instance.identifier
            assert kind == "order"
            yield order, [entry.to_state for entry in instance.history]


def in_turn(server: Server, visitors: Visitors, *acts: Callable[[Server], None], each: int = 30) -> None:
    """Do something to a server again and again; in between, each time some more requests must be answered."""
    for act in acts:
        before = visitors.served
        wait_until(lambda before=before: visitors.served > before + each, "the server answers")
        act(server)
    before = visitors.served
    wait_until(lambda: visitors.served > before + each, "the server goes on answering")


def test_the_page_shows_these_applications() -> None:
    """And no other ones."""
    page = (ROOT / "docs" / "web.md").read_text()
    shown = re.findall(r"{literalinclude} \.\./examples/web/(\w+\.py)", page)
    assert sorted(shown) == sorted(path.name for path in (ROOT / "examples" / "web").glob("*.py"))


GUNICORN = ["gunicorn", f"--workers={WORKERS}", "--bind=unix:{socket}", "--timeout=60", "--log-level=warning"]
FLASK = [*GUNICORN, "examples.web.flask_app:app"]


@pytest.mark.long
def test_flask_on_gunicorn_answers_while_the_serving_worker_is_killed(tmp_path: Path) -> None:
    """The workers start together, one of them serves, and another one takes over from it."""
    with running(tmp_path, FLASK) as (server, visitors):
        in_turn(server, visitors, Server.kill_serving, each=10)


@pytest.mark.long
@pytest.mark.parametrize("preload", [False, True], ids=["not-preloaded", "preloaded"])
def test_flask_on_gunicorn_goes_on_over_kills_and_restarts(tmp_path: Path, preload: bool) -> None:
    """SIGKILL and SIGTERM of the serving worker, the death of the supervisor, and graceful restarts."""
    command = [*FLASK, "--preload"] if preload else FLASK
    acts = [Server.kill_serving, Server.restart, Server.terminate_serving, Server.kill_supervisor] * 3
    with running(tmp_path, command) as (server, visitors):
        in_turn(server, visitors, *acts)


@pytest.mark.long
def test_a_master_that_has_observed_something_serves_its_workers(tmp_path: Path) -> None:
    """With --preload, whatever the application observes while it is imported makes the master the serving process."""
    (tmp_path / "shop.py").write_text(
        "from examples.web.flask_app import *\nspex.init_instance(Order, ('order', 'first'))\n"
    )
    command = [*GUNICORN, "--preload", "shop:app"]
    with running(tmp_path, command) as (server, visitors):
        visitors.acknowledged["first"] = ["new"]
        assert wait_until(lambda: server_of(server.data), "one serves") == server.process.pid

        def workers() -> set[int]:
            supervisor = wait_until(lambda: supervisor_of(server.data), "there is a supervisor")
            return descendants(server.process.pid) - descendants(supervisor) - {supervisor}

        in_turn(server, visitors, Server.kill_supervisor, lambda _: os.kill(max(workers()), signal.SIGKILL))
        assert server_of(server.data)


@pytest.mark.long
def test_a_worker_that_hangs_and_is_replaced_by_gunicorn_is_taken_over_from(tmp_path: Path) -> None:
    """A worker that is stopped does not answer; gunicorn kills it after its timeout, and another one serves."""
    command = [word.replace("--timeout=60", "--timeout=6") for word in FLASK]
    with running(tmp_path, command) as (server, visitors):
        in_turn(server, visitors)
        before = server.serving()
        os.kill(before, signal.SIGSTOP)
        wait_until(lambda: server_of(server.data) not in (0, before), "another worker serves")
        in_turn(server, visitors)


@pytest.mark.long
def test_django_on_gunicorn_goes_on_over_kills_and_restarts(tmp_path: Path) -> None:
    """The status of an order is a field of a model in SQLite, observed when it is committed."""
    database = {"SHOP_DATABASE": str(tmp_path / "shop.sqlite3")}
    environment = {**os.environ, **database, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "examples.web.django_app"], env=environment, check=True, timeout=60)
    command = [*GUNICORN, "examples.web.django_app:app"]
    with running(tmp_path, command, **database) as (server, visitors):
        in_turn(server, visitors, Server.kill_serving, Server.restart, Server.terminate_serving, each=20)


@pytest.mark.long
def test_fastapi_on_uvicorn_goes_on_over_kills_and_restarts(tmp_path: Path) -> None:
    """Its workers are spawned by multiprocessing."""
    command = ["uvicorn", "--workers=4", "--uds={socket}", "--log-level=warning", "examples.web.fastapi_app:app"]
    command += ["--timeout-worker-healthcheck=60"]  # else uvicorn gives a restart up when a worker starts in over 5 s
    with running(tmp_path, command) as (server, visitors):
        in_turn(server, visitors, Server.kill_serving, Server.restart, Server.terminate_serving, Server.kill_supervisor)


SEND = """
import json, sys, time
from examples.web.celery_tasks import work
sent = [work.delay(number) for number in range(int(sys.argv[1]))]
for result in sent:
    print(json.dumps(result.get(timeout=90)), flush=True)
"""


@pytest.mark.long
@pytest.mark.tool("redis-server")
def test_celerys_prefork_workers_share_a_directory(tmp_path: Path) -> None:
    """Each result that Celery has names a run whose observations are stored, whoever was killed meanwhile."""
    broker = tmp_path / "redis"
    redis = ["redis-server", "--port", "0", "--unixsocket", str(broker), "--save", "", "--dir", str(tmp_path)]
    command = ["celery", "-A", "examples.web.celery_tasks", "worker", "--pool=prefork", f"--concurrency={WORKERS}"]
    more = {"BROKER": f"redis+socket://{broker}", "C_FORCE_ROOT": "1"}
    with subprocess.Popen(redis, stdout=subprocess.DEVNULL) as broking:
        wait_until(broker.exists, "the broker listens")
        server = Server(tmp_path, [*command, "--loglevel=ERROR", "--without-mingle", "--without-gossip"], **more)
        try:
            runs = _results(server, 400)
        finally:
            server.end()
            broking.terminate()
    assert verify(server.data) == []
    with spex.ShardedInstanceManager(data_dir=server.data, distribution_factor=2) as manager:
        states = {run.identifier: [entry.to_state for entry in run.history] for run in manager.all_instances()}
    assert [states.get(run) for run in runs] == [["begun", "failed" if n % 10 == 0 else "done"] for n in range(400)]
    assert all(history in (["begun"], ["begun", "done"], ["begun", "failed"]) for history in states.values())


def _results(server: Server, count: int) -> list[Any]:
    """Send tasks, kill the process that serves again and again, and return all results."""
    send = [sys.executable, "-c", SEND, str(count)]
    with subprocess.Popen(send, cwd=ROOT, env=server.environment, stdout=subprocess.PIPE, text=True) as sender:
        assert sender.stdout is not None
        results: list[Any] = []
        try:
            for line in sender.stdout:
                results.append(json.loads(line))
                if len(results) % 80 == 40:
                    server.kill_serving()
            assert sender.wait(60) == 0
        finally:
            sender.kill()
    return results
