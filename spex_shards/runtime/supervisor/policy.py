"""When a shard is started, restarted or given up. Pure: time is an argument, processes are numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..shard_info import ShardInfo, ShardStatus
from ..system.hang import HangWatch
from ..worker.shard_page import Suspect
from ..worker.suspects import Suspects
from .restart import FIRST_DELAY, LONGEST_DELAY, LONGEST_RETRY, BackOff, RestartIntensity

READY_WITHIN: Final = 60.0
"""Seconds in which a started worker must report that it is ready."""
MOST_UNREADY_DEATHS: Final = 3
"""A shard whose processes die so often in a row before they are ready is given up, whatever its intensity allows."""
ATTEMPTS: Final = 8
"""When so many starts have failed for want of processes or memory, whoever waits for all shards waits no longer."""


@dataclass(slots=True)
class ShardPolicy:
    """The life of one shard.

    Attributes:
        generation: Counts its processes; a message about one of them names it.
        start_at: Monotonic time of the next start, or None.
        give_up_at: Monotonic time at which a worker that is not ready is killed, or None.
        given_up: Whether it was given up, so that clients must be told when it is there again.
        unstarted: Starts in a row that failed for want of what may be had later.
        retry: When a shard that was given up is tried again.
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
    given_up: bool = False
    unstarted: int = 0
    ready_at: float = 0.0
    excuse: str | None = None
    refused: bool = False
    retry: BackOff = field(default_factory=lambda: BackOff(None, LONGEST_RETRY))
    attempts: BackOff = field(default_factory=lambda: BackOff(FIRST_DELAY, LONGEST_DELAY))
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

    def not_started(self, why: str, now: float) -> None:
        """A process could not be started for want of what may be had later: no death, and tried again soon."""
        self.last_exit = why
        self.unstarted += 1
        self.start_at = now + (self.attempts.next() or 0.0)

    def ready(self, now: float) -> bool:
        """The process reported that it is ready; return whether clients must be told, since it had been given up."""
        self.hang.start(now)
        self.status = ShardStatus.READY
        self.give_up_at = None
        self.unready_deaths = self.unstarted = 0
        self.ready_at = now
        self.attempts.reset()
        given_up, self.given_up = self.given_up, False
        return given_up

    def cannot_start(self, reason: str) -> None:
        """The process reported that it cannot start, and that trying again at once would not help; it is ending."""
        self.status = ShardStatus.FAILED
        self.given_up = self.refused = True
        self.last_exit = reason

    def cannot_start_yet(self, reason: str) -> None:
        """The process reported that it lacks what may be had later; it is ending."""
        self.excuse = reason

    def died(self, how: str, now: float, suspect: Suspect | None = None) -> None:
        """The process ended without having been told to, perhaps by what it was executing; decide what comes next."""
        self.pid = None
        self.hang.stop()
        self.give_up_at = None
        excuse, self.excuse = self.excuse, None
        refused, self.refused = self.refused, False
        if excuse is not None:
            self.not_started(excuse, now)
            return
        self.last_exit = self.last_exit if refused else how
        if self.status is ShardStatus.FAILED:
            self._give_up(now)
            return
        if self.status is ShardStatus.READY and now - self.ready_at >= LONGEST_RETRY:
            self.retry.reset()
        if self.status is not ShardStatus.READY:
            self.unready_deaths += 1
        delay = self._delay(now, suspect)
        if suspect is not None:
            self.suspects.died(suspect, how)
        if delay is None or self.unready_deaths >= MOST_UNREADY_DEATHS:
            self._give_up(now)
        else:
            self.status = ShardStatus.RESTARTING
            self.start_at = now + delay

    def _give_up(self, now: float) -> None:
        self.status = ShardStatus.FAILED
        self.given_up = True
        self.unready_deaths = 0
        delay = self.retry.next()
        self.start_at = None if delay is None else now + delay

    def _delay(self, now: float, suspect: Suspect | None) -> float | None:
        if suspect is None or not self.suspects.deaths(suspect):
            return self.intensity.after_death(now, suspect)
        self.intensity.forgive(suspect)
        return 0.0

    def stopped(self, how: str) -> None:
        """The process ended because the supervisor stops."""
        self.pid = None
        self.status = ShardStatus.STOPPED
        self.last_exit = how
        self.start_at = self.give_up_at = None
        self.hang.stop()

    def revive(self, now: float) -> None:
        """Start a shard that was given up again, its restart intensity counted anew."""
        if self.status is ShardStatus.FAILED:
            self.status = ShardStatus.RESTARTING
            self.intensity.forget()
            self.retry.reset()
            self.attempts.reset()
            self.unready_deaths = 0
            if self.pid is None:  # else it is being tried again just now
                self.start_at = now

    def settled(self) -> bool:
        """Whether the shard is ready or given up, or may not be startable for a while."""
        return self.status in (ShardStatus.READY, ShardStatus.FAILED) or self.unstarted >= ATTEMPTS

    def info(self) -> ShardInfo:
        """Return what a manager says about it."""
        return ShardInfo(self.index, self.pid, self.status, self.restarts, self.last_exit)
