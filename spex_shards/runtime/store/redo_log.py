"""A redo log: batches are appended to one file at a time, and found again after a crash (`log_format`, `recovery`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...errors import DataDirError, StoreError
from .failures import LogBroken
from .files import LogFile, LogFiles, file_name
from .log_format import HEADER_BYTES, Header, pack_record
from .recovery import Checkpoint, Recovered, recover
from .syncing import Syncer

_AHEAD: Final = 512 * 1024
"""How many bytes a file grows at a time if each batch is synced: syncing a file that has grown is slow."""


class RedoLog:
    """The log of one shard.

    `append` commits a batch. Batches are numbered by consecutive sequences. The log never appends to a file that it
    read at the start: later records may lie behind a gap there, and a new record in the gap would join them to the
    chain again. For the same reason it removes files of which nothing counts: begun again, they would have new sectors
    between old ones, and a power cut could bring the old header back.

    Args:
        files: The log's files.
        checkpoint: What the base store holds.
        sync_each: Whether `append` returns only when the batch is on the disk.
        generation: Returns a random number for each use of a file.
        clock: Returns monotonic seconds.

    Attributes:
        last: The sequence of the newest batch.
        epoch: The epoch of the current file.
        synced: The highest sequence known to be on the disk.
        size: The size of the current file in bytes.
        recovered: The batches that were found at the start.

    Raises:
        DataDirError: A file is damaged, or cannot be read or written.
    """

    def __init__(
        self,
        files: LogFiles,
        checkpoint: Checkpoint,
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
        self.synced = checkpoint.sequence
        self.epoch = self.recovered.epoch
        self._closed: set[str] = set(self.recovered.used)
        self._file: LogFile | None = None
        self._name = ""
        # Earlier files with batches that are not synced yet, each with the last sequence in it.
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
        # The batches that were read may be only in the operating system's memory. If each batch must be synced, they
        # are synced now, because answers about them may be sent at once; otherwise the thread begins to sync them now.
        for name in sorted(self.recovered.void):
            self._files.remove(name)
        for name in sorted(self.recovered.used):
            file = self._files.open(name)
            self._older.append((self.last, file))
            if self._sync_each:
                # After a failed sync, the system may regard pages as written that are not: syncing alone would not
                # write them. So write the file again.
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
        """How many files are open, or have batches that may not be in the base store."""
        return len(self._closed) + 1

    @property
    def dirty(self) -> bool:
        """Whether any batch is not known to be on the disk."""
        return self.synced < self.last

    @property
    def sync_begun(self) -> float:
        """When the newest completed sync began: batches that are not synced were appended after that."""
        return 0.0 if self._syncer is None else self._syncer.begun

    def append(self, payload: bytes) -> None:
        """Append one batch, which commits it.

        Raises:
            StoreError: The batch is not committed, for example because the disk is full; the log is unchanged.
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
        """Return when everything appended is on the disk.

        Args:
            upto: The sequence of the newest batch, if `last` does not count it yet.

        Raises:
            LogBroken: A sync failed; the log takes no more batches.
        """
        try:
            for file in self._unsynced:
                file.sync()
        except OSError as error:
            raise self._broken(error) from error
        self.synced = self.last if upto is None else upto
        self._drop_older()

    def poll_sync(self, wait: float = 0) -> None:
        """Update `synced` from the syncing thread, after waiting up to `wait` seconds for a sync to end.

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
        """Begin another file. The earlier files are not reused before `checkpointed`.

        Raises:
            OSError: The other file cannot be written; the log continues with the present one.
        """
        number = 0
        while file_name(number) in self._closed or file_name(number) == self._name:
            number += 1
        name = file_name(number)
        file = self._files.open(name)
        header = Header(self.epoch + 1, self._generation(), self.last + 1, self.synced)
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
        self.epoch += 1
        self.size, self._allocated = HEADER_BYTES, 0

    def checkpointed(self, sequence: int) -> None:
        """Let the earlier files be reused: the base store has on the disk all batches up to `sequence`, their last."""
        self.synced = max(self.synced, sequence)
        self._closed.clear()
        self._drop_older()

    def disable(self, *, in_use: bool) -> None:
        """Make later appends fail, without waiting; `in_use`: a thread may be in the middle of `append`."""
        if self._syncer is not None:
            self._syncer.abandon()
        for file in self._unsynced:
            file.disable(in_use=in_use)

    def close(self) -> None:
        """Close the files, and end the syncing thread."""
        if self._syncer is not None:
            self._syncer.close()
        for file in self._unsynced:
            file.close()
        self._older.clear()
        self._file, self._unsynced = None, ()

    def remove(self) -> None:
        """Delete all files. The log must be closed, and the base store must have all batches."""
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
        # Zeros are never taken for a record. A file that is used again already has its blocks.
        assert self._file is not None
        zeros = bytes(_AHEAD)
        start = max(self._allocated, self.size)
        while start < upto:
            self._file.write(start, zeros)
            start += len(zeros)
        self._allocated = start


def read_log(files: LogFiles, checkpoint: Checkpoint) -> Recovered:
    """Return the batches of a log after a checkpoint; nothing is changed.

    Raises:
        DataDirError: A file is damaged or cannot be read.
    """
    try:
        contents = {name: files.read(name) for name in files.names()}
    except OSError as error:
        raise DataDirError(f"the log cannot be read: {files.place}: {error}", path=files.place) from error
    return recover(contents, checkpoint, files.place)
