"""Starts all processes, kills at random, restarts in turn, takes samples, and compares journals with the store."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import spex_shards as spex
from spex_shards.audit import verify
from spex_shards.runtime.holder import start_time
from tests.support.places import ROOT
from tests.support.processes import descendants, wait_until

from .books import Bookkeeper
from .observer import DATA, JOURNALS
from .samples import Samples

KINDS = {"worker": 40, "supervisor": 8, "web worker": 20, "task worker": 20, "script": 10, "server": 2}
"""Of a hundred kills."""


class Soak:
    """All processes of the soak, in `folder`.

    Args:
        folder: For the data directory, journals, logs and sockets.
        seed: The seed of the kills.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = Random(seed)
        self.kills: Counter[str] = Counter()
        self.restarts: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.samples = Samples()
        self.result: dict[str, Any] = {}
        self._unbalanced: spex.SpexError | None = None
        self._everybody: set[tuple[int, int | None]] = set()
        self._stop = threading.Event()
        (folder / "journals").mkdir()
        self._log = (folder / "log").open("ab")
        self.broker = self._start_broker()
        self.running = {name: self._start(name) for name in ("server", "web", "tasks", "script")}
        self._clients = [threading.Thread(target=self._request), threading.Thread(target=self._send_tasks)]
        for client in self._clients:
            client.start()
        self.manager = wait_until(self._connected, "the shards can be reached", within=60)
        self.books = Bookkeeper(folder / "journals", self.manager)

    # ------------------------------------------------------------------ who runs

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "SPEX_SHARDS_MAX_RESTARTS": "1000000",
            "SPEX_SHARDS_LEARNING_MODE": "true",
            "PYTHONPATH": str(ROOT),
            "C_FORCE_ROOT": "1",
            "SOAK_BROKER": str(self.folder / "redis"),
            DATA: str(self.folder / "data"),
            JOURNALS: str(self.folder / "journals"),
        }

    def _commands(self) -> dict[str, list[str]]:
        at, celery = self.folder, ["--pool=prefork", "--concurrency=2", "--max-tasks-per-child=100", "--loglevel=ERROR"]
        return {
            "server": ["spex_shards.cli", "serve", "--data-dir", str(at / "data"), "--models-dir", str(at / "m"),
                       "--shards=3"],
            "web": ["gunicorn", "tests.programs.soak.web:app", "--workers=3",
                    f"--bind=unix:{at / 'http'}", "--max-requests=300",
                    "--max-requests-jitter=50", "--log-level=critical", "--timeout=60"],
            "tasks": ["celery", "-A", "tests.programs.soak.tasks", "worker", *celery],
            "script": ["tests.programs.soak.script"],
        }  # fmt: skip

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", *self._commands()[name]]
        return subprocess.Popen(command, cwd=ROOT, env=self._environment(), stdout=self._log, stderr=self._log)

    def _start_broker(self) -> subprocess.Popen[bytes]:
        path = self.folder / "redis"
        command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(self.folder)]
        broker = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        wait_until(path.exists, "the broker listens")
        return broker

    def _connected(self) -> Any:
        manager = None
        try:
            manager = spex.connect(self.folder / "data", call_timeout=60)
            manager.stats()
        except (spex.SpexError, OSError):
            if manager is not None:
                manager.close()
            return None
        return manager

    # ------------------------------------------------------------------ who asks

    def _request(self) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPConnection("localhost", timeout=60)
            connection.sock = socket.socket(socket.AF_UNIX)
            try:
                connection.sock.settimeout(60)
                connection.sock.connect(str(self.folder / "http"))
                connection.request("GET", "/observe", headers={"Connection": "close"})
                self.answers[str(connection.getresponse().status)] += 1
            except (OSError, http.client.HTTPException):
                self.answers["cut off"] += 1
            finally:
                connection.close()
            self._stop.wait(0.02)

    def _send_tasks(self) -> None:
        send = (
            "import time\nfrom tests.programs.soak.tasks import observe\nwhile True: observe.delay(); time.sleep(0.05)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", send], cwd=ROOT, env=self._environment(), stderr=self._log
        ) as sender:
            self._stop.wait()
            sender.kill()

    # ------------------------------------------------------------------ killing and restarting

    def kill_one(self) -> None:
        """Kill a random process, and restart it if the library does not."""
        kind = self.random.choices(list(KINDS), list(KINDS.values()))[0]
        victims = self._victims()[kind]
        if victims:
            with suppress(ProcessLookupError):
                os.kill(self.random.choice(victims), signal.SIGKILL)
                self.kills[kind] += 1
        self._look_after()

    def restart_one(self) -> None:
        """Restart one of the services as its operator would, without a kill."""
        name = self.random.choice(("server", "web", "tasks"))
        self.restarts[name] += 1
        if name == "web":
            self.running[name].send_signal(signal.SIGHUP)  # new workers come, old ones finish
            return
        self.running[name].send_signal(signal.SIGTERM)
        try:
            self.running[name].wait(60)
        except subprocess.TimeoutExpired:
            self.kills[f"{name}, which did not stop"] += 1
            self.running[name].kill()
        self._look_after()

    def _look_after(self) -> None:
        for name, process in self.running.items():
            if process.poll() is not None:
                self.running[name] = self._start(name)

    def _victims(self) -> dict[str, list[int]]:
        holders: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            holders = json.loads((self.folder / "data" / "lock").read_text())
        ours = descendants(self.running["server"].pid)
        return {
            "worker": [pid for pid, _ in holders.get("workers", []) if pid in ours],
            "supervisor": [pid for pid in [holders.get("owner", [0])[0]] if pid in ours],
            "web worker": sorted(descendants(self.running["web"].pid)),
            "task worker": sorted(descendants(self.running["tasks"].pid)),
            "script": [self.running["script"].pid],
            "server": [self.running["server"].pid],
        }

    def sample(self) -> None:
        """Take a sample of all processes."""
        self._everybody |= {(pid, start_time(pid)) for pid in descendants()}
        masters = {f"{name} (master)": [self.running[name].pid] for name in ("web", "tasks")}
        self.samples.take({**self._victims(), **masters, "bookkeeper": [os.getpid()]}, self.folder / "data")

    # ------------------------------------------------------------------ the end

    def finish(self) -> dict[str, Any]:
        """End all applications, compare the last journals, stop the server, and audit the directory."""
        self._stop.set()
        for client in self._clients:
            client.join()
        for name in ("web", "tasks", "script"):
            for pid in [*descendants(self.running[name].pid), self.running[name].pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.running[name].wait()
        deadline = time.monotonic() + 120
        while not self._all_balanced():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the books cannot be balanced: {self.manager.shards()}") from self._unbalanced
            time.sleep(0.1)
        left = self.books.left()
        self.manager.close()
        self._everybody |= {(pid, start_time(pid)) for pid in descendants(self.running["server"].pid)}
        self.running["server"].send_signal(signal.SIGTERM)
        self.running["server"].wait(60)
        names = ("observations", "acknowledged", "lost", "doubled or out of order", "uncertain", "processes")
        totals = {name: self.books.totals[name] for name in names}
        return {
            **totals,
            "of nobody": left,
            "kills": dict(self.kills),
            "restarts": dict(self.restarts),
            "web answers": dict(self.answers),
            "findings of verify": len(verify(self.folder / "data")),
            "orphans": len(self._left()),
        }

    def _all_balanced(self) -> bool:
        try:
            self.books.balance(settled=2)
        except spex.SpexError as error:
            self._unbalanced = error
        return not list((self.folder / "journals").glob("*.journal"))

    def _left(self) -> list[int]:
        observers = {self.broker.pid, os.getpid()}
        time.sleep(2)  # what the last kills have left has so long to end
        return [
            pid for pid, start in self._everybody
            if start is not None and pid not in observers and start_time(pid) == start
        ]  # fmt: skip

    def close(self) -> None:
        """End everything, whatever has happened."""
        self._stop.set()
        for process in [*self.running.values(), self.broker]:
            for pid in [*descendants(process.pid), process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
        self._log.close()


def soak(folder: Path, *, seconds: float, seed: int, kill_every: float = 3.0, restart_every: float = 60.0) -> Soak:
    """Run for the given time; return the report, after `finish`."""
    if shutil.which("redis-server") is None:
        raise RuntimeError("redis-server must be installed: it is the broker of the tasks")
    run = Soak(folder, seed)
    run.result = _worked(run, seconds, kill_every, restart_every)
    return run


def _worked(run: Soak, seconds: float, kill_every: float, restart_every: float) -> dict[str, Any]:
    try:
        end = time.monotonic() + seconds
        kill_at, restart_at = time.monotonic() + kill_every, time.monotonic() + restart_every
        while time.monotonic() < end:
            time.sleep(min(1.0, kill_every))
            if time.monotonic() >= kill_at:
                run.kill_one()
                kill_at = time.monotonic() + run.random.uniform(0.3, 1.7) * kill_every
            if time.monotonic() >= restart_at:
                run.restart_one()
                restart_at = time.monotonic() + restart_every
            run.sample()
            with suppress(spex.SpexError):
                run.books.balance()
        return run.finish()
    finally:
        run.close()
