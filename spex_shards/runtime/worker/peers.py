"""A client as its shard sees it: its session, its three pipe ends, and what waits to be read or written."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from ..protocol.answers import NOT_ANSWERED, Answer, Event
from ..protocol.operations import Operations
from ..protocol.requests import Request, read_request
from ..protocol.session import ServerSession, frame, frame_flat
from ..protocol.wire import FrameReader
from ..system.stream import Stream


class Peer:
    """One attached client.

    Attributes:
        stalled: It has something to read first; it is not read meanwhile.
        parked: Its next request waits for a check; it is not read meanwhile.

    Args:
        client_id: 16 bytes that no other client has.
        pid: Its process.
        owner: Whether it is the process that the supervisor belongs to.
        session: What was agreed with it so far.
        streams: To read requests from, to write replies to, to write events to.
        limit: Most bytes of one frame.
        operations: What it can ask for.
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
        """Read once what is there into the queue; return False when the client is gone.

        Raises:
            ProtocolError: What it sent is no sequence of requests.
        """
        data = self._read()
        if data is None:
            return True
        self.bytes_in += len(data)
        for plain in self._reader.feed(data):
            self.queue.append(read_request(plain, self._operations))
        return bool(data)

    def drop_unread(self) -> None:
        """Let go of what was received in part: nothing more is read."""
        self.queue.clear()
        self._reader = FrameReader(self._limit)

    def event(self, kind: int, payload: Any) -> Event:
        """Number an event of the current batch."""
        self.session.events += 1
        return Event(self.session.events, kind, payload)

    def reply(self, upto: int, answers: Sequence[Answer]) -> None:
        """Have a reply written, after the events that belong to it."""
        for answer in answers:
            for event in answer.events:
                self.events += frame(event)
        self.replies += frame((upto, [answer[:4] for answer in answers])) if answers else frame_flat((upto, ()))

    def refuse(self, error: list[Any]) -> None:
        """Have the reason written why this channel is of no use."""
        self.replies += frame((NOT_ANSWERED, [[NOT_ANSWERED, False, error, []]]))

    def flush(self) -> bool:
        """Write what fits, events before replies; return False when the client is gone.

        A reply leaves only when the events before it have left: so whoever has the answer has its events as well.
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
        """Close this side's ends."""
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
