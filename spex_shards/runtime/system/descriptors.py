"""The standard descriptors, in a process that has closed them.

What an application prints goes to descriptor 1, whatever that is by then: a file or pipe of this package that came
under such a number would have it written into it. So where a standard number is free, something that swallows
everything is opened under it, before anything of this package is opened, and for good: as Go's runtime does.
"""

from __future__ import annotations

import fcntl
import os
import socket
from typing import Final

_FIRST: Final = 3


def take_standard_ones() -> None:
    """Open the null device under each standard number that is free, to stay.

    Raises:
        OSError: There is no descriptor left, or no null device.
    """
    while not all(map(is_open, range(_FIRST))):
        if _null() >= _FIRST:  # another thread has taken the last one
            return


def lifted(descriptor: int) -> int:
    """Return a descriptor under a number that is no standard one's; under the other the null device is opened.

    For what comes under a standard number that was closed only lately.

    Raises:
        OSError: There is none left; it is closed then as well.
    """
    if descriptor >= _FIRST:
        return descriptor
    try:
        fresh = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST)
    except OSError:
        os.close(descriptor)
        raise
    null = _null()
    os.dup2(null, descriptor)  # at once: nothing that is printed meanwhile goes astray
    if null >= _FIRST:
        os.close(null)
    return fresh


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


def _null() -> int:
    null = os.open(os.devnull, os.O_RDWR)
    os.set_inheritable(null, null < _FIRST)  # as what belongs there is
    return null
