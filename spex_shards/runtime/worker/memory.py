"""How much memory this process may use, and how much of it one request may take."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SHARE: Final = 8
"""A request may take 1/8 of the memory: it is in memory several times, as a frame, decoded, as a row, in the batch, and
in the log's record."""
_CGROUPS: Final = Path("/sys/fs/cgroup")


def most_request_bytes(frame: int) -> int | None:
    """Return the most bytes of a request: an eighth of the memory that this process may use.

    Returns:
        The limit, or None if there is none that a frame of `frame` bytes could exceed.
    """
    most = min((*_of_process(), *_of_cgroup()), default=frame * SHARE) // SHARE
    return most if most < frame else None


def _of_process() -> Iterator[int]:
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            yield soft


def _of_cgroup() -> Iterator[int]:
    """Iterate over the limits of this process's cgroup and those above it, as far as they can be read."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next(line.removeprefix("0::/") for line in lines if line.startswith("0::"))
    except (OSError, StopIteration):
        return
    place = _CGROUPS / own
    while place.is_relative_to(_CGROUPS):
        try:
            text = (place / "memory.max").read_text().strip()
            if text.isdigit():
                yield int(text)
        except OSError:
            pass
        place = place.parent
