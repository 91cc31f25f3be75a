"""Keeps the standard descriptors 0, 1 and 2 occupied, also in a process that has closed them.

The operating system gives a new file or pipe the lowest free number. If the application has closed its standard output,
a file of this package could get number 1, and everything the application prints would be written into that file. So
before the package opens anything, it opens the null device under each standard number that is free, and keeps it open.
Go's runtime does the same.
"""

from __future__ import annotations

import fcntl
import os
import socket
from typing import Final

_FIRST: Final = 3


def take_standard_ones() -> None:
    """Open the null device under each standard number that is free, and leave it open.

    Raises:
        OSError: There is no descriptor left, or no null device.
    """
    while not all(map(is_open, range(_FIRST))):
        if _null() >= _FIRST:  # another thread has taken the last one
            return


def lifted(descriptor: int) -> int:
    """Return a duplicate of a descriptor under a number above 2, and put the null device in its old place.

    A descriptor above 2 is returned as it is. Standard numbers are normally occupied (`take_standard_ones`); this is
    for the case that the application has closed one since.

    Raises:
        OSError: There is no descriptor left; `descriptor` is closed in that case.
    """
    if descriptor >= _FIRST:
        return descriptor
    try:
        fresh = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST)
    except OSError:
        os.close(descriptor)
        raise
    null = _null()
    os.dup2(null, descriptor)  # one atomic step: nothing printed meanwhile can reach another file
    if null >= _FIRST:
        os.close(null)
    return fresh


def lifted_socket(connection: socket.socket) -> socket.socket:
    """Return the socket under a descriptor above 2; if it has to move, the given socket object is detached.

    Raises:
        OSError: There is no descriptor left; the socket is closed in that case.
    """
    if connection.fileno() >= _FIRST:
        return connection
    return socket.socket(connection.family, connection.type, connection.proto, lifted(connection.detach()))


def is_open(descriptor: int) -> bool:
    """Return whether `descriptor` is the number of an open descriptor."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _null() -> int:
    null = os.open(os.devnull, os.O_RDWR)
    os.set_inheritable(null, null < _FIRST)  # standard descriptors are inherited by child processes, others are not
    return null
