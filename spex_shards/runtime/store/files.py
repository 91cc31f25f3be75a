"""The files of a log: a port, and its adapter for a folder of the operating system."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from ..system.private import open_file, read_file, sync_folder
from .syncing import Syncer, SyncThread

_PREFIX: Final = "log-"


class LogFile(Protocol):
    """One open file of a log. One thread writes it; another may sync it meanwhile."""

    def write(self, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`.

        Raises:
            OSError: Some of it may be written.
        """

    def sync(self) -> None:
        """Have everything written on the disk; do nothing when it is closed.

        Raises:
            OSError: Nothing is known about what is there.
        """

    def disable(self, *, in_use: bool) -> None:
        """Have nothing written any more; nothing is waited for.

        Args:
            in_use: Whether somebody may be in the middle of `write`: then it is let go of when nobody can be.
        """

    def close(self) -> None:
        """Let go of it, once a sync that is under way has ended; never waits."""


class LogFiles(Protocol):
    """The folder of a log."""

    place: str
    """What to say in errors: where the files are."""

    def names(self) -> list[str]:
        """Return the names of all files of the log."""

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            DataDirError: It is another user's doing.
        """

    def open(self, name: str) -> LogFile:
        """Open a file for writing; a new one is in the folder for good when this returns.

        Raises:
            DataDirError: It is another user's doing.
        """

    def remove(self, name: str) -> None:
        """Remove a file."""

    def syncer(self, clock: Callable[[], float]) -> Syncer:
        """Return who syncs files of this folder in time.

        Raises:
            OSError: Nobody can.
        """


class OsFile:
    """A file of the operating system."""

    _held = -1

    def __init__(self, path: Path) -> None:
        self._descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
        self._syncing = threading.Lock()
        self._closing = False

    def write(self, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`."""
        written = os.pwrite(self._descriptor, data, offset)
        while written < len(data):  # a full disk may take a part
            more = os.pwrite(self._descriptor, memoryview(data)[written:], offset + written)
            if not more:
                raise OSError("nothing was written")
            written += more

    def sync(self) -> None:
        """Have everything written on the disk."""
        with self._syncing:
            if self._descriptor >= 0:
                _fdatasync(self._descriptor)
        if self._closing:
            self.close()

    def disable(self, *, in_use: bool) -> None:
        """Have nothing written any more; the descriptor is closed when nobody can be in the middle of `write`."""
        if not in_use:
            self.close()
        self._held, self._descriptor = self._descriptor, -1

    def __del__(self) -> None:
        held, self._held = self._held, -1
        if held >= 0:
            os.close(held)

    def close(self) -> None:
        """Close it, or have it closed by the thread that syncs it just now."""
        self._closing = True  # before the lock is tried: who holds it looks at this after letting go
        if self._syncing.acquire(blocking=False):
            try:
                if self._descriptor >= 0:
                    os.close(self._descriptor)
                    self._descriptor = -1
            finally:
                self._syncing.release()


class OsFiles:
    """The log's files in a shard's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.place = f"{folder}/"

    def names(self) -> list[str]:
        """Return the names of all files of the log."""
        return sorted(entry.name for entry in os.scandir(self._folder) if entry.name.startswith(_PREFIX))

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        return read_file(self._folder / name)

    def open(self, name: str) -> OsFile:
        """Open a file for writing; a new one is in the folder for good when this returns."""
        path = self._folder / name
        new = not path.exists()
        file = OsFile(path)
        if new:
            try:
                sync_folder(self._folder)
            except OSError:
                file.close()
                raise
        return file

    def remove(self, name: str) -> None:
        """Remove a file."""
        (self._folder / name).unlink(missing_ok=True)

    def syncer(self, clock: Callable[[], float]) -> Syncer:  # noqa: ARG002 - a disk has a clock of its own
        """Return a thread that syncs."""
        return SyncThread()


def file_name(number: int) -> str:
    """Return the name of a log's file."""
    return f"{_PREFIX}{number}"


def _fdatasync(descriptor: int) -> None:
    # macOS has no fdatasync.
    getattr(os, "fdatasync", os.fsync)(descriptor)
