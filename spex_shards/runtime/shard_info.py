"""The status of a shard, as managers report it."""

from __future__ import annotations

import signal
from enum import StrEnum
from typing import NamedTuple


class ShardStatus(StrEnum):
    """The state of a shard's process.

    `STARTING` until it is ready for the first time, then `READY`. `RESTARTING` after a death. `FAILED` when it died too
    often and was given up. `STOPPED` when its supervisor has ended it on purpose, as an attached process sees it.
    `MOVED`, in a cluster, when another process has claimed it.
    """

    STARTING = "STARTING"
    READY = "READY"
    RESTARTING = "RESTARTING"
    FAILED = "FAILED"
    STOPPED = "STOPPED"
    MOVED = "MOVED"


class ShardInfo(NamedTuple):
    """The status of one shard.

    `pid` is None while no process runs. `last_exit` says how the previous process ended, or is None.
    """

    index: int  # type: ignore[assignment]  # the contract's name, which tuples have a method of
    pid: int | None
    status: ShardStatus
    restarts: int
    last_exit: str | None


def is_status_row(row: object) -> bool:
    """Return whether what a connection has brought has the form of a `ShardInfo`."""
    match row:
        case [int(), int() | None, str(status), int(), str() | None]:
            return status in ShardStatus.__members__
    return False


def describe_exit(wait_status: int, sender: str = "the supervisor") -> str:
    """Return a description of how a process ended, from its wait status.

    A SIGKILL that `sender` did not send gets its likely cause added.
    """
    # The low seven bits of a wait status are the signal, the next byte is the exit code.
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
