"""The pipes by which shards send what nobody asked for: messages, log records, reports."""

from __future__ import annotations

import select
from typing import Protocol

from ..protocol.answers import Event, read_event
from ..protocol.requests import MAX_REPLY_BYTES, ProtocolError
from ..protocol.wire import FrameReader
from ..system.stream import Stream


class Listener(Protocol):
    """Who takes what shards send unasked. Nothing of it blocks."""

    @property
    def log_is_full(self) -> bool:
        """Whether no more events are to be read for now; the courier is woken when they are."""

    def take_event(self, shard: int, pid: int, event: Event) -> None:
        """Take an event of a shard."""

    def say(self, text: str) -> None:
        """Have an error logged."""


class EventPipes:
    """The event pipes of all shards, as the courier polls them.

    Args:
        poll: The courier's poll.
        listener: Takes events, in order per shard.
    """

    def __init__(self, poll: select.poll, listener: Listener) -> None:
        self._poll = poll
        self._listener = listener
        self._pipes: dict[int, tuple[int, int, Stream, FrameReader]] = {}
        self._unread: set[int] = set()

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._pipes

    def add(self, stream: Stream, shard: int, pid: int) -> None:
        """Take the reading end of a shard's pipe."""
        self._pipes[stream.fileno()] = (shard, pid, stream, FrameReader(MAX_REPLY_BYTES))
        self._poll.register(stream.fileno(), select.POLLIN)

    def read(self, descriptor: int) -> bool:
        """Read once, unless the log is full; return whether there may be more."""
        if self._listener.log_is_full:
            self._poll.unregister(descriptor)
            self._unread.add(descriptor)
            return False
        return self._read(descriptor)

    def read_again(self) -> None:
        """Poll those again that were left alone because the log was full, if it is not."""
        if self._unread and not self._listener.log_is_full:
            for descriptor in self._unread:
                self._poll.register(descriptor, select.POLLIN)
            self._unread.clear()

    def read_all(self) -> None:
        """Read everything that has arrived, at the end: whoever has an answer has the events that left before it."""
        for descriptor in list(self._pipes):
            while self._read(descriptor):
                pass

    def close(self) -> None:
        """Close all pipes."""
        while self._pipes:
            self._pipes.popitem()[1][2].close()

    def _read(self, descriptor: int) -> bool:
        shard, pid, stream, reader = self._pipes[descriptor]
        try:
            data = stream.read()
            for event in reader.feed(data) if data else ():
                self._listener.take_event(shard, pid, read_event(event))
        except (ProtocolError, OSError, ValueError, TypeError):
            data = b""
        if data == b"":
            if descriptor not in self._unread:
                self._poll.unregister(descriptor)
            self._unread.discard(descriptor)
            del self._pipes[descriptor]
            stream.close()
        return bool(data)
