"""Looking again and again for an answer, for a moment, before a thread sleeps.

A shard answers within some 20 µs. Where it runs on another processor, waking that processor for the request and this
one for the answer takes as long again. A thread that looks for its answer for a moment keeps its processor awake, and
gets the answer sooner.

That pays only while answers are quick and there is a processor to spare. So after each moment that was in vain, twice
as many waits begin without one, up to `_MOST_SKIPPED`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

_MOST_SKIPPED: Final = 1023


class Spin:
    """The moment for which the waits of one channel look for an answer before they sleep.

    Any thread may use it at any time: an update that is lost only makes the next wait sleep, or not sleep, at once.

    Args:
        seconds: How long the moment is; 0: there is none. There is also none where this process has only one processor.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds if processors() > 1 else 0.0
        self._skipped = self._to_skip = 0

    def finds(self, has_come: Callable[[], bool]) -> bool:
        """Return whether `has_come` becomes true within the moment. It never sleeps."""
        if not self._seconds:
            return False
        if self._to_skip:
            self._to_skip -= 1
            return False
        end = time.monotonic() + self._seconds
        while not has_come():
            if time.monotonic() >= end:
                self._skipped = self._to_skip = min(2 * self._skipped + 1, _MOST_SKIPPED)
                return False
        self._skipped = 0
        return True


def processors() -> int:
    """Return how many processors this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # macOS has no such call
        return os.cpu_count() or 1
