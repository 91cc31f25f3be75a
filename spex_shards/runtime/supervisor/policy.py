"""Decides when a shard is started, restarted or given up. Does no input or output: the time is an argument."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..shard_info import ShardInfo, ShardStatus
from ..system.hang import HangWatch
from ..worker.shard_page import Suspect
from ..worker.suspects import Suspects
from .restart import FIRST_DELAY, LONGEST_DELAY, LONGEST_RETRY, BackOff, RestartIntensity

READY_WITHIN: Final = 60.0
"""Seconds within which a started worker must report that it is ready."""
MOST_UNREADY_DEATHS: Final = 3
"""A shard is given up after this many deaths in a row before it was ready, whatever its restart intensity allows."""
ATTEMPTS: Final = 8
"""After this many starts failed for lack of processes or memory, the owner's start no longer waits for the shard."""


@dataclass(slots=True)
class ShardPolicy:
    """The state of one shard's process, and the decisions about it.

    Attributes:
        generation: The number of its current process; messages about a process carry it.
        start_at: Monotonic time of the next start, or None.
        give_up_at: Monotonic time at which a worker that is not ready is killed, or None.
        given_up: Whether it was given up, so that clients must be told when it is ready again.
        unstarted: How many starts in a row failed for lack of a resource that may become available.
        excuse: Why the current process cannot open the shard yet, if it said so.
        refused: Whether the current process said that it cannot open the shard at all.
        claim: The claim under which it was ready last; a restart does not take it from who has claimed it since.
        moved: Why the shard is not this supervisor's any more, or None: another process has claimed it.
        retry: The pauses before a shard that was given up is started again.
        attempts: The pauses after starts that failed for lack of a resource.
        suspects: The requests and timers that the shard died with.
        hang: Watches whether the worker is hung.
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
    moved: str | None = None
    claim: int = 0
    retry: BackOff = field(default_factory=lambda: BackOff(None, LONGEST_RETRY))
    attempts: BackOff = field(default_factory=lambda: BackOff(FIRST_DELAY, LONGEST_DELAY))
    suspects: Suspects = field(default_factory=Suspects)
    hang: HangWatch = field(default_factory=lambda: HangWatch(None))

    def started(self, pid: int, now: float) -> None:
        """Note that a process was started."""
        self.pid = self.last_pid = pid
        self.generation += 1
        self.start_at = None
        self.give_up_at = now + READY_WITHIN
        if self.generation > 1:
            self.restarts += 1

    def not_started(self, why: str, now: float) -> None:
        """Note that the system gave no process. This is not a death; the start is tried again soon."""
        self.last_exit = why
        self.unstarted += 1
        self.start_at = now + (self.attempts.next() or 0.0)

    def ready(self, now: float, claim: int = 0) -> bool:
        """Note that the process is ready; return whether clients must be told because the shard had been given up."""
        self.claim = claim
        self.hang.start(now)
        self.status = ShardStatus.READY
        self.give_up_at = None
        self.unready_deaths = self.unstarted = 0
        self.ready_at = now
        self.attempts.reset()
        given_up, self.given_up = self.given_up, False
        return given_up

    def cannot_start(self, reason: str) -> None:
        """Note that the process cannot open the shard and another attempt would fail too; the process is ending."""
        self.status = ShardStatus.FAILED
        self.given_up = self.refused = True
        self.last_exit = reason

    def fenced(self, reason: str) -> None:
        """Note that another process has claimed the shard. It is not claimed back: the two would do so in turns."""
        self.status, self.moved, self.last_exit = ShardStatus.MOVED, reason, reason

    def cannot_start_yet(self, reason: str) -> None:
        """Note that the process lacks a resource that may become available later; the process is ending."""
        self.excuse = reason

    def died(self, how: str, now: float, suspect: Suspect | None = None) -> None:
        """Note that the process ended without being told to, and decide when to start the next one, if at all.

        Args:
            how: How it ended.
            now: Monotonic time.
            suspect: The request or timer that it was executing, which may have caused the death, or None.
        """
        self.pid = None
        self.hang.stop()
        self.give_up_at = None
        excuse, self.excuse = self.excuse, None
        refused, self.refused = self.refused, False
        if self.moved is not None:
            return
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
        """Note that the process ended because the supervisor stops."""
        self.pid = None
        self.status = ShardStatus.STOPPED
        self.last_exit = how
        self.start_at = self.give_up_at = None
        self.hang.stop()

    def revive(self, now: float) -> None:
        """Start a shard that was given up or has moved, and count its deaths from zero again."""
        if self.status in (ShardStatus.FAILED, ShardStatus.MOVED):
            self.status, self.moved, self.claim = ShardStatus.RESTARTING, None, 0
            self.intensity.forget()
            self.retry.reset()
            self.attempts.reset()
            self.unready_deaths = 0
            if self.pid is None:  # otherwise a start is already under way
                self.start_at = now

    def settled(self) -> bool:
        """Return whether the shard is ready, given up or moved, or its start keeps failing for lack of a resource."""
        settled = (ShardStatus.READY, ShardStatus.FAILED, ShardStatus.MOVED)
        return self.status in settled or self.unstarted >= ATTEMPTS

    def info(self) -> ShardInfo:
        """Return the status that a manager reports."""
        return ShardInfo(self.index, self.pid, self.status, self.restarts, self.last_exit)
