"""Syncs a log to the disk in time, even while the loop that writes it is busy: a port, and the thread that does it."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Final, Protocol

from ..system.threads import Helper

SYNC_SECONDS: Final = 0.5
"""If batches are not synced one by one, a sync begins this many seconds after the first batch that needs it."""


class Syncable(Protocol):
    """A file that can be synced."""

    def sync(self) -> None:
        """Return when everything written is on the disk.

        Raises:
            OSError: It is not known which writes are on the disk.
        """


class Syncer(Protocol):
    """Syncs files in time, without its caller waiting.

    Attributes:
        done: Everything up to this sequence is on the disk.
        begun: When the sync began that led to `done`: batches that are not synced were written after that.
        failure: Why a sync failed; no other follows then. None: none has failed.
    """

    done: int
    begun: float
    failure: OSError | None

    def want(self, files: Sequence[Syncable], upto: int) -> None:
        """Sync these files in time: everything up to the sequence `upto` is written to them. Never blocks."""

    def hurry(self) -> None:
        """Begin the next sync at once, not after `SYNC_SECONDS`."""

    def poll(self) -> None:
        """Update `done`, `begun` and `failure`."""

    def wait(self, seconds: float) -> None:
        """Wait until a sync has ended, for at most `seconds`."""

    def close(self) -> None:
        """Stop syncing; returns after a sync that is being made has ended."""

    def abandon(self) -> None:
        """Stop syncing, without waiting: another object uses the files from now on."""


class SyncThread:
    """A thread that syncs files. It is started at once, because later, when it is needed, starting it could fail.

    A forked process does not have the thread, and must not write the log.

    Raises:
        OSError: The thread could not be started.
    """

    # Guarantees:
    #
    # * Files passed to `want` are part of a sync that begins within SYNC_SECONDS, or of the sync after the present one.
    # * Files and sequence are passed in one tuple. Were they two attributes, the thread could sync the old files, and
    #   report the new sequence as done.
    # * The thread sets `_idle` before it looks at `_wanted` for the last time, and `want` sets `_wanted` before it
    #   reads `_idle`. So one of them sees the other's step. In another order the thread could sleep while work waits.
    # * `want` may be cut off at any step, or called by a signal handler in the middle of itself. So the waking is a
    #   single call into C, which does not wait for a lock that the interrupted call may hold.

    def __init__(self) -> None:
        self.done = 0
        self.begun = 0.0
        self.failure: OSError | None = None
        self._wanted: tuple[Sequence[Syncable], int] = (), 0
        self._idle = False
        self._closing = False
        self._work: SimpleQueue[None] = SimpleQueue()
        self._at_once, self._ended = threading.Event(), threading.Event()
        self._thread = Helper(self._run, "spex-shards-sync")
        try:
            self._thread.start()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, str(error)) from error

    def want(self, files: Sequence[Syncable], upto: int) -> None:
        """Sync these files in time; see `Syncer.want`."""
        self._wanted = files, upto
        if self._idle:
            self._idle = False
            self._work.put(None)

    def hurry(self) -> None:
        """Begin the next sync at once."""
        self._at_once.set()

    def poll(self) -> None:
        """Do nothing: the thread updates the attributes."""

    def wait(self, seconds: float) -> None:
        """Wait until a sync has ended, for at most `seconds`."""
        self._ended.clear()
        if self.done < self._wanted[1] and self.failure is None:
            self._ended.wait(seconds)

    def close(self) -> None:
        """End the thread; returns when it has ended."""
        self.abandon()
        self._thread.wait()

    def abandon(self) -> None:
        """Tell the thread to end, without waiting for it."""
        self._closing = True
        self._work.put(None)
        self._at_once.set()

    def _run(self) -> None:
        while not self._closing:
            self._idle = True
            if self._wanted[1] <= self.done:
                self._work.get()
            self._idle = False
            if self._wanted[1] > self.done:
                self._at_once.wait(SYNC_SECONDS)
                self._at_once.clear()
                if self._closing or not self._sync():
                    return

    def _sync(self) -> bool:
        files, upto = self._wanted
        begun = time.monotonic()
        try:
            for file in files:
                file.sync()
        except Exception as error:
            self.failure = error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}")
        else:
            self.begun, self.done = begun, upto
        self._ended.set()
        return self.failure is None
