"""A descriptor by which any thread wakes one that polls."""

from __future__ import annotations

import os
from contextlib import suppress

from .descriptors import lifted


class Wakeup:
    """Wakes the thread that polls `descriptor`.

    Attributes:
        descriptor: What to poll; -1 once it is closed.

    Raises:
        OSError: There is no descriptor left.
    """

    def __init__(self) -> None:
        self.descriptor = lifted(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))

    def wake(self) -> None:
        """End the present wait, or else the next one; never blocks. Any thread may call this at any moment."""
        if self.descriptor >= 0:
            # A call that interrupts this one may close it in between: the thread has ended. A negative number is a
            # ValueError.
            with suppress(OSError, ValueError):
                os.eventfd_write(self.descriptor, 1)

    def clear(self) -> None:
        """Note that the thread is awake."""
        os.eventfd_read(self.descriptor)

    def close(self) -> None:
        """Close the descriptor; `wake` does nothing afterwards."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
