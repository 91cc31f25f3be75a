"""How a worker receives channels and orders, and reports its state: a port, and the socket to its supervisor."""

from __future__ import annotations

import socket
from typing import Protocol

from ..protocol.control import OF_WORKER, TO_WORKER, Message, Serve
from ..protocol.requests import ProtocolError
from ..protocol.wire import receive_message, send_message
from ..system.stream import Descriptor, Stream

STREAMS = 3
"""The number of streams in a client's channel: one each for requests, replies and events."""


class Control(Protocol):
    """A worker's connection to the process that started it. No method blocks."""

    def fileno(self) -> int:
        """Return the descriptor to poll."""

    def receive(self) -> tuple[Message, list[Stream]] | None:
        """Return the next message and its streams, or None if there is no message yet.

        Only a `Serve` message has streams: those of the client's channel.

        Raises:
            EOFError: The other side has closed the connection.
            ProtocolError: The message is malformed; its streams are closed.
        """

    def say(self, message: Message) -> bool:
        """Send a message; return False if the connection is full, so that the message is dropped.

        Raises:
            OSError: The other side is gone.
        """


class SocketControl:
    """The socket to the supervisor. It also transfers the descriptors of clients' pipes (``SCM_RIGHTS``).

    Args:
        connection: A ``SOCK_SEQPACKET`` socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._connection.fileno()

    def receive(self) -> tuple[Message, list[Stream]] | None:
        """Return the next message and its streams, or None if there is no message yet; see `Control.receive`."""
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
        """Send a message to the supervisor; see `Control.say`."""
        return send_message(self._connection, OF_WORKER.plain(message))
