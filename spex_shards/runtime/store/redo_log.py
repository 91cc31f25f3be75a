"""A redo log: batches appended to one file at a time, each found again after a crash (see `log_format`, `recovery`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...errors import DataDirError, StoreError
from .files import LogFile, LogFiles, file_name
from .log_format import HEADER_BYTES, Header, pack_record
from .recovery import Recovered, recover
from .syncing import Syncer

_AHEAD: Final = 512 * 1024
"""So many bytes are allocated at a time where each batch is synced: a file that grows with each sync is slow."""


class LogBroken(StoreError):
    """The log could not be synced: what is on the disk is not known, so nothing more may be answered."""


class RedoLog:
    """The log of one shard.

    `append` is the commit of a batch. Batches have sequences, one after the other. A file that was read at the start is
    never appended to: where it was cut, something unfinished may follow.

    Args:
        files: Where it is.
        checkpoint: The sequence that the store under it holds.
        sync_each: Whether `append` returns only when the batch is on the disk.
        generation: Gives a random number for each file.
        clock: Monotonic seconds.

    Attributes:
        last: The sequence of the newest batch.
        synced: The highest sequence known to be on the disk.
        size: Bytes in the current file.
        recovered: What was found at the start.

    Raises:
        DataDirError: A file is damaged, or cannot be read or written.
    """

    def __init__(
        self,
        files: LogFiles,
        checkpoint: int,
        *,
        sync_each: bool,
        generation: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._files = files
        self._sync_each = sync_each
        self._generation = generation
        self.recovered = read_log(files, checkpoint)
        self.last = self.recovered.last
        self.synced = checkpoint
        self._epoch = self.recovered.epoch
        self._closed: set[str] = set(self.recovered.used)
        self._file: LogFile | None = None
        self._name = ""
        # Left by `switch` with something in them that is not synced, and the last sequence in each.
        self._older: list[tuple[int, LogFile]] = []
        self._unsynced: tuple[LogFile, ...] = ()
        self._syncer: Syncer | None = None
        self.size = 0
        self._allocated = 0
        try:
            if not sync_each:
                self._syncer = files.syncer(clock)
            self._settle()
        except (OSError, LogBroken) as error:
            self.close()
            raise DataDirError(f"the log cannot be written: {files.place}: {error}", path=files.place) from error

    def _settle(self) -> None:
        # What was read may be in the operating system's memory only. Where each batch is synced, an answer about it
        # may leave at once, so it is synced now; else a sync of it begins now.
        for name in sorted(self.recovered.used):
            file = self._files.open(name)
            self._older.append((self.last, file))
            if self._sync_each:
                # A sync that failed before may have left it in memory, marked as on the disk: no sync would write it.
                file.write(0, self._files.read(name))
        self._gather()
        if self._sync_each:
            self.sync()
        self.switch()
        if self._syncer is not None and self.dirty:
            self._syncer.want(self._unsynced, self.last)
            self._syncer.hurry()

    @property
    def files_in_use(self) -> int:
        """How many files hold something that is not known to be in the store, or are open."""
        return len(self._closed) + 1

    @property
    def dirty(self) -> bool:
        """Whether there is something to sync."""
        return self.synced < self.last

    @property
    def sync_begun(self) -> float:
        """When the newest sync began that has ended: what is not synced was appended later."""
        return 0.0 if self._syncer is None else self._syncer.begun

    def append(self, payload: bytes) -> None:
        """Keep one batch.

        Raises:
            StoreError: It was not kept, as when the disk is full; the log is as it was before.
            LogBroken: A sync failed.
        """
        assert self._file is not None
        syncer = self._syncer
        if syncer is not None and syncer.failure is not None:
            raise self._broken(syncer.failure)
        try:
            data = pack_record(self._header.generation, self.last + 1, self.synced, payload)
            if self._sync_each and self.size + len(data) > self._allocated:
                self._allocate(self.size + len(data))
            self._file.write(self.size, data)
        except (OSError, ValueError, MemoryError) as error:
            raise StoreError(f"the store could not keep a batch: {error or 'there is no memory'}") from error
        if self._sync_each:
            self.sync(self.last + 1)
        self.size += len(data)
        self.last += 1
        if syncer is not None:
            syncer.want(self._unsynced, self.last)

    def sync(self, upto: int | None = None) -> None:
        """Have everything on the disk.

        Raises:
            LogBroken: It could not be done; the log takes nothing more.
        """
        try:
            for file in self._unsynced:
                file.sync()
        except OSError as error:
            raise self._broken(error) from error
        self.synced = self.last if upto is None else upto
        self._drop_older()

    def poll_sync(self, wait: float = 0) -> None:
        """Look how far what is synced by itself has got, after waiting up to `wait` seconds for a sync to end.

        Raises:
            LogBroken: A sync failed.
        """
        if self._syncer is None:
            return
        if wait:
            self._syncer.wait(wait)
        self._syncer.poll()
        if self._syncer.failure is not None:
            raise self._broken(self._syncer.failure)
        if self._syncer.done > self.synced:
            self.synced = self._syncer.done
            self._drop_older()

    def switch(self) -> None:
        """Begin another file; what was appended so far stays until `checkpointed`.

        Raises:
            OSError: The other file cannot be written; the log goes on with the one it has.
        """
        number = 0
        while file_name(number) in self._closed or file_name(number) == self._name:
            number += 1
        name = file_name(number)
        file = self._files.open(name)
        header = Header(self._epoch + 1, self._generation(), self.last + 1, self.synced)
        try:
            file.write(0, header.pack())
        except OSError:
            file.close()
            raise
        if self._file is not None:
            self._older.append((self.last, self._file))
            self._closed.add(self._name)
        self._file, self._name, self._header = file, name, header
        self._drop_older()
        self._epoch += 1
        self.size, self._allocated = HEADER_BYTES, 0

    def checkpointed(self, sequence: int) -> None:
        """The store holds, on the disk, everything up to `sequence`: the end of the file before the current one."""
        self.synced = max(self.synced, sequence)
        self._closed.clear()
        self._drop_older()

    def disable(self, *, in_use: bool) -> None:
        """Have nothing appended any more, though somebody may be in the middle of `append`."""
        if self._syncer is not None:
            self._syncer.abandon()
        for file in self._unsynced:
            file.disable(in_use=in_use)

    def close(self) -> None:
        """Let go of the files."""
        if self._syncer is not None:
            self._syncer.close()
        for file in self._unsynced:
            file.close()
        self._older.clear()
        self._file, self._unsynced = None, ()

    def remove(self) -> None:
        """Remove all files: the store holds everything. The log must be closed."""
        for name in self._files.names():
            self._files.remove(name)

    def _gather(self) -> None:
        files = [file for _, file in self._older]
        self._unsynced = tuple(files if self._file is None else [*files, self._file])

    def _drop_older(self) -> None:
        for last, file in self._older:
            if last <= self.synced:
                file.close()
        self._older = [(last, file) for last, file in self._older if last > self.synced]
        self._gather()

    def _broken(self, error: OSError) -> LogBroken:
        return LogBroken(f"the log could not be synced: {self._files.place}{self._name}: {error}")

    def _allocate(self, upto: int) -> None:
        # Zeros are no record. Blocks that are there already are written over when a file is used again.
        assert self._file is not None
        zeros = bytes(_AHEAD)
        start = max(self._allocated, self.size)
        while start < upto:
            self._file.write(start, zeros)
            start += len(zeros)
        self._allocated = start


def read_log(files: LogFiles, checkpoint: int) -> Recovered:
    """Read what a log holds behind a checkpoint, and change nothing.

    Raises:
        DataDirError: A file is damaged or cannot be read.
    """
    try:
        contents = {name: files.read(name) for name in files.names()}
    except OSError as error:
        raise DataDirError(f"the log cannot be read: {files.place}: {error}", path=files.place) from error
    return recover(contents, checkpoint, files.place)
