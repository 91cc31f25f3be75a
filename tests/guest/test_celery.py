"""Celery's prefork workers on a real broker: no task loses an observation, whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from tests.support.places import ROOT
from tests.support.processes import descendants, is_gone, wait_until

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.tool("redis-server"),
    pytest.mark.usefixtures("no_process_left"),
]
TASKS = 300
SEND = """
import sys
from tests.programs.soak.tasks import observe_once
for number in range(int(sys.argv[2])):
    observe_once.delay(sys.argv[1], str(number))
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    """Return the socket of a Redis that belongs to this test and keeps nothing."""
    path = tmp_path / "redis"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        wait_until(path.exists, "the broker listens")
        yield str(path)
        server.terminate()


@pytest.fixture
def served(places: dict[str, Path]) -> Iterator[Any]:
    """Return a manager whose directory the tasks connect to."""
    with spex.ShardedInstanceManager(
        **places, distribution_factor=2, learning_mode=True, call_timeout=30, max_restarts=1000
    ) as manager:
        yield manager


def lines(folder: Path, ending: str) -> list[str]:
    """Return the lines that all processes have written."""
    return [line for path in folder.glob(f"*.{ending}") for line in path.read_text().splitlines()]


@pytest.mark.long
def test_tasks_of_prefork_workers_lose_no_observation(
    served: Any, places: dict[str, Path], broker: str, tmp_path: Path
) -> None:
    """Three processes, replaced after 40 tasks each, run 300 tasks while some of them and some shards are killed.

    A task whose process is killed is delivered again; each run has a name of its own. A run that was acknowledged is in
    the store exactly once; a run that was cut off is there once or not at all; and each task has an acknowledged run.
    """
    notes = tmp_path / "notes"
    notes.mkdir()
    environment = {**os.environ, "SOAK_BROKER": broker, "SOAK_DATA_DIR": str(places["data_dir"]), "C_FORCE_ROOT": "1"}
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "tests.programs.soak.tasks",
        "worker",
        "--pool=prefork",
        "--concurrency=3",
    ]
    command += ["--max-tasks-per-child=40", "--loglevel=ERROR", "--without-mingle", "--without-gossip"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as worker:
        try:
            send = [sys.executable, "-c", SEND, str(notes), str(TASKS)]
            subprocess.run(send, cwd=ROOT, env=environment, check=True, timeout=60)
            for done in range(30, TASKS, 60):
                wait_until(lambda done=done: len(lines(notes, "done")) >= done, f"{done} are done", within=60)
                writers = {int(path.stem) for path in notes.glob("*.begun")} & descendants(worker.pid)
                os.kill(max(writers), signal.SIGKILL)
                shard = served.shards()[done // 60 % 2].pid
                if shard:
                    os.kill(shard, signal.SIGKILL)

            def finished() -> set[str]:
                return {line.split()[0] for line in lines(notes, "done")}

            wait_until(lambda: len(finished()) == TASKS, "each task has a run that was acknowledged", within=90)
        finally:
            processes = {worker.pid, *descendants(worker.pid)}
            worker.terminate()
            worker.wait(40)
    wait_until(lambda: all(map(is_gone, processes)), "the workers are gone")
    begun, done_runs = lines(notes, "begun"), lines(notes, "done")
    stored = [instance.identifier for instance in served.all_instances()]
    assert len(stored) == len(set(stored))
    assert set(done_runs) <= set(stored) <= set(begun)
    assert all(len(instance.history) == 1 for instance in served.all_instances())
