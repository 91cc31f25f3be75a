"""Writes checkpoints: the changes in a log go into the store under it, by a helper process or by the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from ...errors import StoreError
from ..system.helper_process import HelperFailed, HelperProcess
from .keys import u64
from .lmdb_store import LmdbStore
from .port import Changes, Store
from .recovery import Checkpoint

CHECKPOINT: Final = b"checkpoint"
"""The key, in the base store's table `layout`, of the sequence of the newest batch that the base store holds."""
FIRST_EPOCH: Final = b"checkpoint epoch"
"""The key, in the same table, of the lowest epoch of a log file that can have later batches."""


class NoHelper(StoreError):
    """No helper process could be forked to write a checkpoint."""


class Checkpointer(Protocol):
    """Writes changes into a store, in one synced transaction."""

    def start(self, changes: Changes) -> None:
        """Begin to write. The changes must stay as they are until it has ended.

        Raises:
            StoreError: The checkpoint cannot be started.
        """

    def ended(self, wait: float = 0) -> bool:
        """Return whether everything is written, after waiting up to `wait` seconds for it.

        Raises:
            StoreError: Writing failed; nothing was written.
        """


class DirectCheckpoint:
    """Writes in the calling thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def start(self, changes: Changes) -> None:
        """Write the changes before returning."""
        self._store.apply(changes)

    def ended(self, wait: float = 0) -> bool:  # noqa: ARG002 - it has ended before this is asked
        """Return True: `start` has written everything."""
        return True


class ForkedCheckpoint:
    """Writes in a helper process, so that the worker's loop continues meanwhile.

    Args:
        store: The store, open in this process; the helper opens the environment again.
        keep: Descriptors that the helper does not close (the lock of the data directory).
    """

    def __init__(self, store: LmdbStore, keep: Iterable[int] = ()) -> None:
        self._store = store
        self._helper = HelperProcess(keep)

    def start(self, changes: Changes) -> None:
        """Fork a helper process that writes the changes.

        Raises:
            NoHelper: It could not be forked.
        """
        # No reading view may be open across the fork. When the child closes the inherited environment, it frees the
        # view's entry in the table of readers; the helper would then reuse pages that the view still reads.
        self._store.release()

        def write(close_inherited: Callable[[], None]) -> str:
            self._store.let_go()
            close_inherited()
            store = LmdbStore(self._store.path, sync=True)
            store.apply(changes)
            store.close()
            return ""

        try:
            self._helper.start(write)
        except OSError as error:
            raise NoHelper(f"a checkpoint could not be begun: {error}") from error

    def ended(self, wait: float = 0) -> bool:
        """Return whether the helper process has written everything; see `Checkpointer.ended`."""
        try:
            return self._helper.ended(wait) is not None
        except HelperFailed as error:
            raise StoreError(f"a checkpoint could not be written: {error}") from error


def together(*changes: Changes) -> dict[str, dict[bytes, Any]]:
    """Return the union of several changes; for a key that several change, the last one counts."""
    united: dict[str, dict[bytes, Any]] = {}
    for one in changes:
        for table, rows in one.items():
            united.setdefault(table, {}).update(rows)
    return united


def rows_of(checkpoint: Checkpoint) -> dict[str, dict[bytes, bytes]]:
    """Return the changes by which a base store names the checkpoint that it holds."""
    return {"layout": {CHECKPOINT: u64(checkpoint.sequence), FIRST_EPOCH: u64(checkpoint.epoch)}}


def checkpoint_of(base: Store) -> Checkpoint:
    """Return the checkpoint that a base store holds; its sequence is 0 if there was none."""
    sequence, epoch = base.get("layout", CHECKPOINT) or b"", base.get("layout", FIRST_EPOCH) or b""
    base.release()
    return Checkpoint(int.from_bytes(sequence, "big"), int.from_bytes(epoch, "big"))
