"""Keeps the errors of requests sent without waiting, until `flush` or `close` raises them."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, Final

from ...errors import SpexError

FIRST: Final = 10
NEWEST: Final = 90
"""How many of the first and of the newest errors are kept; those in between are only counted."""


class Failures:
    """The first and the newest errors since the last `take`, and their number. Its memory is bounded.

    Attributes:
        total: The number of all failures since the start, taken or not.
        by_class: The same by the errors' classes.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._forget()
        self.total = 0
        self.by_class: Counter[type[SpexError]] = Counter()

    def _forget(self) -> None:
        self._first: list[Any] = []
        self._newest: deque[Any] = deque(maxlen=NEWEST)
        self._count = 0

    def add(self, error: Any, count: int = 1) -> None:
        """Add an error that stands for `count` failures."""
        with self._lock:
            self.total += count
            self.by_class[type(error)] += count
            self._count += 1
            (self._first if len(self._first) < FIRST else self._newest).append(error)

    def take(self) -> tuple[list[Any], int]:
        """Return the kept errors in order, and the number of errors that were not kept; forget them all."""
        with self._lock:
            kept = [*self._first, *self._newest]
            missing = self._count - len(kept)
            self._forget()
        return kept, missing

    def __iter__(self) -> Iterator[Any]:
        return iter([*self._first, *self._newest])
