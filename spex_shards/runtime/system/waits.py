"""Bounds every wait, whatever the clocks and the options say.

System calls accept only so many milliseconds and raise beyond that. A wait that ends early is harmless: every loop
checks the time again.
"""

from __future__ import annotations

from math import ceil
from typing import Final

LONGEST_WAIT: Final = 3600.0
"""Every wait ends after this many seconds, so that a loop notices when the wall clock was set back."""


def capped(seconds: float | None) -> float:
    """Return how many seconds to wait at once: from 0 to `LONGEST_WAIT`, which also stands for None (no limit)."""
    if seconds is None or not seconds < LONGEST_WAIT:
        return LONGEST_WAIT
    return max(0.0, seconds)


def milliseconds(seconds: float | None) -> int:
    """Return `capped` seconds as whole milliseconds for ``poll.poll``: never 0 while there is time left."""
    return ceil(capped(seconds) * 1000)
