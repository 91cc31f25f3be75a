"""Compares journals of ended processes with the store, and deletes their observations to keep its size."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import spex_shards as spex
from spex_shards.runtime.holder import start_time
from tests.programs.chaos.harness import Books
from tests.programs.chaos.specs import Chain

SETTLED = 30.0
"""Seconds after a process's death in which what it had sent is carried out."""


class Bookkeeper:
    """Compares each journal with the store once its process has ended.

    Args:
        folder: The journals.
        manager: The manager that reaches the store.

    Attributes:
        totals: The totals so far.
        wrong: A line for each instance that differs from its journal.
    """

    def __init__(self, folder: Path, manager: Any) -> None:
        self._folder = folder
        self._manager = manager
        self._gone_since: dict[str, float] = {}
        self.totals: Counter[str] = Counter()
        self.wrong: list[str] = []

    def balance(self, settled: float = SETTLED) -> None:
        """Compare the journals of processes that have ended.

        Raises:
            ShardError: A shard cannot be reached now; the rest is compared the next time.
        """
        for journal in sorted(self._folder.glob("*.journal")):
            _, pid, start = journal.stem.split("-")
            if start_time(int(pid)) == int(start):
                continue
            since = self._gone_since.setdefault(journal.stem, time.monotonic())
            if time.monotonic() - since >= settled:
                self._close(journal)

    def _close(self, journal: Path) -> None:
        aside = journal.parent / "now" / journal.name
        aside.parent.mkdir(exist_ok=True)
        journal.rename(aside)
        try:
            self._compare(Books(aside.parent))
        except spex.SpexError:
            aside.rename(journal)
            raise
        aside.unlink()
        self.totals["processes"] += 1

    def _compare(self, books: Books) -> None:
        seen: Counter[str] = Counter()
        keys = list(books.issued)
        for key in keys:
            history = self._history(key)
            known = books.acknowledged.get(key, 0)
            in_order = history == [f"s{n}" if n else "start" for n in range(len(history))]
            seen["observations"] += books.issued[key]
            seen["acknowledged"] += known
            seen["lost"] += max(0, known - len(history))
            seen["doubled or out of order"] += not in_order or len(history) > books.issued[key]
            if len(history) < known or not in_order or len(history) > books.issued[key]:
                self.wrong.append(f"{key}: issued {books.issued[key]}, acknowledged {known}, stored {history}")
        seen["uncertain"] += sum(books.uncertain.values())
        self.totals += seen
        for key in keys:
            try:
                self._manager.delete_instance(key)
            except spex.InstanceNotFound:
                continue

    def _history(self, key: tuple[str, int]) -> list[str]:
        try:
            return [entry.to_state for entry in self._manager.get_instance(key).history]
        except spex.InstanceNotFound:
            return []

    def left(self) -> int:
        """Return how many stored instances belong to no journal; all journals must be closed."""
        return len(self._manager.all_instances(Chain))
