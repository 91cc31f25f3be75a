"""The options of a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .surroundings import REAL, Surroundings
from .watch import PageWatch


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The options of one worker.

    Attributes:
        shard: The index of its shard.
        max_frame_bytes: Most bytes of a request.
        log_level: Log records below it are not sent to the application.
        owner_pidfd: A descriptor that becomes readable when the supervisor's owner dies; -1: there is none.
        watch: Tells the supervisor which request or timer is being executed; None: nothing is told.
        helper_keeps: Descriptors that helper processes do not close (the lock of the data directory).
        clustered: Whether clients come over networks, whose connections break while both ends live.
        surroundings: Clocks, the poll, and helper processes.
    """

    shard: int
    max_frame_bytes: int
    log_level: int
    owner_pidfd: int = -1
    watch: PageWatch | None = None
    helper_keeps: Sequence[int] = ()
    clustered: bool = False
    surroundings: Surroundings = REAL
