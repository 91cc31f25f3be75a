"""The pipe ends of a line in this process, and what could not be written to them yet."""

from __future__ import annotations

import os
import select
import weakref
from contextlib import suppress
from typing import Any, Final

from ..protocol.requests import MAX_REPLY_BYTES
from ..protocol.wire import FrameReader
from ..system.descriptors import lifted
from ..system.stream import Descriptor, Stream

_AT_ONCE: Final = 1 << 20
_CLOSED: Final = Descriptor(-1)
_all: weakref.WeakSet[Pipes] = weakref.WeakSet()


class Pipes:
    """Writes requests to one pipe and reads replies from another, without blocking; waits for both at once.

    A third descriptor wakes whoever waits. Not thread-safe: the turns of its line order the calls, but for `wake` and
    `disable`.

    Descriptors are closed when nobody uses this object any more, and not before: a thread that is in the middle of a
    method when its line is left behind must not find another file under a number that it has read.

    Args:
        requests: The stream to write to.
        replies: The stream to read from.

    Attributes:
        output: What is still to be written to `requests`.

    Raises:
        OSError: No descriptor is to be had; `requests` and `replies` are closed.
    """

    _wake = -1

    def __init__(self, requests: Stream, replies: Stream) -> None:
        self._held: tuple[Stream, ...] = (requests, replies)
        self.output = bytearray()
        self._wake = lifted(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
        self._requests, self._replies = requests, replies
        self._reader = FrameReader(MAX_REPLY_BYTES)
        self._poll = select.poll()
        self._poll.register(replies.fileno(), select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)
        _all.add(self)

    def __del__(self) -> None:
        self.close()

    def disable(self) -> None:
        """Have nothing written or read any more, whoever is in the middle of what; and wake whoever waits."""
        self._requests = self._replies = _CLOSED
        self.wake()

    def write(self, data: bytes) -> None:
        """Write data, or keep what does not fit.

        Raises:
            OSError: The shard's end is closed.
        """
        if self.output:
            self.output += data
            return
        written = self._requests.write(data)
        if written < len(data):
            self.output += data[written:]

    def write_output(self) -> None:
        """Write as much of what was kept as the pipe takes; as `write`."""
        if self.output:
            written = self._requests.write(bytes(memoryview(self.output)[:_AT_ONCE]))
            del self.output[:written]

    def to_poll(self, *, replies: bool) -> list[tuple[int, int]]:
        """Return what another poll must ask for until the output is written: (descriptor, events)."""
        wanted = [(self._requests.fileno(), select.POLLOUT)]
        return [*wanted, (self._replies.fileno(), select.POLLIN)] if replies else wanted

    def wait(self, milliseconds: float) -> tuple[bool, bool]:
        """Wait until there is something to read, room to write what was kept, or `wake`; return (read, write)."""
        requests = self._requests.fileno() if self.output else -1
        try:
            if requests >= 0:
                self._poll.register(requests, select.POLLOUT)
            ready = self._poll.poll(max(0, milliseconds))
        finally:
            if requests >= 0:
                with suppress(KeyError):
                    self._poll.unregister(requests)
        readable = writable = False
        for descriptor, _ in ready:
            if descriptor == self._wake:
                os.eventfd_read(self._wake)
            elif descriptor == requests:
                writable = True
            else:
                readable = True
        return readable, writable

    def read(self) -> list[Any]:
        """Return the frames that are there.

        Raises:
            EOFError: The shard's end is closed.
            OSError: It cannot be read.
            ProtocolError: They make no sense.
        """
        data = self._replies.read()
        if data:
            return self._reader.feed(data)
        if data is None:
            return []
        raise EOFError

    def wake(self) -> None:
        """Wake whoever waits."""
        if self._wake >= 0:
            with suppress(OSError, ValueError):  # it was closed in between, in a call that interrupts this one
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Close everything, when nobody can be in the middle of a method."""
        self._requests = self._replies = _CLOSED
        held, self._held = self._held, ()
        for stream in held:
            stream.close()
        wake, self._wake = self._wake, -1
        if wake >= 0:
            os.close(wake)


def close_inherited() -> None:
    """In a forked child: close the copies of all ends, also of those that a thread of the parent's was using."""
    for pipes in list(_all):
        pipes.close()
