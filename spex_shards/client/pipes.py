"""The pipe ends of a channel in this process, and what could not be written to them yet."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import Any, Final

from ..protocol import MAX_REPLY_BYTES
from ..wire import FrameReader, read_available, write_available

_AT_ONCE: Final = 1 << 20


class Pipes:
    """Writes requests to one pipe and reads replies from another, without blocking; waits for both at once.

    A third descriptor wakes whoever waits. Not thread-safe: the channel's lock and its leader order the calls.
    """

    def __init__(self) -> None:
        self.output = bytearray()
        self._requests = self._replies = -1
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._reader = FrameReader(MAX_REPLY_BYTES)
        self._poll = select.poll()

    @property
    def are_free(self) -> bool:
        """Whether there are ends, and nothing waits to be written to them."""
        return self._requests >= 0 and not self.output

    def install(self, requests: int, replies: int) -> None:
        """Take new ends; the old ones are closed, and what waited to be written to them is dropped."""
        self.close_ends()
        self.output.clear()
        self._requests, self._replies = requests, replies
        self._reader = FrameReader(MAX_REPLY_BYTES)
        self._poll = select.poll()
        self._poll.register(replies, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)

    def write(self, data: bytes) -> None:
        """Write data, or keep what does not fit.

        Raises:
            OSError: The shard's end is closed.
        """
        if self.output:
            self.output += data
            return
        written = write_available(self._requests, data)
        if written < len(data):
            self.output += data[written:]

    def write_output(self) -> None:
        """Write of what was kept what fits by now; as `write`."""
        if self.output:
            written = write_available(self._requests, bytes(memoryview(self.output)[:_AT_ONCE]))
            del self.output[:written]

    def to_poll(self, *, replies: bool) -> list[tuple[int, int]]:
        """Return what another poll must ask for until the output is written: (descriptor, events)."""
        wanted = [(self._requests, select.POLLOUT)]
        return [*wanted, (self._replies, select.POLLIN)] if replies else wanted

    def wait(self, milliseconds: float) -> tuple[bool, bool]:
        """Wait until there is something to read, room to write what was kept, or `wake`; return (read, write)."""
        if not self.output:
            return self._waited(milliseconds)
        try:
            self._poll.register(self._requests, select.POLLOUT)
            return self._waited(milliseconds)
        finally:
            with suppress(KeyError):
                self._poll.unregister(self._requests)

    def _waited(self, milliseconds: float) -> tuple[bool, bool]:
        readable = writable = False
        for descriptor, _ in self._poll.poll(max(0, milliseconds)):
            if descriptor == self._replies:
                readable = True
            elif descriptor == self._wake:
                os.eventfd_read(self._wake)
            else:
                writable = True
        return readable, writable

    def read(self) -> list[Any]:
        """Return the frames that are there.

        Raises:
            EOFError: The shard's end is closed.
            ProtocolError: They make no sense.
        """
        data = read_available(self._replies)
        if data is None:
            return []
        if not data:
            raise EOFError
        return self._reader.feed(data)

    def wake(self) -> None:
        """Wake whoever waits."""
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def close_ends(self) -> None:
        """Close the pipes."""
        for descriptor in (self._requests, self._replies):
            if descriptor >= 0:
                os.close(descriptor)
        self._requests = self._replies = -1

    def close(self) -> None:
        """Close everything."""
        self.close_ends()
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1
