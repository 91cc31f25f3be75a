"""A peer: a client as its shard knows it, with its session, its three streams, and its unfinished input and output."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from ..protocol.answers import NOT_ANSWERED, Answer, Event
from ..protocol.operations import Operations
from ..protocol.requests import Request, read_request
from ..protocol.session import ServerSession, frame
from ..protocol.wire import FrameReader, success
from ..system.stream import Stream


class Peer:
    """One attached client.

    Args:
        client_id: 16 bytes that no other client has.
        pid: The client's process.
        owner: Whether that process owns the supervisor.
        session: The client's session.
        streams: The streams for requests, replies and events.
        limit: Most bytes of one frame.
        operations: The operations that the client can request.

    Attributes:
        queue: The requests that were read and not taken yet.
        replies: Replies that are not written yet.
        events: Events that are not written yet.
        stalled: Its pipe is full; it is not read until it has read its output.
        parked: Its next request waits for deferred work; it is not read meanwhile.
        closed: Whether its streams are closed.
    """

    def __init__(
        self,
        client_id: bytes,
        pid: int,
        owner: bool,
        session: ServerSession,
        streams: Sequence[Stream],
        limit: int,
        operations: Operations,
    ) -> None:
        self.client_id = client_id
        self.client_hex = client_id.hex()
        self.pid = pid
        self.owner = owner
        self.session = session
        self._streams = streams
        self.requests_fd, self.replies_fd, self.events_fd = (stream.fileno() for stream in streams)
        self._read = streams[0].read
        self.queue: deque[Request] = deque()
        self.replies = bytearray()
        self.events = bytearray()
        self.stalled = False
        self.parked = False
        self.closed = False
        self.bytes_in = 0
        self.bytes_out = 0
        self._limit = limit
        self._operations = operations
        self._reader = FrameReader(limit)

    def read(self) -> bool:
        """Read once from the request pipe into the queue, without blocking; return False at the end of the stream.

        Raises:
            ProtocolError: The bytes are not a sequence of requests.
        """
        data = self._read()
        if data is None:
            return True
        self.bytes_in += len(data)
        for plain in self._reader.feed(data):
            self.queue.append(read_request(plain, self._operations))
        return bool(data)

    def drop_unread(self) -> None:
        """Drop the queue and a frame that was received in part, to free their memory. The peer is not read again."""
        self.queue.clear()
        self._reader = FrameReader(self._limit)

    def event(self, kind: int, payload: Any) -> Event:
        """Return a new event with the client's next event number."""
        self.session.events += 1
        return Event(self.session.events, kind, payload)

    def reply(self, upto: int, answers: Sequence[Answer]) -> None:
        """Buffer a reply, and the events of its answers before it.

        Args:
            upto: All requests up to this number are answered.
            answers: The answers that are more than plain success.
        """
        for answer in answers:
            for event in answer.events:
                self.events += frame(event)
        self.replies += frame((upto, [answer[:4] for answer in answers])) if answers else success(upto)

    def refuse(self, error: list[Any]) -> None:
        """Buffer the error because of which this channel is closed, in place of a reply."""
        self.replies += frame((NOT_ANSWERED, [[NOT_ANSWERED, False, error, []]]))

    def flush(self) -> bool:
        """Write as much of the buffered output as the pipes take; return False if the client is gone.

        Replies are written only after all events. So a client that has an answer can read the events that belong to
        it; otherwise a message could arrive after the call that sent it has returned.
        """
        _, replies, events = self._streams
        try:
            if self.events:
                self._write(events, self.events)
            if self.replies and not self.events:
                self._write(replies, self.replies)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the worker's ends of the pipes."""
        if not self.closed:
            self.closed = True
            for stream in self._streams:
                stream.close()

    def _write(self, stream: Stream, data: bytearray) -> None:
        written = stream.write(data)
        self.bytes_out += written
        if written == len(data):
            data.clear()
        else:
            del data[:written]
