"""Starts a server and applications, kills them at random, and compares the journals with the store."""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import spex_shards as spex
from spex_shards.runtime.holder import start_time
from tests.support.places import ROOT
from tests.support.processes import descendants, wait_until

from .books import Books
from .limits import Limits
from .specs import Chain, Timed

SHARDS = 3
APPLICATIONS = 3
KINDS = {"worker": 80, "supervisor": 10, "application": 8, "server": 2}
"""Of a hundred kills."""
TERMINATED = 0.4
"""So many of the applications get SIGTERM instead of SIGKILL."""
STOPS = 0.1
"""Stops for a while, for each kill."""
SHORTAGES = 0.3
"""Phases in which a process has too little memory, or may start none, for each kill."""


class Ear(logging.Handler):
    """A logging handler that notes which timeouts are reported to this process."""

    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        """Note the instance."""
        text = record.getMessage()
        if "has been in state" in text:
            self._heard.append(text.split("'")[1])


class Chaos:
    """A data directory, the processes that use it, and the kills."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = Random(seed)
        self.kills: Counter[str] = Counter()
        self.stops: Counter[str] = Counter()
        self.limits = Limits(self.random)
        self.ended: Counter[str] = Counter()
        self._stopped: list[tuple[float, int, int | None]] = []
        self._names = 0
        self._victims: list[subprocess.Popen[bytes]] = []
        self._everybody: set[tuple[int, int | None]] = set()  # ids are reused: each has its start time
        self.heard: list[str] = []
        self._ear = Ear(self.heard)
        logging.getLogger("spex_shards").addHandler(self._ear)
        self._log = (folder / "server.log").open("ab")
        self.server = self._serve()
        self.applications = [self._application() for _ in range(APPLICATIONS)]

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "SPEX_SHARDS_MAX_RESTARTS": "1000000",
            "SPEX_SHARDS_LEARNING_MODE": "true",
            "PYTHONPATH": str(ROOT),
        }

    def _serve(self) -> subprocess.Popen[bytes]:
        arguments = ["serve", "--data-dir", self.folder / "data", "--models-dir", self.folder / "models"]
        return subprocess.Popen(
            [sys.executable, "-m", "spex_shards.cli", *map(str, arguments), "--shards", str(SHARDS)],
            stderr=self._log, env=self._environment(), cwd=ROOT, preexec_fn=_adopt_orphans,
        )  # fmt: skip

    def _application(self) -> subprocess.Popen[bytes]:
        self._names += 1
        name = f"app{self._names}"
        arguments = [str(self.folder / "data"), str(self.folder / f"{name}.journal"), name]
        return subprocess.Popen(
            [sys.executable, "-m", "tests.programs.chaos.app", *arguments],
            env=self._environment(),
            cwd=ROOT,
            stderr=self._log,
        )

    # ------------------------------------------------------------------ killing

    def kill_one(self) -> None:
        """Kill a random process, and restart it if the library does not."""
        self._note_all()
        kind = self.random.choices(list(KINDS), list(KINDS.values()))[0]
        getattr(self, f"_kill_{kind}")()
        for place, application in enumerate(self.applications):
            if application.poll() is not None:
                if application not in self._victims:
                    self.ended[f"exit code {application.poll()}"] += 1
                self.applications[place] = self._application()
        if self.server.poll() is not None:
            self.server = self._serve()

    def _holders(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / "data" / "lock").read_text()))
        except (OSError, ValueError):
            return {}

    def _kill_worker(self) -> None:
        workers = [pid for pid, _ in self._holders().get("workers", [])]
        if workers:
            self._kill("worker", self.random.choice(workers))

    def _kill_supervisor(self) -> None:
        owner = self._holders().get("owner", [None])[0]
        if owner is not None:
            self._kill("supervisor", owner)

    def _kill_application(self) -> None:
        victim = self.random.choice(self.applications)
        self._victims.append(victim)
        if self.random.random() < TERMINATED:
            # While this waits for the process, stopped processes stay stopped and limits stay in place.
            self.wake(everybody=True)
            self.limits.lift(at_once=True)
            victim.terminate()  # its handler closes the manager
            self.kills["application by SIGTERM"] += 1
        else:
            self._kill("application", victim.pid)
        victim.wait(180)

    def _kill_server(self) -> None:
        self._kill("server", self.server.pid)
        self.server.wait()

    def _kill(self, kind: str, pid: int) -> None:
        if pid not in descendants():
            return  # the lock file is of before
        with contextlib.suppress(ProcessLookupError):  # it may be ending just now
            os.kill(pid, signal.SIGKILL)
            self.kills[kind] += 1

    # ------------------------------------------------------------------ stopping for a while

    def stop_one(self) -> None:
        """SIGSTOP a random process, which continues up to two seconds later."""
        kind = self.random.choice(list(KINDS))
        pid = self._somebody(kind)
        if pid in descendants():
            with contextlib.suppress(ProcessLookupError):  # it may be ending just now
                os.kill(pid, signal.SIGSTOP)
                self.stops[kind] += 1
                self._stopped.append((time.monotonic() + self.random.uniform(0.1, 2), pid, start_time(pid)))

    def limit_one(self) -> None:
        """Limit a resource of a random process for a moment."""
        role = self.random.choice(["worker", "supervisor", "application"])
        pid = self._somebody(role)
        if pid in descendants():
            self.limits.impose(role, pid)

    def _somebody(self, kind: str) -> Any:
        holders = self._holders()
        return {
            "worker": self.random.choice([pid for pid, _ in holders.get("workers", [])] or [None]),
            "supervisor": holders.get("owner", [None])[0],
            "application": self.random.choice(self.applications).pid,
            "server": self.server.pid,
        }[kind]

    def wake(self, *, everybody: bool = False) -> None:
        """Continue the stopped processes whose time has come."""
        for until, pid, start in list(self._stopped):
            if everybody or until < time.monotonic():
                self._stopped.remove((until, pid, start))
                if start_time(pid) == start:
                    with contextlib.suppress(ProcessLookupError):  # it may be ending just now
                        os.kill(pid, signal.SIGCONT)

    # ------------------------------------------------------------------ the end

    def finish(self) -> dict[str, Any]:
        """End the applications, compare the store with the journals, and stop the server; return the table."""
        for application in self.applications:
            application.kill()
            application.wait()
        with wait_until(self._connected, "the shards can be reached", within=60) as manager:
            timed = {instance.identifier for instance in manager.iter_instances(Timed)}
            wait_until(lambda: timed <= set(self._reported()), "all timeouts are reported", within=60)
            table = self._compare(manager, Books(self.folder))
        wait_until(lambda: not self._zombies(), "the server has reaped what it inherited")
        self._note_all()
        self.server.send_signal(signal.SIGTERM)
        self.server.wait(30)
        deadline = time.monotonic() + 10
        self._log.close()
        logging.getLogger("spex_shards").removeHandler(self._ear)
        wait_until(lambda: not self._left() or time.monotonic() > deadline, "no process is left", within=20)
        table["orphans"] = len(self._left())
        return table

    def _zombies(self) -> list[int]:
        return [pid for pid in descendants(self.server.pid) if start_time(pid) is None]

    def _note_all(self) -> None:
        self._everybody |= {(pid, start_time(pid)) for pid in descendants()}

    def _left(self) -> list[int]:
        return [pid for pid, start in self._everybody if start is not None and start_time(pid) == start]

    def _connected(self) -> Any:
        if self.server.poll() is not None:  # the directory was held by a supervisor that could not end
            self.server = self._serve()
        if self._holders().get("owner", [None])[0] not in descendants(self.server.pid):
            return None  # one that ends, as its server is dead
        try:
            manager = spex.connect(self.folder / "data", call_timeout=60)
            manager.stats()
        except (spex.SpexError, OSError):
            return None
        return manager

    def _reported(self) -> Counter[str]:
        # The server attaches like an application, and logs what it is given. A process that is killed while it writes
        # leaves a line without an end, so a line may hold more than one report.
        text = (self.folder / "server.log").read_text(errors="replace")
        by_server = Counter(re.findall(rf"instance '([^']*)' of {re.escape(Timed.name)} has been in state", text))
        return Books(self.folder).reported + by_server + Counter(self.heard)

    def _compare(self, manager: Any, books: Books) -> dict[str, Any]:
        models = {m.specification: m.transitions for m in manager.all_impl_models()}  # before what showed it
        stored = {i.identifier: [entry.to_state for entry in i.history] for i in manager.iter_instances(Chain)}
        shown = {spex.Transition(None, spex.INITIALISATION, "start")}
        for history in stored.values():
            shown |= {spex.Transition(one, "go", other) for one, other in pairwise(history)}
        found = books.balance(stored, gaps=any(role.startswith("worker") for role in self.limits.counts))
        timed = {i.identifier for i in manager.iter_instances(Timed)}
        reported = self._reported().values()
        return {
            "kills": dict(self.kills),
            "stops": dict(self.stops),
            "short of": self.limits.table(),
            "applications that gave up": dict(self.ended),
            "observations": sum(books.issued.values()),
            "acknowledged": sum(books.acknowledged.values()),
            **found,
            "timed instances": len(books.timed),
            "reported more than once": sum(count > 1 for count in reported),
            "most reports of one timeout": max(reported, default=0),
            "timed instances lost": len(books.timed - timed),
            "uncertain calls": dict(books.uncertain),
            "learned wrongly": len(models.get(Chain.name, set()) - shown),
        }


def _adopt_orphans() -> None:
    """Behave as process 1 of a container: become the parent of what a dead supervisor leaves."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def chaos(folder: Path, *, kills: int, seed: int, pause: float = 0.15) -> dict[str, Any]:
    """Kill `kills` processes, one about every `pause` seconds; return the table."""
    run = Chaos(folder, seed)
    try:
        wait_until(lambda: any(folder.glob("*.journal")), "an application has started", within=60)
        while sum(run.kills.values()) < kills:
            time.sleep(run.random.uniform(0.2, 1.8) * pause)
            run.kill_one()
            run.wake()
            run.limits.lift()
            if run.random.random() < SHORTAGES:
                run.limit_one()
            if run.random.random() < STOPS:
                run.stop_one()
        run.wake(everybody=True)
        run.limits.lift(at_once=True)
        return run.finish()
    finally:
        for process in [*run.applications, run.server]:
            if process.poll() is None:
                process.kill()
                process.wait()
