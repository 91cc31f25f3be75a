"""A store behind a redo log: one append commits a batch; a checkpoint later writes many batches into the base store.

::

    apply ──▶ log file (the append is the commit) ──▶ overlay      reads: overlay over frozen overlay over base store
    checkpoint due ──▶ the overlay is frozen, and another log file is begun
                   ──▶ a helper process writes the frozen overlay into the base store, synced
                   ──▶ the frozen overlay is dropped, and the old log files may be reused

After a crash, the batches in the log that the base store does not have become the frozen overlay.

# Guarantees:
#
# * Each committed batch is in the log or in the base store, at any moment. So an old log file is reused only after the
#   helper process has synced the base store.
# * The base store names the newest batch that it holds, in the same transaction as the changes, and the epoch of the
#   log's file that was begun after it. So after a crash it is known which batches of the log it lacks, and which files
#   can have them.
# * The frozen overlay does not change while a checkpoint is being written, and stays visible to reads until then. If it
#   were dropped earlier, reads would see the base store without its rows.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from ...errors import StoreError
from ...log_fields import about
from ..protocol.codec import packer
from .checkpoint import Checkpointer, DirectCheckpoint, NoHelper, checkpoint_of, rows_of, together
from .failures import LogBroken, StoreFull
from .files import LogFiles
from .log_format import pack_batch
from .overlay import MISSING, Overlay
from .port import BaseStore, Changes
from .recovery import Checkpoint
from .redo_log import RedoLog
from .syncing import SYNC_SECONDS

FULL: Final = 4
"""When rows or bytes reach this many times what makes a checkpoint due, `apply` waits for a checkpoint."""
STALLED: Final = 1.5
"""Seconds after which a batch must be synced; if the disk takes longer, no more batches are taken meanwhile."""
_LOOK_AGAIN: Final = 0.02
_MOST_FILES: Final = 8
"""Each `reopened` begins another file. When there are more than this many, a checkpoint is written to free them."""
_RETRY_SECONDS: Final = 1.0
logger = logging.getLogger("spex_shards")


@dataclass(frozen=True, slots=True)
class Due:
    """A checkpoint is due after so many changed rows, so many bytes of log, or so long after the first new batch."""

    rows: int = 20_000
    size: int = 8 * 1024 * 1024
    seconds: float = 10.0


class LoggedStore:
    """A base store, and the log in front of it.

    Args:
        base: The store that checkpoints are written into; its `apply` must be synced.
        files: The files of the log.
        sync_each: Whether `apply` returns only when the batch is on the disk (durability "disk"). Otherwise a batch
            survives the death of the process at once, and a thread begins to sync it within half a second.
        checkpointer: Writes checkpoints; None: `upkeep` writes them itself.
        due: When a checkpoint is due.
        generation: Returns a random number for each file of the log.
        on_wait: Called every second while `apply` waits for a checkpoint, or `upkeep` for a slow disk.
        waits_for_room: Whether `apply` waits if checkpoints are too slow; otherwise it raises `StoreFull`.
        clock: Returns monotonic seconds.

    Attributes:
        next_upkeep: When `upkeep` must be called next.

    Raises:
        DataDirError: The log is damaged or cannot be written.
    """

    far = False
    claim = 0

    def __init__(
        self,
        base: BaseStore,
        files: LogFiles,
        *,
        sync_each: bool,
        checkpointer: Checkpointer | None = None,
        due: Due = Due(),
        generation: Callable[[], int] = lambda: secrets.randbits(64),
        clock: Callable[[], float] = time.monotonic,
        on_wait: Callable[[], None] = lambda: None,
        waits_for_room: bool = True,
    ) -> None:
        self._base = base
        self._files = files
        self._generation = generation
        self._waits_for_room = waits_for_room
        self._checkpointer = DirectCheckpoint(base) if checkpointer is None else checkpointer
        self._clock = clock
        self._due = due
        self._on_wait = on_wait
        self._sync_each = sync_each
        self._log = RedoLog(files, checkpoint_of(base), sync_each=sync_each, generation=generation, clock=clock)
        self._frozen = Overlay(self._log.recovered.changes)
        self._frozen_upto = Checkpoint(self._log.last, self._log.epoch)
        self._current = Overlay()
        self._pack = packer()  # of its own: nothing else can enter it while a batch is packed
        self._running = False
        self._viewed = True  # whether the base store may have a reading view, which must be released
        self._failure: StoreError | None = None
        self._broken: LogBroken | None = None
        # When to look next how far the sync is, and since when a batch waits to be synced.
        self._sync_at = self._dirty_since = inf if sync_each or not self._log.dirty else clock()
        self._checkpoint_at = clock() if self._frozen else inf
        self.next_upkeep = min(self._sync_at, self._checkpoint_at)

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        value: Any = self._current.changes[table].get(key, MISSING)
        if value is MISSING:
            value = self._frozen.changes[table].get(key, MISSING)
            if value is MISSING:
                self._viewed = True
                return self._base.get(table, key)
        return value  # type: ignore[no-any-return]

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """Return the values of all `keys`."""
        return {key: self.get(table, key) for key in keys}

    def range(
        self, table: str, start: bytes, stop: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over ``start <= key < stop`` in key order (or the reverse)."""
        self._viewed = True
        rows = self._base.range(table, start, stop, reverse=reverse)
        rows = self._frozen.over(rows, table, start, stop, reverse=reverse)
        return self._current.over(rows, table, start, stop, reverse=reverse)

    def release(self) -> None:
        """End the reading view, if there is one."""
        self._base.release()
        self._viewed = False

    def size(self) -> int:
        """Return the size in bytes of the base store and the log's current file."""
        return self._base.size() + self._log.size

    def rows(self) -> int:
        """Return about how many rows there are: rows changed lately may count more than once."""
        return self._base.rows() + self._frozen.rows + self._current.rows

    @property
    def last(self) -> int:
        """The sequence of the newest batch that is committed."""
        return self._log.last

    def begin_view(self) -> None:
        """Read in a new view from now on; a call that is in the middle of reading keeps the old one."""
        self._base = self._base.another_view()

    def reopened(self, *, in_use: bool) -> LoggedStore:
        """Return a store that continues from the log; this one commits nothing more, even if a thread is in `apply`.

        Only for a store that writes its checkpoints itself, and not while it writes one.

        Args:
            in_use: Whether a thread may be in the middle of `apply`.

        Raises:
            DataDirError: The log cannot be read or written.
            StoreError: The log has too many files, and no checkpoint can be written.
        """
        # First disable the log, then read it: a batch that was appended after the read would be committed for the
        # call that appended it, and unknown to the new store.
        self._log.disable(in_use=in_use)
        store = LoggedStore(
            self._base.another_view(),
            self._files,
            sync_each=self._sync_each,
            due=self._due,
            generation=self._generation,
            clock=self._clock,
            on_wait=self._on_wait,
            waits_for_room=self._waits_for_room,
        )
        if store._log.files_in_use > _MOST_FILES:
            store.make_room()
        return store

    def apply(self, changes: Changes) -> None:
        """Commit all changes, by one append to the log. Blocks if checkpoints are too slow for the writes.

        Raises:
            StoreError: Nothing was committed.
            StoreFull: Nothing was committed: a checkpoint must be written first, and `waits_for_room` is not set.
            LogBroken: It is unknown whether the changes are committed; no further batch will be.
        """
        if self._viewed:
            self.release()
        if self._broken is not None:
            raise LogBroken(str(self._broken))
        if self._current.rows >= FULL * self._due.rows or self._log.size >= FULL * self._due.size:
            if not self._waits_for_room:
                raise StoreFull("the store takes nothing more until a checkpoint is written")
            self.make_room()
        try:
            payload = pack_batch(changes, self._pack)
        except BaseException:
            self._pack = packer()
            raise
        try:
            self._log.append(payload)
            self._current.add(changes)
        except LogBroken as error:
            self._broken = error
            raise
        except MemoryError as error:  # the batch is in the log, and not in memory: only opening the log again helps
            self._broken = LogBroken("there was no memory left after a batch was committed")
            raise self._broken from error
        if self._checkpoint_at == inf or (self._sync_at == inf and not self._sync_each):
            self._plan(self._clock())
        if not self._running and (self._log.size >= self._due.size or self._current.rows >= self._due.rows):
            self.next_upkeep = 0.0

    def _plan(self, now: float) -> None:
        if self._sync_at == inf and not self._sync_each:
            self._sync_at, self._dirty_since = now + SYNC_SECONDS, now
        if self._checkpoint_at == inf:
            self._checkpoint_at = now + self._due.seconds
        self.next_upkeep = min(self.next_upkeep, self._sync_at, self._checkpoint_at)

    def upkeep(self) -> None:
        """Look how far the log is synced, and begin or end a checkpoint, as they are due.

        Blocks while the disk is too slow, so that a power loss costs at most the last two seconds.

        Raises:
            LogBroken: The log could not be synced.
        """
        if self._broken is not None:
            self.next_upkeep = inf
            raise LogBroken(str(self._broken))
        now = self._clock()
        try:
            if self._sync_at <= now:
                now = self._look_what_is_synced(now)
        except LogBroken as error:
            self._broken = error
            raise
        if self._running:
            self._look(now)
        if not self._running and self._is_due(now):
            self._begin(now)
        self.next_upkeep = min(self._sync_at, self._checkpoint_at, now + _LOOK_AGAIN if self._running else inf)

    def _look_what_is_synced(self, now: float) -> float:
        self._log.poll_sync()
        while self._log.dirty and now - max(self._dirty_since, self._log.sync_begun) > STALLED:
            self._on_wait()
            self._log.poll_sync(1.0)
            now = self._clock()
        if self._log.dirty:
            self._dirty_since = max(self._dirty_since, self._log.sync_begun)
            self._sync_at = max(now + _LOOK_AGAIN, self._dirty_since + SYNC_SECONDS)
        else:
            self._sync_at = self._dirty_since = inf
        return now

    def _is_due(self, now: float) -> bool:
        if self._frozen or self._checkpoint_at <= now:
            return self._checkpoint_at <= now
        return self._log.size >= self._due.size or self._current.rows >= self._due.rows

    def _begin(self, now: float) -> None:
        try:
            if not self._frozen:
                self._freeze()
            self._frozen.add(rows_of(self._frozen_upto))
            self._checkpointer.start(self._frozen.changes)
        except (OSError, StoreError) as error:
            self._failed(error, now)
            return
        self._running, self._checkpoint_at = True, inf
        self._look(now)

    def _freeze(self) -> None:
        self._log.switch()
        self._frozen, self._frozen_upto = self._current, Checkpoint(self._log.last, self._log.epoch)
        self._current = Overlay()

    def _look(self, now: float, wait: float = 0) -> None:
        try:
            if not self._checkpointer.ended(wait):
                return
        except StoreError as error:
            self._running = False
            self._failed(error, now)
            return
        self._running = False
        self._written(now)

    def _written(self, now: float) -> None:
        self._failure = None
        self._base.release()
        self._log.checkpointed(self._frozen_upto.sequence)
        self._frozen = Overlay()
        self._checkpoint_at = now + self._due.seconds if self._current else inf

    def _failed(self, error: Exception, now: float) -> None:
        # Nothing is lost: the batches are in the log, and the next checkpoint writes them.
        if self._failure is None:
            text = "a checkpoint has failed, and will be tried again: %s"
            logger.warning(text, error, extra=about("checkpoint_failed"))
        self._failure = error if isinstance(error, StoreError) else StoreError(str(error))
        self._checkpoint_at = now + _RETRY_SECONDS

    def make_room(self) -> None:
        """Write checkpoints, and wait for them, until the overlay is empty.

        Raises:
            StoreError: Checkpoints fail.
        """
        for _ in range(2):  # the checkpoint that is being written, and one of the batches committed meanwhile
            now = self._clock()
            if not self._running:
                self._checkpoint_at = now
                self._begin(now)
                if isinstance(self._failure, NoHelper):
                    self._write_here(now)
            while self._running:
                self._on_wait()
                self._look(now, 1.0)
            if self._failure is not None:
                raise StoreError(f"the store takes nothing more until a checkpoint can be written: {self._failure}")
            if not self._current:
                return

    def _write_here(self, now: float) -> None:
        # If no process can be forked, it is better to hold the loop up than to refuse batches.
        self._on_wait()
        try:
            self._base.apply(self._frozen.changes)
        except StoreError as error:
            self._failed(error, now)
            return
        self._on_wait()
        self._written(now)

    def close(self) -> None:
        """Write everything into the base store and close it. Batches that could not be written stay in the log."""
        try:
            self._close_log()
        finally:
            self._base.close()

    def _close_log(self) -> None:
        self._base.release()
        while self._running:
            self._look(self._clock(), 1.0)
        if self._broken is not None:
            self._log.close()
            return
        try:
            if self._frozen or self._current:
                last = rows_of(Checkpoint(self._log.last, self._log.epoch))
                self._base.apply(together(self._frozen.changes, self._current.changes, last))
        except StoreError as error:
            text = "what the log holds could not be written into the store, and stays in the log: %s"
            logger.warning(text, error, extra=about("checkpoint_failed"))
            self._log.sync()
            self._log.close()
            return
        self._log.close()
        self._log.remove()
