"""Who has a log on the disk in time, whatever the loop that writes it is busy with: a port, and its thread."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Final, Protocol

from ..system.threads import Helper

SYNC_SECONDS: Final = 0.5
"""Where batches are not synced one by one, a sync begins so long after the first of them."""


class Syncable(Protocol):
    """What can be synced."""

    def sync(self) -> None:
        """Have everything written on the disk.

        Raises:
            OSError: Nothing is known about what is there.
        """


class Syncer(Protocol):
    """Syncs what it is told of, by itself.

    Attributes:
        done: Everything up to this sequence is on the disk.
        begun: When the sync that got as far as `done` began: what is not synced was written later.
        failure: Why a sync failed; then none follows.
    """

    done: int
    begun: float
    failure: OSError | None

    def want(self, files: Sequence[Syncable], upto: int) -> None:
        """Everything up to the sequence `upto` is written to these files: sync them in time. Never blocks."""

    def hurry(self) -> None:
        """Begin at once."""

    def poll(self) -> None:
        """Bring `done` up to date."""

    def wait(self, seconds: float) -> None:
        """Wait until a sync has ended, at most so long."""

    def close(self) -> None:
        """End, once a sync that is under way has ended."""

    def abandon(self) -> None:
        """End, and wait for nothing: the files are another's now."""


class SyncThread:
    """A thread that is there from the start: when it is needed, none may be to be had.

    A process that is forked off does not have it, and must not write the log.

    Raises:
        OSError: No thread is to be had.
    """

    # Guarantees:
    #
    # * What is told by `want` is in a sync that begins within SYNC_SECONDS, or in the one after the one under way.
    # * One tuple carries files and sequence, so that the thread never sees one without the other.
    # * `want` wakes the thread only where that has said that it is idle; it says so before it looks once more.
    # * `want` may be cut off, or called in the middle of itself by a signal handler: what wakes is one step in C.

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
        """Have these files synced in time."""
        self._wanted = files, upto
        if self._idle:
            self._idle = False
            self._work.put(None)

    def hurry(self) -> None:
        """Begin at once."""
        self._at_once.set()

    def poll(self) -> None:
        """Do nothing: the thread keeps `done` up to date."""

    def wait(self, seconds: float) -> None:
        """Wait until a sync has ended."""
        self._ended.clear()
        if self.done < self._wanted[1] and self.failure is None:
            self._ended.wait(seconds)

    def close(self) -> None:
        """End the thread."""
        self.abandon()
        self._thread.wait()

    def abandon(self) -> None:
        """Have the thread end, and wait for nothing."""
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
