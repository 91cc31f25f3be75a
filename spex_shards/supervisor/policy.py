"""When a shard is started, restarted or given up. Pure: time is an argument, processes are numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..restart import RestartIntensity
from ..shard_info import ShardInfo, ShardStatus
from ..shard_page import Suspect
from ..suspects import Suspects
from .hang import HangWatch

READY_WITHIN: Final = 60.0
"""Seconds in which a started worker must report that it is ready."""
MOST_UNREADY_DEATHS: Final = 3
"""A shard whose processes die so often in a row before they are ready is given up, whatever its intensity allows."""


@dataclass(slots=True)
class ShardPolicy:
    """The life of one shard.

    Attributes:
        generation: Counts its processes; a message about one of them names it.
        start_at: Monotonic time of the next start, or None.
        give_up_at: Monotonic time at which a worker that is not ready is killed, or None.
        revived: Whether it was given up once, and clients may not know that it is there again.
        suspects: Requests and timers that the shard died with.
        hang: Whether its worker is hung.
    """

    index: int
    intensity: RestartIntensity
    status: ShardStatus = ShardStatus.STARTING
    pid: int | None = None
    generation: int = 0
    restarts: int = 0
    last_exit: str | None = None
    start_at: float | None = 0.0
    give_up_at: float | None = None
    unready_deaths: int = 0
    last_pid: int | None = None
    revived: bool = False
    suspects: Suspects = field(default_factory=Suspects)
    hang: HangWatch = field(default_factory=lambda: HangWatch(None))

    def started(self, pid: int, now: float) -> None:
        """A process was started."""
        self.pid = self.last_pid = pid
        self.generation += 1
        self.start_at = None
        self.give_up_at = now + READY_WITHIN
        if self.generation > 1:
            self.restarts += 1

    def ready(self, now: float) -> bool:
        """The process reported that it is ready; return whether clients must be told, since it had been given up."""
        self.hang.start(now)
        self.status = ShardStatus.READY
        self.give_up_at = None
        self.unready_deaths = 0
        revived, self.revived = self.revived, False
        return revived

    def cannot_start(self, reason: str) -> None:
        """The process reported that it cannot start, and that trying again would not help."""
        self.status = ShardStatus.FAILED
        self.last_exit = reason

    def died(self, how: str, now: float, suspect: Suspect | None = None) -> None:
        """The process ended without having been told to, perhaps by what it was executing; decide what comes next."""
        self.pid = None
        self.hang.stop()
        self.give_up_at = None
        if self.status is ShardStatus.FAILED:
            return
        self.last_exit = how
        if self.status is not ShardStatus.READY:
            self.unready_deaths += 1
        delay = self._delay(now, suspect)
        if suspect is not None:
            self.suspects.died(suspect, how)
        if delay is None or self.unready_deaths >= MOST_UNREADY_DEATHS:
            self.status = ShardStatus.FAILED
        else:
            self.status = ShardStatus.RESTARTING
            self.start_at = now + delay

    def _delay(self, now: float, suspect: Suspect | None) -> float | None:
        if suspect is None or not self.suspects.deaths(suspect):
            return self.intensity.after_death(now, suspect)
        self.intensity.forgive(suspect)
        return 0.0

    def revive(self, now: float) -> None:
        """Start a shard that was given up again, its restart intensity counted anew."""
        if self.status is ShardStatus.FAILED and self.pid is None:
            self.status = ShardStatus.RESTARTING
            self.revived = True
            self.intensity.forget()
            self.unready_deaths = 0
            self.start_at = now

    def stopped(self, how: str | None) -> None:
        """The process ended because it was told to."""
        self.pid = None
        self.status = ShardStatus.STOPPED
        self.last_exit = how or self.last_exit

    def settled(self) -> bool:
        """Whether the shard is ready or given up."""
        return self.status in (ShardStatus.READY, ShardStatus.FAILED)

    def info(self) -> ShardInfo:
        """Return what a manager says about it."""
        return ShardInfo(self.index, self.pid, self.status, self.restarts, self.last_exit)
