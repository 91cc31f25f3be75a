"""A simulated disk: written data is in the operating system's memory, and on the disk only after a sync.

A killed process loses none of it. After a power cut, each 512-byte sector has some prefix of the writes since the last
sync, independently of other sectors: writes are torn and reordered.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Any

from spex_shards.errors import StoreError
from spex_shards.runtime.store import TABLES, MemoryStore
from spex_shards.runtime.store.checkpoint import NoHelper
from spex_shards.runtime.store.syncing import SYNC_SECONDS

SECTOR = 512


class Crash(BaseException):
    """The process is killed here, or the power fails."""


class DiskFull(OSError):
    """There is no room; a part of the write may have been done.

    Args:
        kept: The share that was written: 0.0 for nothing, below 1.0.
    """

    def __init__(self, kept: float) -> None:
        super().__init__(errno.ENOSPC, "No space left on device")
        self.kept = kept


@dataclass
class Content:
    """One file: the content for readers, the content on the disk, and the writes in between."""

    seen: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes]] = field(default_factory=list)

    def write(self, offset: int, data: bytes) -> None:
        """Write into the operating system's memory."""
        _put(self.seen, offset, data)
        self.pending.append((offset, bytes(data)))

    def sync(self, upto: int | None = None) -> None:
        """Bring the content to the disk."""
        done = len(self.pending) if upto is None else upto
        for offset, data in self.pending[:done]:
            _put(self.durable, offset, data)
        del self.pending[:done]

    def cut_power(self, random: Random) -> None:
        """Keep some prefix of the unsynced writes of each sector."""
        chunks: dict[int, list[tuple[int, bytes]]] = {}
        for offset, data in self.pending:
            for place, chunk in _sectors(offset, data):
                chunks.setdefault(place // SECTOR, []).append((place, chunk))
        for writes in chunks.values():
            for place, chunk in writes[: random.randint(0, len(writes))]:
                _put(self.durable, place, chunk)
        self.pending.clear()
        self.seen = bytearray(self.durable)


class SimDisk:
    """Files by name, with faults.

    Attributes:
        no_helpers: How many of the next attempts to start a helper fail.
        full_at: When it was last full; infinite while it is full.
        on_step: Called before each "write", "sync", "open" and "checkpoint"; it may raise.
    """

    place = "disk/"

    def __init__(self) -> None:
        self.files: dict[str, Content] = {}
        self.on_step: Callable[[str], None] = lambda _: None
        self.no_helpers = 0
        self.full_at = -inf

    def names(self) -> list[str]:
        """Return the names of all files."""
        return sorted(self.files)

    def read(self, name: str) -> bytes:
        """Return the content that a reader sees."""
        return bytes(self.files[name].seen)

    def open(self, name: str) -> SimFile:
        """Open a file; the existence of a new file is durable at once."""
        self.on_step("open")
        return SimFile(self, self.files.setdefault(name, Content()))

    def remove(self, name: str) -> None:
        """Remove a file."""
        self.files.pop(name, None)

    def syncer(self, clock: Callable[[], float]) -> SimSyncer:
        """Return a syncer that uses the simulated clock."""
        return SimSyncer(self, clock)

    def cut_power(self, random: Random) -> None:
        """Lose all or some of what was not on the disk."""
        for content in self.files.values():
            content.cut_power(random)


class SimFile:
    """An open file."""

    def __init__(self, disk: SimDisk, content: Content) -> None:
        self._disk = disk
        self._content = content

    def write(self, offset: int, data: bytes) -> None:
        """Write; a crash may leave a part of it."""
        try:
            self._disk.on_step("write")
        except Crash as crash:
            # The bytes of one sector are written together, or not at all.
            kept = int((len(data) + SECTOR) * (crash.args[0] if crash.args else 0.0))
            end = (offset + kept) // SECTOR * SECTOR if kept < len(data) else offset + len(data)
            self._content.write(offset, data[: max(0, end - offset)])
            raise
        except DiskFull as fault:
            self._content.write(offset, data[: int(len(data) * fault.kept)])
            raise
        self._content.write(offset, data)

    def sync(self) -> None:
        """Sync."""
        self.sync_first(len(self._content.pending))

    def unsynced(self) -> int:
        """Return how many writes are not on the disk."""
        return len(self._content.pending)

    def sync_first(self, count: int) -> None:
        """Bring the first writes to the disk."""
        try:
            self._disk.on_step("sync")
        except DiskFull:
            self._content.pending.clear()  # Linux counts it as written: it is read, and no later sync writes it
            raise
        self._content.sync(min(count, len(self._content.pending)))

    def close(self) -> None:
        """Do nothing."""


class SimSyncer:
    """Does the sync thread's work by the simulated clock: a sync begins when it is due, and ends at the next look."""

    def __init__(self, disk: SimDisk, clock: Callable[[], float]) -> None:
        self.done, self.begun = 0, 0.0
        self.failure: OSError | None = None
        self._clock = clock
        self._wanted: tuple[Any, int] = (), 0
        self._at: float | None = None
        self._under_way: tuple[list[tuple[SimFile, int]], int, float] | None = None

    def want(self, files: Any, upto: int) -> None:
        """Sync these files in time."""
        self._wanted = files, upto
        if self._at is None:
            self._at = self._clock() + SYNC_SECONDS

    def hurry(self) -> None:
        """Begin the sync at the next look."""
        self._at = self._clock()

    def poll(self) -> None:
        """End the sync that is under way, or begin one that is due."""
        try:
            if self._under_way is not None:
                files, upto, begun = self._under_way
                for file, count in files:
                    file.sync_first(count)
                self.done, self.begun, self._under_way = upto, begun, None
        except OSError as error:
            self.failure = error
            return
        if self._wanted[1] <= self.done:
            self._at = None
        elif self._at is not None and self._at <= self._clock():
            self._under_way = [(file, file.unsynced()) for file in self._wanted[0]], self._wanted[1], self._clock()
            self._at = self._clock() + SYNC_SECONDS

    def wait(self, seconds: float) -> None:
        """End the sync that is under way."""
        self.poll()

    def close(self) -> None:
        """Do nothing."""


class SimBase(MemoryStore):
    """The store under the log: each `apply` is on the disk completely, or not at all.

    Attributes:
        full: Whether the disk is full.
    """

    full = False

    def apply(self, changes: Any) -> None:
        """Apply all changes, if there is room."""
        if self.full:
            raise StoreError("the store could not keep a batch: MDB_MAP_FULL, or the disk is full")
        super().apply(changes)

    def copy(self) -> SimBase:
        """Return the store that a new process finds."""
        found = SimBase()
        found.tables = {table: dict(self.tables[table]) for table in TABLES}
        return found


class SimCheckpoint:
    """A helper that ends when it is told to, or dies with its parent, before or after its one transaction."""

    def __init__(self, base: SimBase, disk: SimDisk, random: Random) -> None:
        self._base = base
        self._disk = disk
        self._random = random
        self._changes: Any = None

    def start(self, changes: Any) -> None:
        """Begin."""
        if self._disk.no_helpers:
            self._disk.no_helpers -= 1
            raise NoHelper("no process")
        self._disk.on_step("checkpoint")
        self._changes = {table: dict(rows) for table, rows in changes.items()}

    def ended(self, wait: float = 0) -> bool:
        """End at once if the caller waits, otherwise some time later."""
        if not wait and self._random.random() < 0.5:
            return False
        try:
            self._write()
        except StoreError as error:
            self._changes = None
            raise StoreError(f"a checkpoint could not be written: {error}") from error
        return True

    def die(self) -> None:
        """The parent has died: the transaction is done, or not."""
        if self._changes is not None and self._random.random() < 0.5:
            with suppress(StoreError):
                self._write()
        self._changes = None

    def _write(self) -> None:
        self._base.apply(self._changes)
        self._changes = None


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _sectors(offset: int, data: bytes) -> list[tuple[int, bytes]]:
    chunks = []
    while data:
        length = SECTOR - offset % SECTOR
        chunks.append((offset, data[:length]))
        offset, data = offset + length, data[length:]
    return chunks
