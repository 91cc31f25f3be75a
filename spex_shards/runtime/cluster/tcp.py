"""Settings of TCP connections, and streams over them."""

from __future__ import annotations

import socket
import ssl
from typing import Any, Final

from ..system.stream import CHUNK

_DEAD_AFTER_MS: Final = 10_000
"""Milliseconds without an answer of the other machine after which a connection is broken."""


def set_up(connection: Any) -> None:
    """Have a connection send at once, and notice within about 10 seconds that the other machine is gone."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 3), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", _DEAD_AFTER_MS),
    ):  # fmt: skip
        if hasattr(socket, name):  # not all of them everywhere
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class TlsStream:
    """A stream over one direction of a TLS connection; see `Stream`.

    OpenSSL lets one thread at a time use a connection. A channel's threads never share a stream: those that write hold
    another turn than the one that reads, and each direction has a connection of its own.

    Args:
        connection: The connection, non-blocking, after its handshake.
    """

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection

    def fileno(self) -> int:
        """Return the descriptor to poll; -1 once it is closed."""
        return self._connection.fileno()

    def read(self) -> bytes | None:
        """Return the bytes that have arrived; None: nothing yet; empty: the other end is closed."""
        parts = []
        try:
            parts.append(self._connection.recv(CHUNK))
            # What OpenSSL has decrypted already is not in the kernel any more: a poll would not report it.
            while parts[-1] and self._connection.pending():
                parts.append(self._connection.recv(CHUNK))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b"".join(parts) or None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError, ConnectionError):
            return b"".join(parts)
        return b"".join(parts)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write as much as fits; return the number of bytes."""
        try:
            return self._connection.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
