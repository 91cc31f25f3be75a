"""What a worker gets from the operating system beside its descriptors: clocks, a poll, and helper processes."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from ..system.helper_process import HelperProcess


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The real ones by default; a simulation gives its own.

    Attributes:
        monotonic: Returns seconds on a clock that nobody sets.
        time_ns: Returns nanoseconds since the epoch.
        poll: Returns a poll that reports which descriptors are ready, as `select.epoll`.
        helper: Returns an object that does work in a process of its own; gets the descriptors that it keeps open.
    """

    monotonic: Callable[[], float] = time.monotonic
    time_ns: Callable[[], int] = time.time_ns
    poll: Callable[[], Any] = select.epoll
    helper: Callable[[Iterable[int]], HelperProcess] = HelperProcess


REAL: Final = Surroundings()
