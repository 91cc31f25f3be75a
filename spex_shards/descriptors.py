"""Descriptors that are none of the standard ones, also in a process that has closed those.

What an application prints goes to descriptor 1, whatever that is by then: a file or pipe of this package that came
under such a number would have it written into it.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_FIRST: Final = 3


def lifted(descriptor: int) -> int:
    """Return a descriptor under a number that is no standard one's, closing it under the other.

    Raises:
        OSError: There is none left; it is closed then as well.
    """
    if descriptor >= _FIRST:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST)
    finally:
        os.close(descriptor)


def lifted_socket(connection: socket.socket) -> socket.socket:
    """Return a socket under a number that is no standard one's; it is detached from the other.

    Raises:
        OSError: There is no descriptor left; it is closed then.
    """
    if connection.fileno() >= _FIRST:
        return connection
    return socket.socket(connection.family, connection.type, connection.proto, lifted(connection.detach()))


def is_open(descriptor: int) -> bool:
    """Whether a number is that of an open descriptor."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@contextmanager
def standard_ones_taken() -> Iterator[None]:
    """Keep the standard numbers from what is opened within by others' code, where they are free.

    Raises:
        OSError: There is no descriptor left.
    """
    taken: list[int] = []
    try:
        while not all(map(is_open, range(_FIRST))):
            taken.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
