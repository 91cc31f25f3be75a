"""What was sent without waiting and could not be applied, until `flush` or `close` raises it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

FIRST: Final = 10
NEWEST: Final = 90
"""So many are kept each; of those between them only the number is."""


class Failures:
    """The first and the newest failures since they were taken last, and how many there were.

    However many observations fail, and however long nobody asks: memory stays the same.

    Attributes:
        total: All failures since the start, taken or not.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._forget()
        self.total = 0

    def _forget(self) -> None:
        self._first: list[Any] = []
        self._newest: deque[Any] = deque(maxlen=NEWEST)
        self._count = 0

    def add(self, error: Any, count: int = 1) -> None:
        """Take an error that stands for `count` failures."""
        with self._lock:
            self.total += count
            self._count += 1
            (self._first if len(self._first) < FIRST else self._newest).append(error)

    def take(self) -> tuple[list[Any], int]:
        """Return what is kept, in order, and how many are not; they are forgotten."""
        with self._lock:
            kept = [*self._first, *self._newest]
            missing = self._count - len(kept)
            self._forget()
        return kept, missing

    def __iter__(self) -> Iterator[Any]:
        return iter([*self._first, *self._newest])
