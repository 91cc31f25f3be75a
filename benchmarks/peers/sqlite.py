"""SQLite in WAL mode, by the standard library, in the process that uses it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..lights import ALLOWED, KEYS, Step, in_portions

SYNCHRONOUS = {"process": "normal", "disk": "full"}
TABLES = """
create table instances(key text primary key, number integer, seq integer, last integer, state text) without rowid;
create table history(number integer, seq integer, time integer, action text, state text, primary key(number, seq))
    without rowid;
"""


class InSqlite:
    """Lights in a database file; a transaction for each step, or for a portion of what is posted."""

    def __init__(self, folder: Path | str, durability: str) -> None:
        self._connection = sqlite3.connect(Path(folder) / "lights.db", isolation_level=None, check_same_thread=False)
        self._run = self._connection.execute
        self._run("pragma journal_mode=wal")
        self._run(f"pragma synchronous={SYNCHRONOUS[durability]}")
        self._connection.executescript(TABLES)
        rows = [(key, number, 0, 0, "red") for number, key in enumerate(KEYS)]
        self._connection.executemany("insert into instances values (?, ?, ?, ?, ?)", rows)

    def step(self, key: str, action: str, state: str) -> None:
        self._run("begin immediate")
        self._step(key, action, state)
        self._run("commit")

    def _step(self, key: str, action: str, state: str) -> None:
        number, seq, before = self._run("select number, seq, state from instances where key = ?", (key,)).fetchone()
        if (before, action, state) not in ALLOWED:
            raise ValueError("not allowed")
        now = time.time_ns() // 1000
        self._run("update instances set seq = ?, last = ?, state = ? where key = ?", (seq + 1, now, state, key))
        self._run("insert into history values (?, ?, ?, ?, ?)", (number, seq + 1, now, action, state))

    def post_all(self, steps: Sequence[Step]) -> None:
        for portion in in_portions(steps):
            self._run("begin immediate")
            for step in portion:
                self._step(*step)
            self._run("commit")

    def entries(self) -> int:
        count: int = self._run("select count(*) from history").fetchone()[0]
        return count

    def close(self) -> None:
        self._connection.close()


@contextmanager
def lights(folder: Path, durability: str) -> Iterator[InSqlite]:
    """Open lights in this process."""
    found = InSqlite(folder, durability)
    try:
        yield found
    finally:
        found.close()
