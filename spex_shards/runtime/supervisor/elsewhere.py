"""Reads the stores of a data directory or database in helper processes, before any worker is started."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from ..protocol.requests import MAX_REPLY_BYTES
from ..protocol.session import frame
from ..protocol.wire import receive_frame
from ..store import Batch
from ..store.opening import read_stores
from ..store.port import Stores
from .process import Forker, WorkerProcess

_FORK_WITHIN: Final = 3.0
_STEP: Final = 0.05


def read_elsewhere(forker: Forker, stores: Stores, shards: Iterable[int], read: Callable[[Batch], Any]) -> list[Any]:
    """Return the plain results of calling `read` with the batch of each existing store.

    Helper processes do the reading: an LMDB environment must not be open in a process that forks workers. A damaged
    page may crash the process that reads it. Then each store is read in a process of its own, and the damaged store is
    left out; its own shard reports the damage when it starts.

    Raises:
        OSError: The system gives no process.
    """
    there = [shard for shard in shards if stores.exists(shard)]
    if not there:
        return []
    try:
        return _read(forker, stores, there, read)
    except EOFError:
        found: list[Any] = []
    for shard in there:
        with suppress(EOFError):
            found += _read(forker, stores, [shard], read)
    return found


def _fork(forker: Forker, work: Callable[[socket.socket], int], theirs: socket.socket) -> WorkerProcess:
    """Fork a process that reads, trying again for 3 seconds if the system gives none.

    Raises:
        OSError: The system gives no process.
    """
    deadline = time.monotonic() + _FORK_WITHIN
    with theirs:
        while True:
            try:
                return forker.fork(work, theirs.fileno())
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_STEP)


def _read(forker: Forker, stores: Stores, shards: list[int], read: Callable[[Batch], Any]) -> list[Any]:
    """Read some stores in one helper process.

    Raises:
        EOFError: The process died.
    """

    def work(_control: socket.socket) -> int:
        theirs.sendall(frame(read_stores(stores, shards, read)))
        return 0

    ours, theirs = socket.socketpair()
    helper = _fork(forker, work, theirs)
    try:
        return receive_frame(ours, MAX_REPLY_BYTES)  # type: ignore[no-any-return]
    finally:
        ours.close()
        with suppress(ChildProcessError):
            os.waitpid(helper.pid, 0)
        helper.close()
