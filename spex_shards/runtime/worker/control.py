"""How a worker is given channels and orders, and says how it is: a port, and the socket to its supervisor."""

from __future__ import annotations

import socket
from typing import Protocol

from ..protocol.control import OF_WORKER, TO_WORKER, Message, Serve
from ..protocol.requests import ProtocolError
from ..protocol.wire import receive_message, send_message
from ..system.stream import Descriptor, Stream

STREAMS = 3
"""A client's channel has three: for requests, for replies, for events."""


class Control(Protocol):
    """The worker's connection to whoever started it. No method blocks."""

    def fileno(self) -> int:
        """Return the descriptor to poll."""

    def receive(self) -> tuple[Message, list[Stream]] | None:
        """Return the next message, with the streams of a client's channel where it is `Serve`; None: nothing yet.

        Raises:
            EOFError: The other side is closed.
            ProtocolError: The message is malformed; the streams that came with it are closed.
        """

    def say(self, message: Message) -> bool:
        """Send a message; return False when the other side does not take it.

        Raises:
            OSError: The other side is gone.
        """


class SocketControl:
    """The socket to the supervisor, through which a client's descriptors come as well (``SCM_RIGHTS``).

    Args:
        connection: A ``SOCK_SEQPACKET`` socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._connection.fileno()

    def receive(self) -> tuple[Message, list[Stream]] | None:
        """Return the next message and the streams that came with it; None: nothing yet."""
        received = receive_message(self._connection)
        if received is None:
            return None
        plain, descriptors = received
        streams: list[Stream] = [Descriptor(number) for number in descriptors]
        try:
            message = TO_WORKER.read(plain)
            if len(streams) != (STREAMS if isinstance(message, Serve) else 0):
                raise ProtocolError(f"a {plain[0]} message with {len(streams)} descriptors")
        except ProtocolError:
            for stream in streams:
                stream.close()
            raise
        return message, streams

    def say(self, message: Message) -> bool:
        """Send a message to the supervisor."""
        return send_message(self._connection, OF_WORKER.plain(message))
