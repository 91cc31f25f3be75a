"""Opens a client's connections to a shard: waits with a limit, on a thread on which nothing else waits."""

from __future__ import annotations

import os
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any, Final

from ..protocol.session import frame
from ..protocol.wire import FrameReader
from ..system.descriptors import lifted_socket, take_standard_ones
from ..system.stream import Descriptor, Stream
from . import handshake
from .address import Address
from .handshake import Refusal
from .tcp import TlsStream, set_up

_LEAST: Final = 0.05


@dataclass(frozen=True, slots=True)
class Access:
    """What a client needs to be let in.

    Attributes:
        token: The cluster's token; empty: the gates ask for none.
        tls: How to encrypt; None: not at all.
        within: Seconds that each step may take: to connect, to set TLS up, to shake hands.
    """

    token: bytes
    tls: ssl.SSLContext | None
    within: float


class Joined:
    """A client's connections to one shard, non-blocking: the control connection, and the streams of a channel.

    Attributes:
        address: Where they lead.
        control: Carries control messages.
        streams: The streams for requests, replies and events; empty once they are a line's.
    """

    def __init__(self, address: Address, connections: list[socket.socket]) -> None:
        self.address = address
        self.control, *self.streams = map(_stream, connections)

    def close(self) -> None:
        """Close the control connection, and the streams that no line has. It may be called again."""
        for stream in (self.control, *self.streams):
            stream.close()


def join(address: Address, access: Access, shard: int) -> Joined:
    """Connect with a gate, and return the connections to a shard.

    Blocks for a few times the seconds that a step may take.

    Raises:
        OSError: The gate cannot be reached, or is too slow; also `ssl.SSLError`.
        EOFError: It has closed the connection.
        Refusal: It refuses this process, or is not the gate of this cluster.
        ValueError: It does not speak the protocol.
    """
    take_standard_ones()
    made: list[socket.socket] = []
    try:
        ticket = b""
        for purpose in (handshake.CONTROL, *handshake.STREAMS):
            connection = _connected(address, access)
            made.append(connection)
            ticket = _introduced(connection, access.token, purpose, shard, ticket)
        return Joined(address, made)
    except BaseException:
        for connection in made:
            connection.close()
        raise


def _connected(address: Address, access: Access) -> socket.socket:
    plain = lifted_socket(socket.create_connection((address.host, address.port), access.within))
    try:
        set_up(plain)
        if access.tls is None:
            return plain
        return access.tls.wrap_socket(plain, server_hostname=address.host)
    except BaseException:
        plain.close()
        raise


def _introduced(connection: socket.socket, token: bytes, purpose: str, shard: int, ticket: bytes) -> bytes:
    """Shake hands; return the ticket for the streams."""
    deadline = time.monotonic() + (connection.gettimeout() or 0)
    challenge = _received(connection, deadline)
    hello = handshake.hello(token, challenge, purpose, shard, ticket)
    connection.sendall(frame(handshake.plain(hello)))
    welcome = handshake.checked_welcome(token, challenge, hello, _received(connection, deadline))
    return welcome.ticket or ticket


def _received(connection: socket.socket, deadline: float) -> Any:
    """Return the next message; a gate that sends a byte now and then does not prolong the time."""
    reader = FrameReader(handshake.LONGEST)
    while True:
        connection.settimeout(max(_LEAST, deadline - time.monotonic()))
        data = connection.recv(handshake.LONGEST)
        if not data:
            raise EOFError
        for message in reader.feed(data):
            return message
        if time.monotonic() > deadline:
            raise TimeoutError("it is too slow")


def _stream(connection: socket.socket) -> Stream:
    connection.setblocking(False)
    if isinstance(connection, ssl.SSLSocket):
        return TlsStream(connection)
    return Descriptor(connection.detach())


def text_of(error: BaseException, address: Address | None) -> str:
    """Return why a shard cannot be reached, in a sentence."""
    if address is None:
        return f"nobody knows where the shard is: {error}" if str(error) else "nobody has claimed the shard"
    if isinstance(error, Refusal):
        return f"the gate at {address} refuses this process: {error}"
    if isinstance(error, ssl.SSLError):
        return f"the gate at {address} cannot be trusted: {error}"
    if isinstance(error, OSError):
        return f"the gate at {address} cannot be reached: {os.strerror(error.errno) if error.errno else error}"
    return f"the gate at {address} has closed the connection"
