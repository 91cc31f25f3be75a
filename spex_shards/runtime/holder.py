"""What a data directory's lock file says about its holder, for a process that finds it locked."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

_SAYS_WITHIN: Final = 0.2
Identity = list[Any]
"""A process: its id and its start time, which together are never used again."""


class Role(StrEnum):
    """What a holder does with the directory."""

    TOOL = "tool"
    """It reads or changes the directory, and ends."""
    HERE = "here"
    """It has a shard in its own process, which no other process can use."""
    SHARDS = "shards"
    """It has processes for its shards, which other processes can attach to."""
    SERVER = "server"
    """It has such processes for others alone."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A holder of a data directory.

    Attributes:
        owner: The process that holds the lock; None: not known.
        application: The process that it holds the lock for: itself, or the one that started a supervisor.
        workers: The workers, which hold the lock as well.
        role: What it does; None: not known.
        going: Whether it is giving the directory up.
    """

    owner: Identity | None = None
    application: Identity | None = None
    workers: list[Identity] = field(default_factory=list)
    role: str | None = None
    going: bool = False

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Return what a lock file says; what it does not say, or says in an unknown form, is not known."""
        try:
            found = json.loads(data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            return cls()
        workers = found.get("workers")
        return cls(
            owner=_identity(found.get("owner")),
            application=_identity(found.get("application")),
            workers=[one for one in map(_identity, workers if isinstance(workers, list) else []) if one is not None],
            role=str(found.get("role")),
            going=found.get("going") is True,
        )

    def text(self) -> bytes:
        """Return the content of the lock file."""
        return json.dumps(asdict(self)).encode()

    @property
    def is_dead(self) -> bool:
        """Whether the owner is known to have ended."""
        return self.owner is not None and not is_alive(self.owner)

    def stays(self, application: int, waited: float) -> bool:
        """Return whether it is useless to wait for this holder.

        It is held for `application`, the process that wants the directory, and so cannot give it up while it waits; or
        it is a server, which says so when it is told to end. A holder of another kind may be at its end, as when a
        program is restarted.

        Args:
            application: The process that wants the directory.
            waited: Seconds that it has waited; a server that was just told to end may need some to say so.
        """
        both = self.owner, self.application
        if self.going or not all(identity is not None and is_alive(identity) for identity in both):
            return False
        if self.role == Role.SERVER and waited > _SAYS_WITHIN:
            return True
        return self.role != Role.TOOL and self.belongs_to(application)

    def belongs_to(self, application: int) -> bool:
        """Return whether this process is the one that the lock is held for."""
        return self.application is not None and self.application == identity_of(application)

    def described(self, path: Path, application: int) -> str:
        """Return who has a directory and what to do, as a sentence, for the process `application` that wants it."""
        pid = (self.application or self.owner or [None])[0]
        if self.belongs_to(application) and self.role in (Role.HERE, Role.SHARDS, Role.SERVER):
            kind = "an in-process manager" if self.role == Role.HERE else "a manager with shard processes"
            return (
                f"this process has the data directory {path} open already, by {kind}: use that one, or close it first"
            )
        whose = f"the data directory {path} belongs to process {pid}"
        match self.role:
            case Role.SERVER:
                return f"{whose}, which serves it: use spex_shards.connect({str(path)!r}), or stop that process first"
            case Role.SHARDS:
                share = f"use its shards by spex_shards.connect({str(path)!r})"
                return f"{whose}: {share}, stop that process first, or use another directory"
            case Role.HERE:
                return (
                    f"{whose}, whose in-process manager no other process can use: stop that process first, or use "
                    "another directory; to share one, use `spex-shards serve` and spex_shards.connect"
                )
        return f"{whose}; stop that one first, or use another directory"

    def kill_workers(self) -> None:
        """Kill the workers that still run; only for a holder that is dead."""
        for identity in self.workers:
            if identity[1] is not None and is_alive(identity) and identity[0] > 1:
                try:
                    os.kill(identity[0], signal.SIGKILL)
                except OSError:
                    pass


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot, or None if no such process runs.

    Together with the process id this identifies a process, even after the system has reused the id.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def identity_of(pid: int) -> Identity:
    """Return the identity of a process."""
    return [pid, start_time(pid)]


def is_alive(identity: Identity) -> bool:
    """Return whether that process runs."""
    return bool(start_time(identity[0]) == identity[1])


def _identity(value: Any) -> Identity | None:
    return value if isinstance(value, list) and len(value) == 2 and type(value[0]) is int else None
