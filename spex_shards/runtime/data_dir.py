"""A data directory: its layout record, its owner's lock, and the paths in it.

::

    DIR/layout          the layout record: format, number of shards, hash function (msgpack + checksum)
    DIR/lock            flock: held by the owner and inherited by its workers; the file names them
    DIR/run/socket      the socket that clients attach to (folder 0700)
    DIR/shard-000/ …    one LMDB environment per shard
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from ..errors import DataDirError, DataDirLocked, LayoutMismatch, StoreError
from .holder import Holder, Role, identity_of
from .protocol import records
from .protocol.routing import HASH_NAME
from .system.private import make_private, open_file, read_file, replace_file, sync_folder, take_for_oneself
from .system.waits import milliseconds

FORMAT: Final = 1
"""The format of everything that is stored.

A change that raises it must migrate older directories when they are opened, and log that. The tests require a stored
example of each format.
"""
COPYING: Final = "copying"
DELETING: Final = "deleting"
WAIT_FOR_HOLDER: Final = 3.0
_STEP: Final = 0.02


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout record: the number of shards, and the state of an unfinished change of that number.

    Attributes:
        shards: The number of shards that currently counts.
        step: None; or the state of a change of the number. `COPYING`: rows are being copied to their new shards, and
            `shards` is the old number. `DELETING`: moved rows are being deleted from their old shards, and `shards` is
            the new number.
        other: The other number of that change.
    """

    shards: int
    step: str | None = None
    other: int = 0

    @property
    def change(self) -> tuple[int, int]:
        """The numbers of shards before and after the change."""
        return (self.other, self.shards) if self.step == DELETING else (self.shards, self.other)


@dataclass(frozen=True, slots=True)
class DataDir:
    """The paths in a data directory."""

    path: Path

    @property
    def layout(self) -> Path:
        """The layout record's file."""
        return self.path / "layout"

    @property
    def lock(self) -> Path:
        """The lock file."""
        return self.path / "lock"

    @property
    def socket(self) -> Path:
        """The socket that clients attach to."""
        return self.path / "run" / "socket"

    def shard(self, index: int) -> Path:
        """Return the folder of a shard's environment."""
        return self.path / f"shard-{index:03}"

    def make(self) -> None:
        """Create the missing folders.

        Raises:
            DataDirError: A folder cannot be created, or another user owns an existing one or can write to it.
        """
        try:
            if not self.path.exists():
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                sync_folder(self.path.parent)
            take_for_oneself(self.path)
            make_private(self.socket.parent)
        except OSError as error:
            what = "used" if self.path.exists() else "made"
            raise DataDirError(
                f"the data directory {self.path} cannot be {what}: {error.strerror}", path=str(self.path)
            ) from error

    def shards(self) -> int | None:
        """Return the number of shards that the directory was made for, or None when it is new.

        Raises:
            DataDirError: The layout record is damaged or has a newer format, or a change of the number is unfinished.
        """
        layout = self.read_layout()
        if layout is None:
            return None
        if layout.step is not None:
            before, after = layout.change
            raise DataDirError(
                f"{self.path} is being changed from {before} to {after} shards, which was interrupted; finish it with: "
                f"spex-shards reshard {self.path} --to {after}",
                path=str(self.path),
            )
        return layout.shards

    def read_layout(self) -> Layout | None:
        """Return the layout record, or None when the directory is new.

        Raises:
            DataDirError: The layout record is damaged or has a newer format.
        """
        try:
            row = read_file(self.layout)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataDirError(f"the layout record cannot be read: {error}", path=str(self.layout)) from error
        try:
            found_format, *rest = records.unseal(row, "the layout record")
            if type(found_format) is not int:
                raise TypeError(found_format)
            if found_format != FORMAT:
                raise self._unknown(found_format)
            shards, hash_name, *change = rest
        except (StoreError, TypeError, ValueError):
            raise DataDirError(
                f"the layout record is damaged: {self.layout}; restore it from a backup", path=str(self.layout)
            ) from None
        if hash_name != HASH_NAME:
            raise DataDirError(
                f"{self.path} routes by {hash_name!r}, and this version by {HASH_NAME!r}; "
                "open it with the version that wrote it",
                path=str(self.path),
            )
        return Layout(int(shards), *change)

    def _unknown(self, found: int) -> DataDirError:
        why = "a newer version wrote it; open it with that one" if found > FORMAT else "no version wrote it"
        text = f"{self.path} has format {found}, and this version reads format {FORMAT}: {why}"
        return DataDirError(text, path=str(self.path))

    def check_layout(self, shards: int, *, write: bool = True) -> None:
        """Write the layout record of a new directory, or compare an existing one with `shards`.

        Args:
            shards: The number of shards.
            write: Whether to write a missing record; only the owner may.

        Raises:
            LayoutMismatch: The directory was made for another number of shards.
            DataDirError: The record is damaged or cannot be written.
        """
        found = self.shards()
        if found is None:
            if write:
                self.write_layout(Layout(shards))
        elif found != shards:
            raise LayoutMismatch(
                f"{self.path} was made for {found} shards, not {shards}",
                found=found,
                wanted=shards,
                path=str(self.path),
            )

    def write_layout(self, layout: Layout) -> None:
        """Replace the layout record atomically and durably.

        Raises:
            DataDirError: It cannot be written.
        """
        change = [] if layout.step is None else [layout.step, layout.other]
        fresh = self.layout.with_name("layout.new")
        try:
            descriptor = open_file(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            with os.fdopen(descriptor, "wb") as file:
                file.write(records.seal([FORMAT, layout.shards, HASH_NAME, *change]))
                file.flush()
                os.fsync(file.fileno())
            replace_file(fresh, self.layout)
            sync_folder(self.path)
        except OSError as error:
            raise DataDirError(f"the layout record cannot be written: {error}", path=str(self.layout)) from error


class OwnerLock:
    """The lock that makes a process the owner of a data directory.

    It is one open file description, which the workers inherit on purpose, and no process ever unlocks it for another.
    So the directory is free only when its owner and all of its workers have ended, or when an owner without workers has
    released it.

    Args:
        directory: The directory.
        reading: Whether the directory is only read. Then a directory that cannot be written to, such as one on a
            read-only file system, is locked if it has a lock file, and that file is not changed.
        role: What it is locked for, as another process is told that finds it locked.
        application: The process that it is locked for; None: this one. A supervisor gives the one that started it.
    """

    def __init__(
        self, directory: DataDir, *, reading: bool = False, role: Role = Role.TOOL, application: int | None = None
    ) -> None:
        self._directory = directory
        self._reading = reading
        self._role = role
        self._application = application
        self._holder = Holder()
        self._noted = False
        self.descriptor = -1

    def acquire(self, wait: float = WAIT_FOR_HOLDER, watched: Iterable[int] = ()) -> None:
        """Lock the directory, waiting for a holder that may be about to end.

        Nothing is waited for if this process holds it already, or a server does that was not told to stop. If the
        holder's owner has died but its workers still run, half the wait is given to them; then they are killed.

        Args:
            wait: Seconds to wait.
            watched: Descriptors; the wait ends with `EOFError` when one of them becomes readable.

        Raises:
            DataDirLocked: Another process owns the directory.
            DataDirError: The lock file cannot be opened.
            EOFError: A watched descriptor became readable.
        """
        descriptor = self._open()
        if descriptor < 0:
            return
        try:
            self._lock(descriptor, wait, watched)
        except BaseException:
            os.close(descriptor)
            raise
        self.descriptor = descriptor
        self.note([])

    def take(self) -> None:
        """Lock the directory without waiting, in a process that passes the lock on to its supervisor.

        Raises:
            DataDirLocked: Another process has the lock.
            DataDirError: The lock file cannot be opened.
        """
        # The number is kept before the file is locked: a child that is forked meanwhile must be able to `drop` its
        # copy, because the directory is locked as long as there is any.
        self.descriptor = self._open()
        try:
            self._lock(self.descriptor, 0, ())
            self.note([])
        except BaseException:
            self.drop()
            raise

    def inherit(self, descriptor: int) -> None:
        """Use a lock that the process which started this one has taken."""
        os.set_inheritable(descriptor, False)
        self.descriptor, self._noted = descriptor, True
        self.note([])

    def _open(self) -> int:
        path = self._directory.lock
        try:
            descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
            self._noted = True
            return descriptor
        except OSError as error:
            if not (self._reading and error.errno in (errno.EROFS, errno.EACCES)):
                raise DataDirError(f"the lock file cannot be opened: {error}", path=str(path.parent)) from error
        try:
            return open_file(path, os.O_RDONLY)
        except FileNotFoundError:
            return -1  # there is no lock file, and nobody can create one on a read-only file system
        except OSError as error:
            raise DataDirError(f"the lock file cannot be opened: {error}", path=str(path.parent)) from error

    def _lock(self, descriptor: int, wait: float, watched: Iterable[int]) -> None:
        poll = select.poll()
        for other in watched:
            poll.register(other, select.POLLIN)
        began = time.monotonic()
        deadline = began + wait
        helped = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                holder = Holder.of(os.pread(descriptor, 65536, 0))
                if not helped and time.monotonic() > deadline - wait / 2 and holder.is_dead:
                    holder.kill_workers()
                    helped = True
                if time.monotonic() > deadline or holder.stays(self._for, time.monotonic() - began):
                    raise self._locked(holder) from None
            if poll.poll(milliseconds(_STEP)):
                raise EOFError

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def check_place(self) -> None:
        """Check that the directory has the lock file that is locked; another owner may have locked a newer one.

        Raises:
            DataDirError: It was removed, or replaced.
        """
        path, own = self._directory.lock, os.fstat(self.descriptor)
        try:
            found = path.stat()
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != (own.st_dev, own.st_ino):
            text = f"the data directory {path.parent} was removed or replaced while it was used; what it held is gone"
            raise DataDirError(f"{text}: close this manager, and start another", path=str(path.parent))

    def note(self, workers: list[int]) -> None:
        """Write the owner's and the workers' process ids into the lock file, for a process that finds it locked."""
        self._holder = Holder(
            owner=identity_of(os.getpid()),
            application=identity_of(self._for),
            workers=[identity_of(pid) for pid in workers],
            role=self._role,
            going=self._holder.going,
        )
        self._write()

    def note_end(self) -> None:
        """Write into the lock file that the directory is being given up, so that another process waits for it."""
        self._holder = replace(self._holder, going=True)
        with suppress(OSError):  # what cannot be noted, as on a full disk, must not keep the directory locked
            self._write()

    def _write(self) -> None:
        if self._noted and self.descriptor >= 0:
            text = self._holder.text()
            os.pwrite(self.descriptor, text.ljust(64), 0)
            os.ftruncate(self.descriptor, max(len(text), 64))

    @property
    def _for(self) -> int:
        return os.getpid() if self._application is None else self._application

    def release(self) -> None:
        """Release the lock; only for an owner that has no workers."""
        if self.descriptor >= 0:
            self.note_end()
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
            self.drop()

    def drop(self) -> None:
        """Close this process's descriptor, as a forked child does; the owner keeps the lock."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _locked(self, holder: Holder) -> DataDirLocked:
        path = self._directory.path
        pid = None if holder.owner is None else holder.owner[0]
        return DataDirLocked(holder.described(path, self._for), pid=pid, path=str(path), role=holder.role)


def no_data_dir(path: str | os.PathLike[str]) -> DataDirError:
    """Return the error that a folder is no data directory."""
    text = f"{path} is no data directory: it has no layout record; give the directory that a manager was started with"
    if not Path(path).exists():
        text = f"there is no data directory at {path}; give the directory that a manager was started with"
    return DataDirError(text, path=str(path))


def process_state(pid: int) -> str:
    """Return the state of a process from /proc ("D": it waits for a disk), or "" if it is unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0].decode()
    except (OSError, IndexError):
        return ""
