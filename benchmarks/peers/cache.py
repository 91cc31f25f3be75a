"""diskcache, in the process that uses it: SQLite below, and a transaction for each step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..lights import ALLOWED, KEYS, Step, in_portions
from . import package

SYNCHRONOUS = {"process": 1, "disk": 2}


class InCache:
    """Lights in a cache that drops nothing; all values are texts, which it stores as they are."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        with cache.transact():
            for key in KEYS:
                cache[key] = "0 0 red"

    def step(self, key: str, action: str, state: str) -> None:
        with self._cache.transact():
            self._step(key, action, state)

    def _step(self, key: str, action: str, state: str) -> None:
        seq, _, before = self._cache[key].split()
        if (before, action, state) not in ALLOWED:
            raise ValueError("not allowed")
        now = time.time_ns() // 1000
        self._cache[key] = f"{int(seq) + 1} {now} {state}"
        self._cache[f"{key}/{seq}"] = f"{now} {action} {state}"

    def post_all(self, steps: Sequence[Step]) -> None:
        for portion in in_portions(steps):
            with self._cache.transact():
                for step in portion:
                    self._step(*step)

    def entries(self) -> int:
        return len(self._cache) - len(KEYS)


@contextmanager
def lights(folder: Path, durability: str) -> Iterator[InCache]:
    """Open lights in this process."""
    diskcache = package("diskcache")
    options = {"eviction_policy": "none", "cull_limit": 0, "statistics": 0}
    with diskcache.Cache(str(folder / "cache"), sqlite_synchronous=SYNCHRONOUS[durability], **options) as cache:
        yield InCache(cache)
