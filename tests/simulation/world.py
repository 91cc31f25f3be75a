"""The simulated machine: one shard with its supervisor's policy, some applications, a disk and a clock."""

from __future__ import annotations

import logging
import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from types import SimpleNamespace
from typing import Any

from spex_shards.engine import Engine, EngineOptions, ModelSource
from spex_shards.engine import checks as engine_checks
from spex_shards.runtime.store.logged_store import Due, LoggedStore
from spex_shards.runtime.supervisor.policy import ShardPolicy
from spex_shards.runtime.supervisor.restart import RestartIntensity
from spex_shards.runtime.worker import PageWatch, WorkerOptions, checks, loop, peers, sessions
from spex_shards.runtime.worker.logs import LogCapture
from spex_shards.runtime.worker.shard_page import ShardPage

from .client import SimClient
from .disk import Crash, SimBase, SimCheckpoint, SimDisk
from .pipes import Control, Net, Poll, SimHelper
from .specs import NOISY_MODEL, Noisy

START = 1_700_000_000.0
STUCK = 20_000
_PAGE = ShardPage()


@dataclass(frozen=True)
class Chances:
    """How often what happens, of a thousand steps."""

    issue: int = 300
    worker: int = 300
    client: int = 320
    time: int = 40
    kill_worker: int = 12
    kill_client: int = 4
    cut_power: int = 4
    fuse: int = 20
    set_clock: int = 5
    no_helper: int = 10


class World:
    """One run. `step` does one thing; `finish` lets everything come to rest, and checks it."""

    def __init__(self, seed: int, chances: Chances = Chances()) -> None:
        self.random = Random(seed)
        self.chances = chances
        self.durability = self.random.choice(["process", "disk"])
        self.now = START
        self.wall_ahead = self.furthest_ahead = 0.0
        self.net = Net(self.random)
        self.disk, self.base = SimDisk(), SimBase()
        self.policy = ShardPolicy(0, RestartIntensity(1_000_000, 5.0))
        self.faults = True
        self.worker: Any = None
        self.reports: dict[int, Any] = {}
        self.clients: list[SimClient] = []
        self.dead: list[SimClient] = []
        self.counts = {"kills": 0, "power cuts": 0, "applications": 0, "requests": 0, "innocents": 0, "clock steps": 0}
        _PAGE.take()
        for _ in range(self.random.randint(1, 3)):
            self._new_client()

    # ------------------------------------------------------------------ what happens

    def step(self) -> None:
        """Do one thing at random."""
        names, weights = zip(*vars(self.chances).items(), strict=True)
        getattr(self, "_" + self.random.choices(names, weights)[0])()

    def _issue(self) -> None:
        self.counts["requests"] += 1
        self.random.choice(self.clients).issue()

    def _client(self) -> None:
        client = self.random.choice(self.clients)
        if client.connected:
            client.turn()
        elif self.worker is not None:
            self.control.messages.append(client.connect())

    def _time(self) -> None:
        self.now += self.random.choice([0.01, 0.3, 1.0, 4.0])

    def _set_clock(self) -> None:
        """Have somebody set the wall clock."""
        self.counts["clock steps"] += 1
        self.wall_ahead += self.random.choice([-30 * 86400, -3600, -1, 1, 3600, 30 * 86400])
        self.furthest_ahead = max(self.furthest_ahead, self.wall_ahead)

    def _no_helper(self) -> None:
        """Have the next processes for checkpoints fail to start."""
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
        self._new_client()

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
        """Have the process killed at one of the next operations of its disk."""
        left = [self.random.randint(1, 6)]

        def burn(_: str) -> None:
            left[0] -= 1
            if left[0] <= 0:
                raise Crash(self.random.random())

        self.disk.on_step = burn

    # ------------------------------------------------------------------ the shard

    def _new_client(self) -> None:
        name = len(self.clients) + len(self.dead)
        self.clients.append(SimClient(self.net, self.random, name, self.reports))

    def _guard(self, call: Any) -> None:
        try:
            call()
        except Crash:
            self._die()

    def _start(self) -> None:
        self.policy.started(1000 + self.policy.generation, self.now)
        self.control = Control()
        watch = PageWatch(0, _PAGE, self.policy.suspects)
        watch.executing = self._executing(watch.executing)
        self.helper = SimCheckpoint(self.base, self.disk, self.random)
        store = LoggedStore(
            self.base, self.disk, sync_each=self.durability == "disk", checkpointer=self.helper,
            due=Due(rows=self.random.choice([20, 200]), size=8000, seconds=2),
            generation=lambda: self.random.getrandbits(64), clock=lambda: self.now,
        )  # fmt: skip
        source = ModelSource(files={Noisy.name: NOISY_MODEL}, learning_mode=False)
        engine = Engine(store, source, EngineOptions(None, 0, watch), self._microseconds())
        engine.commit()
        capture = LogCapture(logging.WARNING)
        _proxy.capture = capture
        self.worker = loop.Worker(engine, self.control, WorkerOptions(0, 1 << 20, logging.WARNING, -1, watch), capture)
        self.policy.ready(self.now)

    def _executing(self, note: Any) -> Any:
        def executing(who: bytes, number: int) -> None:
            note(who, number)
            client = next((c for c in self.clients + self.dead if c.id == who), None)
            if client is not None and number in client.poison:
                raise Crash
            if self.faults and self.random.random() < 0.002:
                self.counts["innocents"] += 1  # killed from outside, at a bad moment: nobody is to blame
                raise Crash

        return executing

    def _die(self, *, killed: bool = True) -> None:
        self.counts["kills"] += killed
        self.disk.on_step = lambda _: None
        if self.worker is not None:
            for peer in self.worker._clients.all():
                peer.close()
            for _, descriptors in self.control.messages:
                for descriptor in descriptors:
                    self.net.close(descriptor)
            self.worker._checks._helper.die()
            self.worker = None
        self.helper.die()
        self.policy.died("SIGKILL", self.now, _PAGE.take())

    def _microseconds(self) -> int:
        return int((self.now + self.wall_ahead) * 1_000_000)

    # ------------------------------------------------------------------ the end

    def finish(self) -> None:
        """Let everything come to rest without further faults, and check it."""
        self.faults = False
        self.disk.on_step = lambda _: None
        self.disk.no_helpers = 0
        self.wall_ahead = self.furthest_ahead
        for _ in range(STUCK):
            if self.worker is not None and all(client.idle for client in self.clients):
                break
            self._rest()
        else:
            raise AssertionError("the system does not come to rest: a request is never answered")
        self.now += 60
        for _ in range(STUCK):
            if not self._something_is_due():
                break
            self._rest()
        else:
            raise AssertionError("the system does not come to rest: a timer is never done")
        check(self)

    def _rest(self) -> None:
        self._worker()
        for client in self.clients:
            if client.connected:
                client.turn()
            elif self.worker is not None:
                self.control.messages.append(client.connect())
        if self.worker is None or self.random.random() < 0.05:
            self.now += 0.3

    def _something_is_due(self) -> bool:
        if self.worker is None:
            return True
        due = self.worker._engine.next_due()
        batch = self.worker._engine.batch
        waits = next(iter(batch.range("outbox", b"")), None) is not None
        self.worker._engine.commit()
        return waits or any(not c.idle for c in self.clients) or (due is not None and due <= self._microseconds())


def check(world: World) -> None:
    """Hold what is there against what was issued: kept, once, in order, timers once."""
    engine = world.worker._engine
    stored = {item[2][1]: [(a, s) for _, a, s in item[2][4]] for item in engine.page(None, None, 10**6)[0]}
    everybody = world.clients + world.dead
    for client in everybody:
        for one in client.instances:
            found = (one.key in stored, stored.get(one.key, []))
            assert found in [tuple(step) for step in one.steps[one.acknowledged :]], (
                f"instance {one.identifier} is {found}, which is nothing that was issued from the "
                f"{one.acknowledged}th change on, that was acknowledged: {one.steps[one.acknowledged :]}"
            )
            if client.alive:
                assert found == one.steps[-1]
        if client.alive:
            client.read_rest()
            assert client.messages == client.sent, "messages were lost, doubled or out of order"
    issued = {one.key: one for client in everybody for one in client.instances}
    assert stored.keys() <= issued.keys(), "instances that nobody made"
    check_timers(world, stored, issued)
    check_model(world, stored, issued)


def check_timers(world: World, stored: Any, issued: Any) -> None:
    """Each newest entry is reported at most once; those that are still the newest, once."""
    texts = [record[2] for record in world.reports.values()]
    seen: list[tuple[str, str]] = []
    for text in texts:
        if "has been in state" in text:
            name = text.split(" of simulation.Timed")[0].removeprefix("instance ").split("] ")[-1]
            seen.append((name.removeprefix("instance "), text.split("has been in state ")[1].split("'")[1]))
    fresh = [one for one in seen if one[1] != "start"]
    assert len(fresh) == len(set(fresh)), f"a timeout was reported twice: {seen}"
    for key, history in stored.items():
        one = issued[key]
        if one.specification.name == "simulation.Timed" and history:
            assert (repr(one.identifier), history[-1][1]) in seen, f"a timeout was not reported: {one.identifier}"


def check_model(world: World, stored: Any, issued: Any) -> None:
    """The learned models have what the histories show, and nothing that was never observed."""
    learned = {m.specification: m.transitions for m in world.worker._engine.impl_models()}
    for key, history in stored.items():
        source = None
        if issued[key].specification is Noisy or not history or history[0][0] != "__initialisation__":
            continue
        for action, state in history:
            assert (source, action, state) in learned[issued[key].specification.name], "what was learned is lost"
            source = state


# ---------------------------------------------------------------------- the seams


class _Proxy(logging.Handler):
    capture: LogCapture | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.capture is not None:
            self.capture.handle(record)


_proxy = _Proxy()


@contextmanager
def simulated() -> Iterator[list[World]]:
    """Put the simulated clock, pipes and poll in the place of the system's; the world at hand is the list's last."""
    worlds: list[World] = []

    def current() -> World:
        return worlds[-1]

    clock = SimpleNamespace(monotonic=lambda: current().now, time_ns=lambda: current()._microseconds() * 1000)
    seams = [
        (loop, "select", SimpleNamespace(epoll=lambda: Poll(current().net, current().control), EPOLLIN=select.EPOLLIN)),
        (loop, "time", clock),
        (loop, "receive_message", lambda control: control.messages.pop(0) if control.messages else None),
        (loop, "send_message", lambda *_: True),
        (sessions, "time", clock),
        (peers, "read_available", lambda fd: current().net.read(fd)),
        (peers, "write_available", lambda fd, data: current().net.write(fd, data)),
        (checks, "HelperProcess", lambda _keep: SimHelper(current().net, current().random)),
        (engine_checks, "LARGE", -1),
        (peers, "os", SimpleNamespace(close=lambda fd: current().net.close(fd))),
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


def run(worlds: list[World], seed: int, steps: int = 250) -> World:
    """Carry out one schedule.

    Raises:
        AssertionError: A promise was broken.
    """
    worlds[:] = [World(seed)]
    world = worlds[-1]
    for _ in range(steps):
        world.step()
    world.finish()
    return world


__all__ = ["Chances", "World", "os", "run", "simulated", "time"]
