"""Writing what a log holds into the store under it: in a helper process, or at once."""

from __future__ import annotations

import gc
import os
import select
import sys
import warnings
from collections.abc import Iterable
from typing import Any, Final, Protocol

from ..errors import StoreError
from ..forking import close_all_but, die_with, prepare
from .lmdb_store import LmdbStore
from .port import Changes, Store

_MOST_WORDS: Final = 2000


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
    """Writes in a forked child, so that the loop goes on meanwhile.

    The child sees the changes as they were when it was forked, opens the environment anew, and is killed with its
    parent. It shares the parent's lock on the data directory: nobody takes the directory before it is gone.

    Args:
        store: The store that is open here.
        keep: Descriptors that the child keeps (the lock).
    """

    def __init__(self, store: LmdbStore, keep: Iterable[int] = ()) -> None:
        self._store = store
        self._keep = {0, 1, 2, *keep} - {-1}
        self._pid = 0
        self._words = -1
        prepare()

    def start(self, changes: Changes) -> None:
        """Fork the child."""
        self._store.release()
        parent = os.getpid()
        try:
            self._words, theirs = os.pipe2(os.O_CLOEXEC)
            with warnings.catch_warnings():
                # A handler of the user's may have started threads; the child touches nothing of theirs.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._pid = os.fork()
        except OSError as error:
            raise StoreError(f"a checkpoint could not be begun: {error}") from error
        if self._pid == 0:
            self._child(parent, theirs, changes)
        os.close(theirs)

    def ended(self, wait: float = 0) -> bool:
        """Whether the child has ended."""
        if wait:
            poll = select.poll()  # select ends at descriptor 1023
            poll.register(self._words, select.POLLIN)
            poll.poll(wait * 1000)
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if not pid:
            return False
        words = os.read(self._words, _MOST_WORDS).decode(errors="replace")
        os.close(self._words)
        self._words = -1
        if status:
            how = words or f"its process ended with {os.waitstatus_to_exitcode(status)}"
            raise StoreError(f"a checkpoint could not be written: {how}")
        return True

    def _child(self, parent: int, theirs: int, changes: Changes) -> None:
        code = 1
        try:
            gc.disable()
            if die_with(parent):
                self._store.let_go()
                close_all_but({*self._keep, theirs})
                store = LmdbStore(self._store.path, sync=True)
                store.apply(changes)
                store.close()
                code = 0
        except BaseException as error:
            os.write(theirs, str(error).encode(errors="replace")[:_MOST_WORDS])
        finally:
            sys.stderr.flush()
            os._exit(code)


def together(*changes: Changes) -> dict[str, dict[bytes, Any]]:
    """Return changes put over one another, the last uppermost."""
    united: dict[str, dict[bytes, Any]] = {}
    for one in changes:
        for table, rows in one.items():
            united.setdefault(table, {}).update(rows)
    return united
