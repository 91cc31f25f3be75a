"""Real programs on one data directory: a pre-forking server, process pools, forks, and very many clients at once.

Every test checks the same. Each observation has a name of its own. An acknowledged one is in the store exactly once;
one whose process was killed before the acknowledgement is there once or not at all; nothing else is there.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from tests.support.helper_specs import Door
from tests.support.peers_app import SHARED, shared_instance
from tests.support.places import ROOT
from tests.support.processes import descendants, wait_until

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]


@pytest.fixture
def served(places: dict[str, Path]) -> Iterator[Any]:
    """Return a manager with two shards and the shared instances, whose directory others connect to."""
    with spex.ShardedInstanceManager(**places, distribution_factor=2, learning_mode=True, call_timeout=30) as manager:
        for number in range(SHARED):
            manager.init_instance(Door, ("shared", number))
        yield manager


def check_account(manager: Any, acknowledged: set[str], unknown: set[str]) -> None:
    """Compare the store with the acknowledged observations, and with those that may be there."""
    seen: Counter[str] = Counter()
    for instance in manager.all_instances():
        kind, key = instance.identifier
        states = [entry.to_state for entry in instance.history[1:]]
        if kind == "shared":
            seen.update(states)
            assert {shared_instance(state) for state in states} <= {instance.identifier}
        else:
            assert states == []
            seen[f"init {key}"] += 1
    assert [name for name, count in seen.items() if count > 1] == []
    assert acknowledged <= seen.keys()
    assert {f"init {name}" for name in acknowledged} <= seen.keys()
    others = {name.removeprefix("init ") for name in seen} - acknowledged
    assert others <= unknown


class Gunicorn:
    """A gunicorn with four pre-forked workers that are replaced after some forty requests each."""

    def __init__(self, data_dir: Path, folder: Path, *, preload: bool) -> None:
        self.socket = folder / "http"
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "tests.support.peers_app:app",
            "--workers=4",
            f"--bind=unix:{self.socket}",
        ]
        command += ["--max-requests=40", "--max-requests-jitter=20", "--log-level=warning", "--graceful-timeout=20"]
        command += ["--preload"] if preload else []
        environment = {**os.environ, "PEERS_DATA_DIR": str(data_dir)}
        environment |= {"PEERS_CONNECT_FIRST": "1"} if preload else {}
        with (folder / "errors").open("w") as errors:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=errors)
        self.pids: set[int] = set()
        self.killed: list[int] = []

    def get(self, name: str) -> bool:
        """Make a request; return whether it was answered with 200. If not, its effect is unknown."""
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        try:
            connection.sock.connect(str(self.socket))
            connection.request("GET", f"/{name}", headers={"Connection": "close"})
            response = connection.getresponse()
            self.pids.add(int(response.read()))
            return response.status == 200
        except (OSError, http.client.HTTPException, ValueError):
            return False
        finally:
            connection.close()

    def wait(self) -> None:
        """Wait until it answers."""
        wait_until(lambda: self.get("") or self.process.poll() is not None, "the server answers")
        assert self.process.poll() is None

    def kill_a_worker(self) -> None:
        """SIGKILL one of its workers that has answered a request, unless all of those are being replaced."""
        for worker in sorted(descendants(self.process.pid) & self.pids):
            try:
                os.kill(worker, signal.SIGKILL)
            except ProcessLookupError:  # it has had its forty requests
                continue
            self.killed.append(worker)
            return

    def stop(self) -> int:
        """Stop it gracefully; return its exit code."""
        self.process.terminate()
        return self.process.wait(40)


@pytest.mark.long
@pytest.mark.parametrize(
    "preload",
    [pytest.param(False, marks=pytest.mark.long), True],
    ids=["each worker connects", "connected before the fork"],
)
def test_workers_of_gunicorn_observe_shared_instances_exactly(
    served: Any, places: dict[str, Path], tmp_path: Path, preload: bool
) -> None:
    """8 HTTP clients make 600 requests while workers are recycled and some are killed: the totals are exact."""
    server = Gunicorn(places["data_dir"], tmp_path, preload=preload)
    answers: dict[str, bool] = {}

    def request(number: int) -> None:
        if number % 120 == 60:
            server.kill_a_worker()
        answers[f"r{number}"] = server.get(f"r{number}")

    try:
        server.wait()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(request, range(600)))
    finally:
        code = server.stop()
    assert code == 0
    acknowledged = {name for name, ok in answers.items() if ok}
    unknown = answers.keys() - acknowledged
    assert len(acknowledged) + len(unknown) == 600
    assert len(server.killed) >= 3
    assert len(unknown) <= len(server.killed), "a killed worker had one request, and a recycled one none"
    assert len(server.pids) > 8, "workers were recycled"
    check_account(served, acknowledged, unknown)


POOL = """
import concurrent.futures, faulthandler, multiprocessing, os, signal, sys, time
from concurrent.futures.process import BrokenProcessPool
from tests.support.peers_app import observe

def task(name):
    observe(name)
    return name

if __name__ == "__main__":
    faulthandler.dump_traceback_later(80, exit=True)
    method, recycle, kill = sys.argv[1], int(sys.argv[2]) or None, sys.argv[3] == "kill"
    for round in range(2):
        pool = concurrent.futures.ProcessPoolExecutor(
            4, mp_context=multiprocessing.get_context(method), max_tasks_per_child=recycle
        )
        names = [f"{round}-{number}" for number in range(100)]
        sleeper = pool.submit(time.sleep, 3600) if kill else None  # so that the pool is at work when it is broken
        futures = {name: pool.submit(task, name) for name in names}
        for number, name in enumerate(names):
            if kill and number == 40:
                os.kill(list(pool._processes)[round], signal.SIGKILL)
            try:
                print("done", futures[name].result(60), flush=True)
            except BrokenProcessPool:
                print("unknown", name, flush=True)
        try:
            if sleeper is not None:
                sleeper.result(60)
        except BrokenProcessPool:
            print("broken", round, flush=True)
        pool.shutdown()
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("method", "recycle", "kill"),
    [("fork", 0, True), ("forkserver", 30, False), ("spawn", 0, True)],
    ids=["forked, one killed", "replaced after 30 tasks each", "spawned, one killed"],
)
def test_workers_of_a_process_pool_observe_shared_instances_exactly(
    served: Any, places: dict[str, Path], tmp_path: Path, method: str, recycle: int, kill: bool
) -> None:
    """With two pools of four processes, the store has what their futures returned."""
    (tmp_path / "pool.py").write_text(POOL)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PEERS_DATA_DIR": str(places["data_dir"])}
    command = [sys.executable, str(tmp_path / "pool.py"), method, str(recycle), "kill" if kill else "-"]
    with (tmp_path / "said").open("w") as output, (tmp_path / "errors").open("w") as errors:
        # Files instead of pipes: a process that outlives its pool would keep a pipe open.
        code = subprocess.Popen(command, stdout=output, stderr=errors, env=environment).wait(100)
    assert code == 0, (tmp_path / "errors").read_text()
    said = [line.split() for line in (tmp_path / "said").read_text().splitlines()]
    acknowledged = {name for word, name in said if word == "done"}
    unknown = {name for word, name in said if word == "unknown"}
    assert len(acknowledged) + len(unknown) == 200
    assert [word for word, _ in said].count("broken") == (2 if kill else 0)
    check_account(served, acknowledged, unknown)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_two_hundred_clients_at_once(served: Any) -> None:
    """Forked children of one process, all released at the same moment, get their channels and answers."""
    count = 200
    gate, opener = os.pipe()
    pids = []
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(opener)
                os.read(gate, 1)
                name = f"c{number}"
                served.init_instance(Door, ("request", name))
                served.transition(shared_instance(name), "open", name)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    os.close(gate)
    os.close(opener)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * count
    check_account(served, {f"c{number}" for number in range(count)}, set())


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_threads_call_harms_neither_parent_nor_child(served: Any) -> None:
    """Whatever lock a thread held during the fork, the child's calls and the parent's calls succeed."""
    stop = threading.Event()
    names: list[list[str]] = [[], [], []]

    def work(index: int) -> None:
        while not stop.is_set():
            name = f"t{index}-{len(names[index])}"
            served.init_instance_nowait(Door, ("request", name))
            served.transition(shared_instance(name), "open", name)
            names[index].append(name)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    forked = []
    for number in range(25):
        before = sum(map(len, names))
        wait_until(lambda before=before: sum(map(len, names)) > before + 5, "the threads get on")
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                name = f"f{number}"
                served.init_instance_nowait(Door, ("request", name))
                served.transition(shared_instance(name), "open", name)
                served.flush(20)
                code = 0
            finally:
                os._exit(code)
        forked.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in forked]
    stop.set()
    for thread in threads:
        thread.join(20)
    served.flush(20)
    assert codes == [0] * 25
    check_account(served, {name for part in names for name in part} | {f"f{number}" for number in range(25)}, set())


def test_another_process_attaches_by_a_path_longer_than_a_sockets_may_be(tmp_path: Path) -> None:
    """The path has over 107 bytes on both sides, and the current directory is another one."""
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    with spex.ShardedInstanceManager(
        data_dir=folder, impl_models_dir=tmp_path / "m", distribution_factor=1, learning_mode=True
    ) as manager:
        manager.init_instance(Door, 1)
        script = f"""
import spex_shards as spex
with spex.connect({str(folder)!r}) as client:
    client.transition(1, "open", "opened")
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd="/")
        assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
        assert manager.get_instance(1).current_state == "opened"
