"""The faults of a deployment on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from tests.support.processes import is_gone, wait_until

from .deployment import Fault
from .serving import HANG_TIMEOUT, REFUSED, Owner

if TYPE_CHECKING:
    from .local import Local

ROUNDS = 8
"""How often connections are ended or cut in one fault."""
_sleep = threading.Event().wait


def faults_of(local: Local) -> Mapping[str, Fault]:
    """Return the faults of a deployment: those of its processes and its server, and those that its form allows."""
    faults = Processes(local).faults() | Database(local).faults() | Clocks(local).faults()
    if not local.replicated:
        return faults | Connections(local).faults()
    return faults | Replication(local).faults()


def send(number: int, pids: Iterable[int]) -> None:
    """Send a signal to processes, some of which may have ended."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


class Processes:
    """What may happen to owner, supervisor and workers."""

    def __init__(self, local: Local) -> None:
        self._local = local
        self._stopped: list[int] = []
        self._before: Owner | None = None

    def faults(self) -> dict[str, Fault]:
        """Return the faults by name."""
        taken_over = Fault(self._take_over, self._resume, until_progress=True, ends=1)
        hangs = (HANG_TIMEOUT, HANG_TIMEOUT + 0.5)
        return {
            "worker killed": Fault(self._kill_worker),
            "worker paused": Fault(self._stop_worker, self._go_on, lasts=(0.2, 0.8)),
            "worker stopped past hang_timeout": Fault(self._stop_worker, self._go_on, lasts=hangs),
            "supervisor killed": Fault(self._kill_supervisor),
            "owner killed": Fault(self._kill_owner, self._start_owner, lasts=(0.0, 0.5), ends=1),
            "rival takes over, paused owner goes on": taken_over,
            "rival takes over, paused owner only reads": replace(taken_over, quiet=True),
        }

    def _kill_worker(self, random: Random) -> None:
        send(signal.SIGKILL, [random.choice(self._workers())])

    def _stop_worker(self, random: Random) -> None:
        self._stopped = [random.choice(self._workers())]
        send(signal.SIGSTOP, self._stopped)

    def _workers(self) -> list[int]:
        found: list[int] = wait_until(self._local.owner.workers, "there are workers")
        return found

    def _go_on(self) -> None:
        send(signal.SIGCONT, self._stopped)

    def _kill_supervisor(self, _random: Random) -> None:
        send(signal.SIGKILL, [wait_until(self._local.owner.supervisor, "there is a supervisor")])

    def _kill_owner(self, _random: Random) -> None:
        process = self._local.owner.process
        assert process is not None
        process.kill()
        process.wait()

    def _start_owner(self) -> None:
        self._local.owner.start()

    def _take_over(self, _random: Random) -> None:
        """Stop the owner with all its processes, as a machine that hangs, while clients' requests wait in its pipes."""
        self._before = self._local.owner
        workers = self._workers()
        self._stopped = [*workers, *(self._before.tree() - set(workers))]
        send(signal.SIGSTOP, self._stopped)
        self._local.new_owner()

    def _resume(self) -> None:
        """Have the stopped owner go on: first its workers, or its supervisor would kill them for their silence."""
        before = self._before
        assert before is not None
        workers = before.workers()
        refused = len(REFUSED.findall(before.log()))
        send(signal.SIGCONT, workers)
        for _ in range(40):
            if all(map(is_gone, workers)):
                break
            _sleep(0.05)
        ended = sum(map(is_gone, workers))
        send(signal.SIGCONT, self._stopped)
        for _ in range(40):
            if not ended or len(REFUSED.findall(before.log())) > refused:
                self._local.counts.add("old workers refused", ended)
                break
            _sleep(0.05)
        before.kill()


class Clocks:
    """What may happen to the clock of the owner's machine; nothing where it cannot be set."""

    def __init__(self, local: Local) -> None:
        self._local = local
        self._wrong: Owner | None = None

    def faults(self) -> dict[str, Fault]:
        """Return the faults by name."""
        if shutil.which("gcc") is None:
            return {}
        lasts = (0.3, 1.5)
        return {
            "the owner's clock jumps ahead": Fault(partial(self._jump, 1.0), self._right, lasts=lasts),
            "the owner's clock jumps back": Fault(partial(self._jump, -1.0), self._right, lasts=lasts),
        }

    def _jump(self, direction: float, random: Random) -> None:
        self._wrong = self._local.owner
        self._wrong.clock.set(direction * random.choice([0.001, 0.1, 1.0, 5.0, 3600.0]))

    def _right(self) -> None:
        assert self._wrong is not None
        self._wrong.clock.set(0.0)


class Database:
    """What may happen to the server."""

    def __init__(self, local: Local) -> None:
        self._local = local

    def faults(self) -> dict[str, Fault]:
        """Return the faults by name."""
        outage = (0.1, 1.5)
        return {
            "sessions ended": Fault(self._end_sessions),
            "server killed": Fault(partial(self._stop, signal.SIGKILL), self._start, lasts=outage),
            "server stopped at once": Fault(partial(self._stop, signal.SIGQUIT), self._start, lasts=outage),
        }

    def _end_sessions(self, random: Random) -> None:
        for _ in range(ROUNDS):
            self._local.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            self._local.counts.add("rounds of ended sessions")
            _sleep(random.uniform(0, 0.15))

    def _stop(self, how: int, _random: Random) -> None:
        self._local.primary.stop(how)

    def _start(self) -> None:
        self._local.primary.start()


class Connections:
    """What may happen to the connections between workers and server."""

    def __init__(self, local: Local) -> None:
        self._local = local

    def faults(self) -> dict[str, Fault]:
        """Return the faults by name."""
        whens = ("before", "during", "after")
        cuts: dict[str, Callable[[Random], None]] = {when: partial(self._cut, when) for when in whens}
        faults = {f"connections cut {when} the commit": Fault(cut, self._end_of_cuts) for when, cut in cuts.items()}
        return faults | {"server out of reach": Fault(self._refuse, self._accept, lasts=(0.3, 2.0))}

    def _cut(self, when: str, random: Random) -> None:
        for _ in range(ROUNDS):
            self._order("cut", random.randrange(12), when)
            _sleep(random.uniform(0.05, 0.2))

    def _end_of_cuts(self) -> None:
        self._local.counts.counts["connections cut"] = self._order("accept")

    def _refuse(self, _random: Random) -> None:
        self._order("refuse")
        self._order("cut", 0, "before")

    def _accept(self) -> None:
        self._order("accept")

    def _order(self, *words: object) -> int:
        assert self._local.proxy is not None
        return self._local.proxy.order(*words)


class Replication:
    """What may happen to two servers, one of which replicates the other."""

    def __init__(self, local: Local) -> None:
        self._local = local

    def faults(self) -> dict[str, Fault]:
        """Return the faults by name."""
        return {
            "failover to the synchronous replica": Fault(self._fail_over, self._replicate),
            "failover to a replica that lacks batches": Fault(self._lose, self._replicate, loses=True),
        }

    def _fail_over(self, _random: Random) -> None:
        wait_until(self._local.replicates, "the replica has everything")
        self._local.fail_over()

    def _lose(self, random: Random) -> None:
        """Have the replica miss what is acknowledged for a while, then fail over to it."""
        local = self._local
        assert local.replica is not None
        wait_until(local.replicates, "the replica has everything")
        local.primary.set("synchronous_standby_names", "")
        local.replica.stop(signal.SIGKILL)
        _sleep(random.uniform(0.5, 1.0))
        local.fail_over()

    def _replicate(self) -> None:
        """Make the old primary a replica of the new one; it holds nothing that counts."""
        local = self._local
        assert local.replica is not None
        local.primary.set("synchronous_standby_names", "")
        shutil.rmtree(local.replica.folder / "data")
        local.replica.replicate(local.primary)
        local.replica.start()
        wait_until(local.replicates, "the replica streams")
        local.primary.set("synchronous_standby_names", "*")
