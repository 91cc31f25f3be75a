"""What a worker is given beside its engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .watch import PageWatch


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The options of one worker.

    Attributes:
        shard: Its index.
        max_frame_bytes: Most bytes of a request.
        log_level: Records below it are not sent to the application.
        owner_pidfd: Becomes readable when the owner of the supervisor dies; -1: there is none.
        watch: Where what is executed is noted, for the supervisor; None: nowhere.
        helper_keeps: Descriptors that helper processes keep (the lock).
    """

    shard: int
    max_frame_bytes: int
    log_level: int
    owner_pidfd: int = -1
    watch: PageWatch | None = None
    helper_keeps: Sequence[int] = ()
