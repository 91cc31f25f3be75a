"""The files of a log: a port, and its adapter for a folder of the operating system."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final, Protocol

_PREFIX: Final = "log-"


class LogFile(Protocol):
    """One open file of a log. One thread at a time uses it."""

    def write(self, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`.

        Raises:
            OSError: Some of it may be written.
        """

    def sync(self) -> None:
        """Have everything written on the disk.

        Raises:
            OSError: Nothing is known about what is there.
        """

    def begin_sync(self) -> None:
        """Begin a sync of what is written by now, without waiting for it."""

    def sync_ended(self) -> bool:
        """Whether the sync that was begun has ended.

        Raises:
            OSError: It failed.
        """

    def disable(self) -> None:
        """Have nothing written any more, whoever is in the middle of `write`; nothing is waited for."""

    def close(self) -> None:
        """Let go of it, once a sync that was begun has ended."""


class LogFiles(Protocol):
    """The folder of a log."""

    place: str
    """What to say in errors: where the files are."""

    def names(self) -> list[str]:
        """Return the names of all files of the log."""

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""

    def open(self, name: str) -> LogFile:
        """Open a file for writing; a new one is in the folder for good when this returns."""

    def remove(self, name: str) -> None:
        """Remove a file."""


class OsFile:
    """A file of the operating system."""

    _held = -1

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None

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
        _fdatasync(self._descriptor)

    def begin_sync(self) -> None:
        """Begin a sync in a thread, since it may take long."""
        self._thread = threading.Thread(target=self._sync_there, name="spex-shards-sync", daemon=True)
        self._thread.start()

    def sync_ended(self) -> bool:
        """Whether the sync that was begun has ended."""
        if self._thread is not None:
            if self._thread.is_alive():
                return False
            self._thread = None
        if self._failure is not None:
            raise self._failure
        return True

    def disable(self) -> None:
        """Have nothing written any more; the descriptor is closed when nobody can be in the middle of `write`."""
        self._held, self._descriptor = self._descriptor, -1

    def __del__(self) -> None:
        held, self._held = self._held, -1
        if held >= 0:
            os.close(held)

    def close(self) -> None:
        """Close it."""
        if self._thread is not None:
            self._thread.join()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _sync_there(self) -> None:
        try:
            _fdatasync(self._descriptor)
        except OSError as error:
            self._failure = error


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
        return (self._folder / name).read_bytes()

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


def file_name(number: int) -> str:
    """Return the name of a log's file."""
    return f"{_PREFIX}{number}"


def sync_folder(folder: Path) -> None:
    """Have a folder's entries on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fdatasync(descriptor: int) -> None:
    # macOS has no fdatasync.
    getattr(os, "fdatasync", os.fsync)(descriptor)
