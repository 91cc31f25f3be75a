"""Where the processes of a measure run.

A scheduler may put two processes that take turns on one core or on two. On two, a round trip takes several times as
long, because each turn wakes an idle core; and which it is changes with whatever else the machine does. So both cases
are measured, besides what the scheduler does by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .processes import children


@contextmanager
def placed(placement: str) -> Iterator[None]:
    """Put this process on the first core, and all processes below it ``together`` with it, or ``apart`` on another."""
    before = os.sched_getaffinity(0)
    first, *others = sorted(before)
    os.sched_setaffinity(0, {first})
    _put_below(os.getpid(), {others[0] if placement == "apart" and others else first})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        _put_below(os.getpid(), before)


def _put_below(pid: int, cores: set[int]) -> None:
    for child in children(pid):
        with suppress(OSError):  # it may end meanwhile, or belong to another user
            for task in Path(f"/proc/{child}/task").iterdir():
                os.sched_setaffinity(int(task.name), cores)
            _put_below(child, cores)
