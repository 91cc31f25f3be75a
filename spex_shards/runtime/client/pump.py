"""Writes, on the courier's thread, the requests that callers could not write because a pipe was full."""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from .channel import Channel
from .pipes import Pipes

_AGAIN: Final = 0.01
"""Seconds before the next attempt at a channel that another thread was using."""


class Pump:
    """The channels that have unwritten requests.

    Args:
        poll: The courier's poll.
        channels: All channels, by shard.

    Attributes:
        next_look: Monotonic time at which `work` must be called again even if nothing is ready, or None.
        busy: The shards whose channels have unwritten requests.
    """

    def __init__(self, poll: select.poll, channels: Sequence[Channel]) -> None:
        self._poll = poll
        self._channels = channels
        self._told: deque[int] = deque()
        self.busy: set[int] = set()
        self.next_look: float | None = None
        self._watched: list[tuple[int, Pipes | None]] = []

    def blocked(self, shard: int) -> None:
        """Note that a channel has unwritten requests. It is a single step, so any thread may call it at any moment."""
        self._told.append(shard)

    def work(self) -> None:
        """Write as much as the pipes take, and register the full ones with the poll until `unwatch`."""
        self.next_look = None
        while self._told:
            self.busy.add(self._told.popleft())
        for shard in list(self.busy):
            wanted = self._channels[shard].pump()
            if wanted is None:
                self.next_look = time.monotonic() + _AGAIN
                continue
            if not wanted.descriptors:
                self.busy.discard(shard)
            for descriptor, events in wanted.descriptors:
                if descriptor >= 0:
                    self._poll.register(descriptor, events)
                    self._watched.append((descriptor, wanted.pipes))

    def unwatch(self) -> None:
        """Unregister all pipes from the poll."""
        # The list keeps the pipes open, so that their descriptor numbers cannot belong to other files yet.
        for descriptor, _ in self._watched:
            self._poll.unregister(descriptor)
        self._watched.clear()
