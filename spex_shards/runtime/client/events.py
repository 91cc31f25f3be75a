"""The pipes by which shards send events: messages, log records and reports that no request asked for."""

from __future__ import annotations

import select
from typing import Any, Protocol

from ..protocol.answers import Event, read_event
from ..protocol.requests import MAX_REPLY_BYTES, ProtocolError
from ..protocol.wire import FrameReader
from ..system.stream import Stream


class Listener(Protocol):
    """Receives the events of shards. None of its methods blocks."""

    @property
    def log_is_full(self) -> bool:
        """Whether to stop reading events for now; the courier is woken when there is room again."""

    def take_event(self, shard: int, pid: int, event: Event) -> None:
        """Receive an event of a shard."""

    def say(self, text: str, event: str, **fields: Any) -> None:
        """Log an error, with the fields of its record (`log_fields`)."""


class EventPipes:
    """The event pipes of all shards, as the courier polls them.

    Args:
        poll: The courier's poll.
        listener: Receives the events, in order per shard.
    """

    def __init__(self, poll: select.poll, listener: Listener) -> None:
        self._poll = poll
        self._listener = listener
        self._pipes: dict[int, tuple[int, int, Stream, FrameReader]] = {}
        self._unread: set[int] = set()

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._pipes

    def add(self, stream: Stream, shard: int, pid: int) -> None:
        """Add the reading end of a shard's pipe, which is closed at its end."""
        self._pipes[stream.fileno()] = (shard, pid, stream, FrameReader(MAX_REPLY_BYTES))
        self._poll.register(stream.fileno(), select.POLLIN)

    def read(self, descriptor: int) -> bool:
        """Read once, unless the log is full; return whether there may be more to read."""
        if self._listener.log_is_full:
            self._poll.unregister(descriptor)
            self._unread.add(descriptor)
            return False
        return self._read(descriptor)

    def read_again(self) -> None:
        """Poll the pipes again that were paused because the log was full, if it no longer is."""
        if self._unread and not self._listener.log_is_full:
            for descriptor in self._unread:
                self._poll.register(descriptor, select.POLLIN)
            self._unread.clear()

    def read_all(self) -> None:
        """Read everything that has arrived; called at the end.

        A shard sends events before the answer that they belong to. So a caller who has an answer has its events too.
        """
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
