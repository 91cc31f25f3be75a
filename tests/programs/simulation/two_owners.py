"""A world whose shard is in PostgreSQL: connections break, and a worker that is given up goes on for a while."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spex_shards.runtime.store import StoreLost
from spex_shards.runtime.worker.shard_page import ShardPage

from .database import SimLink, SimServer, opened
from .disk import Crash
from .world import Chances, World, _proxy


@dataclass(frozen=True)
class Chances2(Chances):
    """How often each event happens, per thousand steps; nothing happens to a disk."""

    cut_power: int = 0
    fuse: int = 0
    no_helper: int = 0
    fill_disk: int = 0
    clear_disk: int = 0
    usurp: int = 15
    old_worker: int = 120


class OldWorker:
    """A worker that was replaced and does not know it."""

    def __init__(self, world: World) -> None:
        self.worker, self.control, self._helper = world.worker, world.control, world.helper
        self._capture = _proxy.capture
        self._net = world.net

    def turn(self) -> None:
        """Do one round of work."""
        present, _proxy.capture = _proxy.capture, self._capture
        try:
            self.worker.turn()
        finally:
            _proxy.capture = present

    def die(self) -> None:
        """End: its clients see that, and connect anew."""
        for peer in self.worker.clients.all():
            peer.close()
        for _, descriptors in self.control.messages:
            for descriptor in descriptors:
                self._net.close(descriptor)
        self.worker._deferred._helper.die()


class TwoOwners(World):
    """One run over a simulated PostgreSQL, in which two workers may take each other for gone."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, Chances2())
        self.durability = "disk"
        self._server = SimServer(self.random, self._happened)
        self._old: OldWorker | None = None

    @property
    def base(self) -> Any:
        """The committed rows, for the checks."""
        return self._server.rows

    @base.setter
    def base(self, _: Any) -> None:
        """Ignore the disk of the other world."""

    def _happened(self, what: str) -> None:
        self.counts[what] += 1

    def _store(self) -> Any:
        def pause(seconds: float) -> None:
            self.now += seconds

        return opened(SimLink(self._server, self.random, lambda: self.faults, pause))

    def _guard(self, call: Any) -> None:
        try:
            super()._guard(call)
        except StoreLost as error:
            self.counts["stores lost"] += 1
            self._die(how=str(error), killed=False)

    def _usurp(self) -> None:
        """Have the supervisor give a worker up that goes on: another one is started."""
        if self.worker is None or self._old is not None:
            return
        self.counts["usurpers"] += 1
        self._old = OldWorker(self)
        self.worker = None
        self.page = ShardPage()  # as on another machine
        self.policy.died("it is out of reach", self.now, None)

    def _old_worker(self) -> None:
        old = self._old
        if old is None:
            return
        try:
            old.turn()
        except (Crash, StoreLost) as error:
            self.counts["old workers refused"] += isinstance(error, StoreLost)
            old.die()
            self._old = None

    def finish(self) -> None:
        """As in the other world; the old worker is found out, or ends."""
        for _ in range(20):
            self._old_worker()
        if self._old is not None:
            self._old.die()
            self._old = None
        super().finish()
