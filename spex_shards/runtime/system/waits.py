"""How long to wait at once: bounded, whatever the clocks and the options say.

The system's calls take so many milliseconds only, and raise beyond. A wait that ends early is harmless: every loop
looks at the time again.
"""

from __future__ import annotations

from math import ceil
from typing import Final

LONGEST_WAIT: Final = 3600.0
"""Seconds after which every wait looks again, also where the wall clock was set back meanwhile."""


def capped(seconds: float | None) -> float:
    """Return how many seconds to wait at once: none below 0, `LONGEST_WAIT` at most, and so for None (without end)."""
    if seconds is None or not seconds < LONGEST_WAIT:
        return LONGEST_WAIT
    return max(0.0, seconds)


def milliseconds(seconds: float | None) -> int:
    """Return the same for ``poll.poll``: whole milliseconds, and never 0 while there is some time left."""
    return ceil(capped(seconds) * 1000)
