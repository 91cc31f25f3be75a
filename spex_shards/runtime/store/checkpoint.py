"""Writing what a log holds into the store under it: in a helper process, or at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from ...errors import StoreError
from ..system.helper_process import HelperFailed, HelperProcess
from .lmdb_store import LmdbStore
from .port import Changes, Store


class NoHelper(StoreError):
    """No process is to be had that would write a checkpoint."""


class Checkpointer(Protocol):
    """Puts changes into a store, in one synced transaction."""

    def start(self, changes: Changes) -> None:
        """Begin.

        Raises:
            StoreError: It cannot be done now.
        """

    def ended(self, wait: float = 0) -> bool:
        """Whether what was begun has ended well, looking for up to `wait` seconds.

        Raises:
            StoreError: It has failed; nothing was written.
        """


class DirectCheckpoint:
    """Writes in the calling thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def start(self, changes: Changes) -> None:
        """Write."""
        self._store.apply(changes)

    def ended(self, wait: float = 0) -> bool:  # noqa: ARG002 - it has ended before this is asked
        """Return True."""
        return True


class ForkedCheckpoint:
    """Writes in a helper process, so that the loop goes on meanwhile.

    Args:
        store: The store that is open here; the helper opens the environment anew.
        keep: Descriptors that the helper keeps (the lock).
    """

    def __init__(self, store: LmdbStore, keep: Iterable[int] = ()) -> None:
        self._store = store
        self._helper = HelperProcess(keep)

    def start(self, changes: Changes) -> None:
        """Fork the helper."""
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
        """Whether the helper has ended."""
        try:
            return self._helper.ended(wait) is not None
        except HelperFailed as error:
            raise StoreError(f"a checkpoint could not be written: {error}") from error


def together(*changes: Changes) -> dict[str, dict[bytes, Any]]:
    """Return changes put over one another, the last uppermost."""
    united: dict[str, dict[bytes, Any]] = {}
    for one in changes:
        for table, rows in one.items():
            united.setdefault(table, {}).update(rows)
    return united
