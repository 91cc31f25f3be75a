"""A store behind a redo log: a batch is kept by one append, and written into the store under it later, with others.

::

    apply ──▶ log file (append is the commit) ──▶ overlay      reads: overlay over frozen overlay over store
    checkpoint due ──▶ overlay frozen, another log file begun
                   ──▶ a helper writes the frozen overlay into the store, synced ──▶ it is dropped, its log file free

Recovery puts what the log holds behind the store's checkpoint into the frozen overlay.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Final

from ...errors import StoreError
from ..protocol import codec
from ..system.turns import Inside
from .checkpoint import Checkpointer, DirectCheckpoint, NoHelper, together
from .files import LogFiles
from .overlay import MISSING, Overlay
from .port import MAX_KEY_BYTES, BaseStore, Changes, Store
from .redo_log import LogBroken, RedoLog
from .syncing import SYNC_SECONDS

FULL: Final = 4
"""At so many times the rows or bytes that make a checkpoint due, writers wait for the one at hand."""
STALLED: Final = 1.5
"""When something is not synced so long after it was kept, nothing more is kept until it is."""
_LOOK_AGAIN: Final = 0.02
_MOST_FILES: Final = 8
"""A store that is opened again and again begins a file each time: beyond so many, a checkpoint frees them."""
_RETRY_SECONDS: Final = 1.0
CHECKPOINT: Final = b"checkpoint"
"""The row, in the store's table `layout`, with the sequence of the newest batch that it holds."""

logger = logging.getLogger("spex_shards")
_appending = Inside()


class StoreFull(StoreError):
    """What was gathered must be written into the store first: `make_room` does."""


@dataclass(frozen=True, slots=True)
class Due:
    """When a checkpoint is due: after so many rows or bytes, or seconds after the first row behind the last one."""

    rows: int = 20_000
    size: int = 8 * 1024 * 1024
    seconds: float = 10.0


class LoggedStore:
    """A store, and the log in front of it.

    Args:
        base: The store that checkpoints are written into; its `apply` must be synced.
        files: Where the log is.
        sync_each: Whether `apply` returns only when the batch is on the disk (durability "disk"); else a sync of it
            begins within half a second, by itself, and it survives the death of the process at once.
        checkpointer: Who writes checkpoints; default: the caller of `upkeep`.
        due: When.
        generation: Gives a random number for each file of the log.
        on_wait: Called every second while `apply` waits for a checkpoint, or `upkeep` for a disk that stalls.
        waits_for_room: Whether `apply` waits where the disk does not keep up; else it raises `StoreFull`.
        clock: Monotonic seconds.

    Attributes:
        next_upkeep: When `upkeep` is to be called next.

    Raises:
        DataDirError: The log is damaged or cannot be written.
    """

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
        self._frozen_upto = self._log.last
        self._current = Overlay()
        self._running = False
        self._viewed = True  # whether there may be a reading view of the base to release
        self._failure: StoreError | None = None
        self._broken: LogBroken | None = None
        # When to look what is synced, and since when something is not.
        self._sync_at = self._dirty_since = inf if sync_each or not self._log.dirty else clock()
        self._checkpoint_at = clock() if self._frozen else inf
        self.next_upkeep = min(self._sync_at, self._checkpoint_at)

    # ------------------------------------------------------------------ reading

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        value: bytes | None = self._current.changes[table].get(key, MISSING)
        if value is MISSING:
            value = self._frozen.changes[table].get(key, MISSING)
            if value is MISSING:
                self._viewed = True
                return self._base.get(table, key)
        return value

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
        """Return the bytes of the store and of the log's current file."""
        return self._base.size() + self._log.size

    def rows(self) -> int:
        """Return how many rows there are, about."""
        return self._base.rows() + self._frozen.rows + self._current.rows

    @property
    def last(self) -> int:
        """The sequence of the newest batch that is kept."""
        return self._log.last

    # ------------------------------------------------------------------ going on elsewhere

    def may_be_appending(self) -> bool:
        """Return whether a thread is in the middle of `apply`, so that it is not known what is kept."""
        return _appending.anywhere(self)

    def begin_view(self) -> None:
        """Begin to read in a view of its own: who is in the middle of reading keeps the one that there was."""
        self._base = self._base.another_view()

    def reopened(self) -> LoggedStore:
        """Return a store that goes on with what the log holds; this one keeps nothing more, whoever is in `apply`.

        For a store that writes its own checkpoints, and that is in the middle of none.

        Raises:
            DataDirError: The log cannot be read or written.
            StoreError: It has too many files, and no checkpoint can be written.
        """
        self._log.disable(in_use=self.may_be_appending())
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

    # ------------------------------------------------------------------ writing

    @_appending
    def apply(self, changes: Changes) -> None:
        """Keep all changes, by one append to the log.

        Blocks when the disk does not keep up with what is written.

        Raises:
            StoreError: None was kept.
            StoreFull: None was kept, for want of room, and `waits_for_room` is not set.
            LogBroken: Whether they are kept is not known: the log could not be synced. Nothing more is.
        """
        if self._viewed:
            self.release()
        if self._broken is not None:
            raise LogBroken(str(self._broken))
        if self._current.rows >= FULL * self._due.rows or self._log.size >= FULL * self._due.size:
            if not self._waits_for_room:
                raise StoreFull("the store takes nothing more until a checkpoint is written")
            self.make_room()
        payload = _payload(changes)
        try:
            self._log.append(payload)
            self._current.add(changes)
        except LogBroken as error:
            self._broken = error
            raise
        except MemoryError as error:  # it is in the log already: whoever opens it next finds it there
            self._broken = LogBroken("there was no memory left after a batch was kept")
            raise self._broken from error
        if self._checkpoint_at == inf or (self._sync_at == inf and not self._sync_each):
            self._plan(self._clock())
        if not self._running and (self._log.size >= self._due.size or self._current.rows >= self._due.rows):
            self.next_upkeep = 0

    def _plan(self, now: float) -> None:
        if self._sync_at == inf and not self._sync_each:
            self._sync_at, self._dirty_since = now + SYNC_SECONDS, now
        if self._checkpoint_at == inf:
            self._checkpoint_at = now + self._due.seconds
        self.next_upkeep = min(self.next_upkeep, self._sync_at, self._checkpoint_at)

    # ------------------------------------------------------------------ what is due by itself

    def upkeep(self) -> None:
        """Look what is synced, and begin or end a checkpoint, as they are due.

        Blocks while the disk stalls: what a power loss may cost must not grow meanwhile.

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
            checkpoint = {"layout": {CHECKPOINT: self._frozen_upto.to_bytes(8, "big")}}
            self._frozen.add(checkpoint)
            self._checkpointer.start(self._frozen.changes)
        except (OSError, StoreError) as error:
            self._failed(error, now)
            return
        self._running, self._checkpoint_at = True, inf
        self._look(now)

    def _freeze(self) -> None:
        self._log.switch()
        self._frozen, self._frozen_upto, self._current = self._current, self._log.last, Overlay()

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
        self._log.checkpointed(self._frozen_upto)
        self._frozen = Overlay()
        self._checkpoint_at = now + self._due.seconds if self._current else inf

    def _failed(self, error: Exception, now: float) -> None:
        # What is in the log is kept: it is written later.
        if self._failure is None:
            logger.warning("a checkpoint has failed, and will be tried again: %s", error)
        self._failure = error if isinstance(error, StoreError) else StoreError(str(error))
        self._checkpoint_at = now + _RETRY_SECONDS

    def make_room(self) -> None:
        """Wait until the overlay can take more.

        Raises:
            StoreError: Checkpoints fail.
        """
        for _ in range(2):  # the one at hand, and one of what was gathered meanwhile
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
        # Where no process is to be had, holding the loop up is better than refusing what it is given.
        self._on_wait()
        try:
            self._base.apply(self._frozen.changes)
        except StoreError as error:
            self._failed(error, now)
            return
        self._on_wait()
        self._written(now)

    def close(self) -> None:
        """Write everything into the store and close it; what could not be written stays in the log."""
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
                last = {"layout": {CHECKPOINT: self._log.last.to_bytes(8, "big")}}
                self._base.apply(together(self._frozen.changes, self._current.changes, last))
        except StoreError as error:
            logger.warning("what the log holds could not be written into the store, and stays in the log: %s", error)
            self._log.sync()
            self._log.close()
            return
        self._log.close()
        self._log.remove()


def _payload(changes: Changes) -> bytes:
    """Return what the log keeps of a batch.

    Raises:
        StoreError: A key does not fit into the store, so that no checkpoint would ever succeed; or there is no memory.
    """
    for table, rows in changes.items():
        for key in rows:
            if not 0 < len(key) <= MAX_KEY_BYTES:
                text = f"the store could not keep a batch: a key of {len(key)} bytes in {table}, where 1 to "
                raise StoreError(f"{text}{MAX_KEY_BYTES} are possible")
    try:
        return codec.pack(changes)
    except MemoryError as error:
        raise StoreError("the store could not keep a batch: there is no memory") from error


def checkpoint_of(base: Store) -> int:
    """Return the sequence of the newest batch that a store holds."""
    row = base.get("layout", CHECKPOINT)
    base.release()
    return 0 if row is None else int.from_bytes(row, "big")
