"""The threads that ask the directory and open connections: both may block, and the introducer must not."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from ...errors import SpexError
from ..system.queues import taken_from
from ..system.threads import Helper
from .address import Address
from .connecting import Access, Joined, join, text_of
from .directory import Directory
from .handshake import Refusal

_MOST: Final = 8
"""The most threads: a machine that is gone holds each of them up until its connection times out."""


class Joiners:
    """Opens connections to shards. Its threads live only while there is something to open.

    Args:
        directory: Says where shards are.
        access: How this process is let in.
        wake: Called when there is something to take; never blocks.

    Attributes:
        refused: Whether the last gate that was reached has refused this process.
    """

    def __init__(self, directory: Directory, access: Access, wake: Callable[[], None]) -> None:
        self._directory = directory
        self._access = access
        self._wake = wake
        self._asked: deque[int] = deque()
        self._done: deque[tuple[int, Joined | None, str]] = deque()
        self._threads: list[Helper] = []
        self._stopped = False
        self.refused = False
        self._counting = threading.Lock()
        self._working = 0

    def join(self, shard: int) -> None:
        """Have the connections to a shard opened; `taken` has them later. For the introducer's thread.

        Raises:
            RuntimeError: The system gives no thread.
        """
        self._asked.append(shard)
        with self._counting:
            if self._working >= _MOST:
                return
            self._working += 1
        try:
            thread = Helper(self._work, "spex-shards-joiner")
            thread.start()
        except RuntimeError:
            with self._counting:
                self._working -= 1
            if not self._working:
                self._asked.clear()
                raise

    def taken(self) -> Iterator[tuple[int, Joined | None, str]]:
        """Iterate over what was done: the shard, and its connections, or None and why there are none."""
        return taken_from(self._done)

    @property
    def is_stopped(self) -> bool:
        """Whether nobody takes what is opened any more."""
        return self._stopped

    def stop(self) -> None:
        """Open nothing more, and close what nobody takes any more."""
        self._stopped = True
        self._close_done()

    def forget(self) -> None:
        """In a forked child: close what was opened; the threads are the parent's."""
        self._stopped = True
        self._close_done()

    def _close_done(self) -> None:
        for _, joined, _ in taken_from(self._done):
            if joined is not None:
                joined.close()

    def _work(self) -> None:
        while True:
            with self._counting:
                if not self._asked or self._stopped:
                    self._working -= 1
                    return
                shard = self._asked.popleft()
            self._done.append((shard, *self._joined(shard)))
            if self.is_stopped:
                self._close_done()
            self._wake()

    def _joined(self, shard: int) -> tuple[Joined | None, str]:
        address: Address | None = None
        try:
            address = self._directory.find(shard)
            if address is None:
                return None, f"no process has shard {shard} now"
            joined = join(address, self._access, shard)
        except (OSError, EOFError, ValueError, Refusal, SpexError) as error:
            self.refused = isinstance(error, Refusal) and "token" in str(error)
            return None, text_of(error, address)
        self.refused = False
        return joined, ""
