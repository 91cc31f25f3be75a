"""The simulated machine: one shard with its supervisor's policy, some applications, a disk and a clock."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from random import Random
from types import SimpleNamespace
from typing import Any

from spex_shards.engine import Engine, EngineOptions, ModelSource
from spex_shards.engine.service import SpexService
from spex_shards.errors import DataDirError, StoreError
from spex_shards.runtime.shard import Shard
from spex_shards.runtime.store import Batch, LogBroken
from spex_shards.runtime.store.logged_store import Due, LoggedStore
from spex_shards.runtime.store.postgres import postgres_store, reading
from spex_shards.runtime.supervisor.policy import ShardPolicy
from spex_shards.runtime.supervisor.restart import RestartIntensity
from spex_shards.runtime.worker import PageWatch, WorkerOptions, loop
from spex_shards.runtime.worker.logs import LogCapture
from spex_shards.runtime.worker.shard_page import ShardPage
from spex_shards.runtime.worker.surroundings import Surroundings

from .checks import check
from .client import SimClient
from .disk import Crash, DiskFull, SimBase, SimCheckpoint, SimDisk
from .pipes import Control, Net, Pipe, Poll, SimHelper
from .specs import NOISY_MODEL, Noisy

FILLED = (
    ({"open", "write"}, False),
    ({"open", "write"}, True),
    ({"sync"}, False),
    ({"open", "write", "sync"}, True),
    (set[str](), True),
)
"""What a full disk refuses: steps of the log, and whether checkpoints."""
START = 1_700_000_000.0
STUCK = 20_000


@dataclass(frozen=True)
class Chances:
    """How often each event happens, per thousand steps."""

    issue: int = 300
    worker: int = 300
    client: int = 320
    time: int = 40
    kill_worker: int = 12
    kill_client: int = 3
    end_client: int = 3
    cut_power: int = 4
    fuse: int = 20
    set_clock: int = 5
    no_helper: int = 10
    slow_call: int = 4
    fill_disk: int = 12
    clear_disk: int = 40


class World:
    """One run. `step` does one thing; `finish` lets all activity end, and checks the result."""

    def __init__(self, seed: int, chances: Chances = Chances()) -> None:
        self.random = Random(seed)
        self._chances = list(vars(chances)), list(vars(chances).values())
        self.durability = self.random.choice(["process", "disk"])
        self.now = START
        self.wall_ahead = self.furthest_ahead = 0.0
        self.net = Net(self.random)
        self.disk, self.base = SimDisk(), SimBase()
        self.policy = ShardPolicy(0, RestartIntensity(1_000_000, 5.0))
        self.faults = True
        self.fuse = 0
        self.full: set[str] = set()
        self.slow = 0.0
        self.disk.on_step = self._on_step
        self.worker: Any = None
        self.reports: dict[int, Any] = {}
        self.clients: list[SimClient] = []
        self.dead: list[SimClient] = []
        self.farewells: list[tuple[bytes, Pipe, int]] = []
        self.counts = Counter[str]()
        self.page = ShardPage()  # not copied: the page is shared with processes forked later
        for _ in range(self.random.randint(1, 3)):
            self._new_client()

    # ------------------------------------------------------------------ what happens

    def step(self) -> None:
        """Do one thing at random."""
        getattr(self, "_" + self.random.choices(*self._chances)[0])()

    def _issue(self) -> None:
        self.counts["requests"] += 1
        self.random.choice([client for client in self.clients if not client.ending]).issue()

    def _client(self) -> None:
        self._have_turn(self.random.choice(self.clients))

    def _have_turn(self, client: SimClient) -> None:
        if client.ending and client.idle:
            self._part(client)
        elif client.connected:
            client.turn()
        elif self.worker is not None:
            self.control.messages.append(client.connect())

    def _time(self) -> None:
        self.now += self.random.choice([0.01, 0.3, 1.0, 4.0])

    def _set_clock(self) -> None:
        """Change the wall clock."""
        self.counts["clock steps"] += 1
        self.wall_ahead += self.random.choice([-30 * 86400, -3600, -1, 1, 3600, 30 * 86400])
        self.furthest_ahead = max(self.furthest_ahead, self.wall_ahead)

    def _no_helper(self) -> None:
        """Make the next starts of checkpoint processes fail."""
        self.disk.no_helpers = self.random.randint(1, 20)

    def _worker(self) -> None:
        if self.random.random() < 0.3:
            self.net.end_one()
        if self.worker is not None:
            self._guard(self.worker.turn)
        elif self.policy.start_at is None:
            self.policy.revive(self.now)
        elif self.policy.start_at <= self.now:
            self._guard(self._start)

    def _kill_worker(self) -> None:
        if self.worker is not None:
            self._die()

    def _kill_client(self) -> None:
        self.counts["applications"] += 1
        victim = self.clients.pop(self.random.randrange(len(self.clients)))
        victim.die()
        self.dead.append(victim)
        if not victim.ending:
            self._new_client()

    def _end_client(self) -> None:
        """Let an application end as soon as all its requests are answered; another one begins."""
        client = self.random.choice(self.clients)
        if not client.ending:
            client.ending = True
            self._new_client()

    def _part(self, client: SimClient) -> None:
        self.clients.remove(client)
        self.dead.append(client)
        pipe = client.end()
        if pipe is not None:
            self.counts["farewells"] += 1
            self.farewells.append((client.id, pipe, self.policy.generation))

    def _cut_power(self) -> None:
        if self.durability == "process":
            return  # which may lose the last second: `test_redo_log` has it
        self.counts["power cuts"] += 1
        if self.worker is not None:
            self._die(killed=False)
        self.disk.cut_power(self.random)
        for client in self.clients:
            client.die()
        self.dead += self.clients
        self.clients = []
        for _ in range(self.random.randint(1, 3)):
            self._new_client()

    def _fuse(self) -> None:
        """Kill the process at one of the next operations of its disk."""
        self.fuse = self.random.randint(1, 6)

    def _slow_call(self) -> None:
        """Let the application's code take seconds in the next request."""
        self.slow = self.random.uniform(1, 12)

    def _fill_disk(self) -> None:
        self.counts["full disks"] += 1
        self.full, self.base.full = self.random.choice(FILLED)
        self.disk.full_at = inf

    def _clear_disk(self) -> None:
        if self.disk.full_at == inf:
            self.full, self.base.full = set(), False
            self.disk.full_at = self.now

    def _on_step(self, what: str) -> None:
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                raise Crash(self.random.random())
        if what in self.full:
            raise DiskFull(self.random.random())

    # ------------------------------------------------------------------ the shard

    def _new_client(self) -> None:
        name = len(self.clients) + len(self.dead)
        self.clients.append(SimClient(self.net, self.disk, self.random, name, self.reports, lambda: self.now))
        self.counts[f"clients of version {self.clients[-1].version}"] += 1

    def _guard(self, call: Any) -> None:
        try:
            call()
        except Crash:
            self._die()
        except LogBroken as error:  # the worker does not know what is on its disk, and ends
            self.counts["broken logs"] += 1
            self._die(how=str(error), killed=False)

    def _start(self) -> None:
        self.policy.started(1000 + self.policy.generation, self.now)
        self.control = Control(self.net)
        watch = PageWatch(0, self.page, self.policy.suspects)
        watch.executing = self._executing(watch.executing)
        self.helper = SimCheckpoint(self.base, self.disk, self.random)
        try:
            shard = self._opened(watch)
        except (DataDirError, StoreError) as error:
            if self.disk.full_at < inf:
                raise
            self.counts["failed starts"] += 1
            self.policy.cannot_start(str(error))
            self._die(how=str(error), killed=False)
            return
        capture = LogCapture(logging.WARNING)
        _proxy.capture = capture
        around = Surroundings(
            monotonic=lambda: self.now,
            time_ns=lambda: self._microseconds() * 1000,
            poll=lambda: Poll(self.net, self.control),
            helper=lambda _keep: SimHelper(self.net, self.random),  # type: ignore[arg-type, return-value]
        )
        options = WorkerOptions(0, 1 << 20, logging.WARNING, -1, watch, surroundings=around)
        self.worker = loop.Worker(shard, self.control, options, capture)
        self.policy.ready(self.now)

    def _opened(self, watch: PageWatch) -> Shard:
        store = self._store()
        source = ModelSource(files={Noisy.name: NOISY_MODEL}, learning_mode=False)
        batch = Batch(store)
        engine = Engine(batch, source, EngineOptions(None, 0, watch), self._microseconds())
        engine.checks.large = -1
        batch.commit()
        return Shard(store, batch, SpexService(engine))

    def _store(self) -> Any:
        return LoggedStore(
            self.base, self.disk, sync_each=self.durability == "disk", checkpointer=self.helper,
            due=Due(rows=self.random.choice([20, 200]), size=8000, seconds=2),
            generation=lambda: self.random.getrandbits(64), clock=lambda: self.now,
        )  # fmt: skip

    def _executing(self, note: Any) -> Any:
        def executing(who: bytes, number: int) -> None:
            note(who, number)
            if self.slow:
                self.counts["slow calls"] += 1
                self.now += self.slow
                self.slow = 0.0
            client = next((c for c in self.clients + self.dead if c.id == who), None)
            if client is not None and number in client.poison:
                raise Crash
            if self.faults and self.random.random() < 0.002:
                self.counts["innocents"] += 1  # killed from outside, at a bad moment: nobody is to blame
                raise Crash

        return executing

    def _die(self, *, how: str = "SIGKILL", killed: bool = True) -> None:
        self.counts["kills"] += killed
        self.fuse = 0
        if self.worker is not None:
            for peer in self.worker.clients.all():
                peer.close()
            for _, descriptors in self.control.messages:
                for descriptor in descriptors:
                    self.net.close(descriptor)
            self.worker._deferred._helper.die()
            self.worker = None
        self.helper.die()
        self.policy.died(how, self.now, self.page.take())

    def _microseconds(self) -> int:
        return int((self.now + self.wall_ahead) * 1_000_000)

    # ------------------------------------------------------------------ the end

    def finish(self) -> None:
        """Let all activity end without further faults, and check the result."""
        self.faults = False
        self._clear_disk()
        self.fuse = self.disk.no_helpers = 0
        self.slow = 0.0
        self.wall_ahead = self.furthest_ahead
        for _ in range(STUCK):
            if self.worker is not None and all(client.idle for client in self.clients):
                break
            self._rest()
        else:
            raise AssertionError("the system does not come to rest: a request is never answered")
        # Once more, because a dead application's last request may be carried out only now, and set another timer.
        for _ in range(3):
            self._let_time_pass()
        check(self)

    def _let_time_pass(self) -> None:
        self.now += 60
        for _ in range(STUCK):
            if not self._something_is_due():
                return
            self._rest()
        raise AssertionError("the system does not come to rest: a timer is never done")

    def _rest(self) -> None:
        self._worker()
        for client in list(self.clients):
            self._have_turn(client)
        if self.worker is None or self.random.random() < 0.05:
            self.now += 0.3

    def _something_is_due(self) -> bool:
        if self.worker is None:
            return True
        attached = sum(client.connected for client in self.clients)
        if self.control.messages or len(self.worker.clients.all()) > attached or self.worker.sessions.unwritten:
            return True
        due = self.worker._service.next_due()
        batch = self.worker._batch
        waits = next(iter(batch.range("outbox", b"")), None) is not None
        batch.commit()
        return waits or any(not c.idle for c in self.clients) or (due is not None and due <= self._microseconds())


# ---------------------------------------------------------------------- the seams


class _Proxy(logging.Handler):
    capture: LogCapture | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.capture is not None:
            self.capture.handle(record)


_proxy = _Proxy()


@contextmanager
def simulated() -> Iterator[list[World]]:
    """Within a ``with`` block, replace the system's clock, pipes and poll by those of the list's last world."""
    worlds: list[World] = []

    def current() -> World:
        return worlds[-1]

    def sleep(seconds: float) -> None:
        current().now += seconds

    clock = SimpleNamespace(
        monotonic=lambda: current().now, time_ns=lambda: current()._microseconds() * 1000, sleep=sleep
    )
    seams = [
        (postgres_store, "time", clock),
        (postgres_store, "array", list),
        (postgres_store, "secrets", SimpleNamespace(token_bytes=lambda count: current().random.randbytes(count))),
        (reading, "array", list),
    ]
    logger = logging.getLogger("spex_shards")
    before = [(module, name, getattr(module, name)) for module, name, _ in seams], logger.propagate
    for module, name, value in seams:
        setattr(module, name, value)
    logger.addHandler(_proxy)
    logger.propagate = False
    try:
        yield worlds
    finally:
        logger.removeHandler(_proxy)
        logger.propagate = before[1]
        for module, name, value in before[0]:
            setattr(module, name, value)


def run(worlds: list[World], seed: int, kind: Callable[[int], World] = World, steps: int = 250) -> World:
    """Run one schedule in a world of a kind.

    Raises:
        AssertionError: A promise was broken.
    """
    worlds[:] = [kind(seed)]
    world = worlds[-1]
    for _ in range(steps):
        world.step()
    world.finish()
    return world


__all__ = ["Chances", "World", "os", "run", "simulated", "time"]
