"""What callers could not write at once, and no caller may be there to write: the courier writes it."""

from __future__ import annotations

import select
import time
from collections import deque
from typing import Final

from .channel import Channel
from .pipes import Pipes

_AGAIN: Final = 0.01
"""Seconds after which a channel is looked at again in which another thread was inside."""


class Pump:
    """The channels with something unwritten.

    Args:
        poll: The courier's poll.
        channels: All channels, by shard.

    Attributes:
        next_look: Monotonic time at which `work` has something to do by itself, or None.
        busy: The shards of channels with something unwritten.
    """

    def __init__(self, poll: select.poll, channels: list[Channel]) -> None:
        self._poll = poll
        self._channels = channels
        self._told: deque[int] = deque()
        self.busy: set[int] = set()
        self.next_look: float | None = None
        self._watched: list[tuple[int, Pipes | None]] = []

    def blocked(self, shard: int) -> None:
        """Note that a channel has something unwritten: one step, by any thread, in the middle of anything."""
        self._told.append(shard)

    def work(self) -> None:
        """Write what fits, and have the poll wait for room for the rest, until `unwatch`."""
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
        """Have the poll wait for nothing of this any more."""
        # The pipes were held on to, so that their numbers are theirs still.
        for descriptor, _ in self._watched:
            self._poll.unregister(descriptor)
        self._watched.clear()
