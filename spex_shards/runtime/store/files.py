"""The files of a log: a port, and its adapter for a folder of the file system."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Final, Protocol

from ..system.private import open_file, read_file, sync_folder
from .syncing import Syncer, SyncThread

_PREFIX: Final = "log-"
_LOOK_EVERY: Final = 0.4


class LogFile(Protocol):
    """One open file of a log. One thread writes it; another may sync it meanwhile."""

    def write(self, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`.

        Raises:
            OSError: Writing failed; a part of `data` may be written.
        """

    def sync(self) -> None:
        """Return when everything written is on the disk; do nothing if the file is closed.

        Raises:
            OSError: It is not known which writes are on the disk.
        """

    def disable(self, *, in_use: bool) -> None:
        """Make later writes fail, without waiting.

        Args:
            in_use: Whether a thread may be in the middle of `write`: then the file stays open until no thread can be.
        """

    def close(self) -> None:
        """Close the file, without waiting; if it is being synced, the syncing thread closes it afterwards."""


class LogFiles(Protocol):
    """The folder of a log."""

    place: str
    """The place of the files, for error messages."""

    def names(self) -> list[str]:
        """Return the names of all files of the log."""

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            DataDirError: Another user owns the file, or can write to it.
        """

    def open(self, name: str) -> LogFile:
        """Open a file for writing, and create it if it does not exist; its name is on the disk on return.

        Raises:
            DataDirError: Another user owns the file, or can write to it.
        """

    def remove(self, name: str) -> None:
        """Remove a file."""

    def syncer(self, clock: Callable[[], float]) -> Syncer:
        """Return an object that syncs files of this folder in time.

        Raises:
            OSError: None can be made, for lack of threads.
        """


class OsFile:
    """A file of the file system."""

    # Guarantees:
    #
    # * The descriptor is closed only when no thread is in `fdatasync` and none can be in `pwrite`. The system gives the
    #   number of a closed descriptor to the next file that is opened; a thread that still uses the number would write a
    #   batch into that file.

    _held = -1

    def __init__(self, path: Path) -> None:
        self._descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
        self._syncing = threading.Lock()
        self._closing = False
        self._looked_at = -inf

    def write(self, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`."""
        written = os.pwrite(self._descriptor, data, offset)
        while written < len(data):  # a full disk may take a part
            more = os.pwrite(self._descriptor, memoryview(data)[written:], offset + written)
            if not more:
                raise OSError("nothing was written")
            written += more

    def sync(self) -> None:
        """Return when everything written is on the disk."""
        with self._syncing:
            if self._descriptor >= 0:
                _fdatasync(self._descriptor)
                self._look()
        if self._closing:
            self.close()

    def _look(self) -> None:
        """Raise `FileNotFoundError` if the file was deleted, as with its whole data directory; looked at now and then.

        Linux gives a file whose times were read a finer one at the next write, which the next sync must then write as
        well: that took 50 µs more than a sync of 110 µs.
        """
        now = time.monotonic()
        if now > self._looked_at + _LOOK_EVERY:
            self._looked_at = now
            if not os.fstat(self._descriptor).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "the log was deleted while it was used")

    def disable(self, *, in_use: bool) -> None:
        """Make later writes fail; if the file is in use, the descriptor is closed with the last reference to it."""
        if not in_use:
            self.close()
        self._held, self._descriptor = self._descriptor, -1

    def __del__(self) -> None:
        held, self._held = self._held, -1
        if held >= 0:
            os.close(held)

    def close(self) -> None:
        """Close the file, or leave that to the thread that is syncing it."""
        self._closing = True  # before trying the lock: the thread that holds it reads this after releasing it
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
        """Open a file for writing; see `LogFiles.open`."""
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

    def syncer(self, clock: Callable[[], float]) -> Syncer:  # noqa: ARG002 - only the simulator's files need it
        """Return a new thread that syncs files."""
        return SyncThread()


def file_name(number: int) -> str:
    """Return the name of the log's file with that number."""
    return f"{_PREFIX}{number}"


def _fdatasync(descriptor: int) -> None:
    # macOS has no fdatasync.
    getattr(os, "fdatasync", os.fsync)(descriptor)
