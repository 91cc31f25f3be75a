"""Byte streams between two processes, without blocking; a channel consists of such streams."""

from __future__ import annotations

import os
from typing import Final, Protocol

CHUNK: Final = 65536
"""The most bytes that one `read` returns."""


class Stream(Protocol):
    """One end of a byte stream between two processes. No method blocks.

    Both sides of a channel use this port. `Descriptor` is the implementation for a pipe or a connected socket;
    `runtime.cluster.tcp.TlsStream` is that for an encrypted connection.
    """

    def fileno(self) -> int:
        """Return the descriptor to poll."""

    def read(self) -> bytes | None:
        """Return the bytes that have arrived; None: nothing yet; empty: the other end is closed.

        Raises:
            OSError: The stream cannot be read.
        """

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write as much as the stream takes now; return the number of bytes, which may be 0.

        Raises:
            OSError: The other end is closed.
        """

    def close(self) -> None:
        """Close this end. It may be called again."""


class Descriptor:
    """A stream over a non-blocking descriptor: an end of a pipe, or a connected socket.

    Args:
        number: The descriptor, which belongs to this object from now on.
    """

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        """Return the descriptor; -1 once it is closed."""
        return self._number

    def read(self) -> bytes | None:
        """Return the bytes that have arrived; None: nothing yet; empty: the other end is closed."""
        try:
            return os.read(self._number, CHUNK)
        except BlockingIOError:
            return None

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write as much as fits; return the number of bytes."""
        try:
            return os.write(self._number, data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Close the descriptor."""
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)
