"""What a forked process does before it is its own: die with its parent, and hold nothing that is not its own."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1
_libc: list[Any] = []


def prepare() -> None:
    """Load what `die_with` needs, so that a forked child need not."""
    if not _libc:
        _libc.append(ctypes.CDLL(None, use_errno=True))


def die_with(parent: int) -> bool:
    """Have this process killed when its parent ends; return False when the parent `parent` is gone already."""
    prepare()
    if hasattr(_libc[0], "prctl"):
        _libc[0].prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def close_all_but(kept: set[int]) -> None:
    """Close every descriptor that is not in `kept`."""
    low = 0
    for descriptor in sorted(kept):
        if low < descriptor:  # an empty range would be taken for one without end
            os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))
