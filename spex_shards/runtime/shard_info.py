"""What a manager says about its shards."""

from __future__ import annotations

import signal
from enum import StrEnum
from typing import NamedTuple


class ShardStatus(StrEnum):
    """Where a shard is in its life.

    `STARTING` until it is ready at first; `READY`; `RESTARTING` after a death; `FAILED` when it died too often
    and is given up; `STOPPED` when its supervisor has ended it on purpose, as an attached process sees it.
    """

    STARTING = "STARTING"
    READY = "READY"
    RESTARTING = "RESTARTING"
    FAILED = "FAILED"
    STOPPED = "STOPPED"


class ShardInfo(NamedTuple):
    """One shard: `pid` is None while no process runs; `last_exit` says how the process before ended, or None."""

    index: int  # type: ignore[assignment]  # the contract's name, which tuples have a method of
    pid: int | None
    status: ShardStatus
    restarts: int
    last_exit: str | None


def describe_exit(wait_status: int, sender: str = "the supervisor") -> str:
    """Return how a process ended, from its wait status, with the likely cause of a SIGKILL not sent by `sender`."""
    # The two halves of a wait status, as WIFSIGNALED and WEXITSTATUS read them.
    number = wait_status & 0x7F
    if not number:
        return f"exit code {wait_status >> 8 & 0xFF}"
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGKILL:
        return f"SIGKILL (not sent by {sender}; likely out of memory, or an operator)"
    if number == signal.SIGBUS:
        return "SIGBUS (likely an I/O error or a truncated file under the store's map)"
    return name
