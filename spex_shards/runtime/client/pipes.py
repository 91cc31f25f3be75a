"""The pipes of a line, this process's ends of them, and the output that they have not taken yet."""

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

    A third descriptor ends the wait of a thread. Only `wake` and `disable` may be called by any thread; for all other
    methods the caller holds a turn of the line.

    Args:
        requests: The stream to write to.
        replies: The stream to read from.

    Attributes:
        output: The bytes that are not written yet.

    Raises:
        OSError: There is no descriptor left; `requests` and `replies` are closed.
    """

    # Guarantees:
    #
    # * The descriptors are closed only when no thread refers to this object any more. When a line is abandoned, a
    #   thread may be in the middle of a method, and have read a descriptor's number. If the descriptor were closed
    #   then, the number could belong to another file by the time the thread writes, and that file would be damaged.
    # * After `disable`, no method begins to write or read: each gets `_requests` or `_replies` once, and then finds a
    #   closed stream there.

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
        """Make later writes and reads fail, and wake the thread that waits. Any thread may call this at any moment."""
        self._requests = self._replies = _CLOSED
        self.wake()

    def write(self, data: bytes) -> None:
        """Write data; what the pipe does not take is added to `output`.

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
        """Write as much of `output` as the pipe takes.

        Raises:
            OSError: The shard's end is closed.
        """
        if self.output:
            written = self._requests.write(bytes(memoryview(self.output)[:_AT_ONCE]))
            del self.output[:written]

    def to_poll(self, *, replies: bool) -> list[tuple[int, int]]:
        """Return the descriptors and events to poll for, until the output is written, or (`replies`) replies come."""
        wanted = [(self._requests.fileno(), select.POLLOUT)]
        return [*wanted, (self._replies.fileno(), select.POLLIN)] if replies else wanted

    def wait(self, milliseconds: float) -> tuple[bool, bool]:
        """Wait until there are replies, or room for the output, or until `wake`.

        Returns:
            Whether there are replies, and whether there is room for the output.
        """
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

    def has_replies(self) -> bool:
        """Return whether there are replies, or the shard's end is closed, or `wake` was called."""
        return bool(self._poll.poll(0))

    def read(self) -> list[Any]:
        """Return the replies that have arrived, without waiting.

        Raises:
            EOFError: The shard's end is closed.
            OSError: The pipe cannot be read.
            ProtocolError: The bytes are not frames.
        """
        data = self._replies.read()
        if data:
            return self._reader.feed(data)
        if data is None:
            return []
        raise EOFError

    def wake(self) -> None:
        """End the wait of the thread that is in `wait`, or else the next wait."""
        if self._wake >= 0:
            with suppress(OSError, ValueError):  # it was closed in between, in a call that interrupts this one
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Close all descriptors. No thread may be in the middle of a method."""
        self._requests = self._replies = _CLOSED
        held, self._held = self._held, ()
        for stream in held:
            stream.close()
        wake, self._wake = self._wake, -1
        if wake >= 0:
            os.close(wake)


def close_inherited() -> None:
    """Close the copies of all pipes in a forked child, also of those that a thread of the parent was using."""
    for pipes in list(_all):
        pipes.close()
