"""`move`: takes everything that the shards of one place hold to another place, with the same number of shards.

::

    target: arriving     nobody uses it                       source: in use
    target: arriving                                          source: leaving      nobody uses it any more
    rows are copied, portion by portion, then compared one by one
    target: in use                                            source: leaving
    target: in use                                            source: moved        its rows stay until they are removed

Each arrow is one durable change. The command can be killed at any point and run again: each portion is one batch of the
target, together with the key that it ends with. At every moment at most one of the two places can be used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from ..errors import DataDirError
from ..runtime.protocol import records
from ..runtime.store import TABLES, Store
from ..runtime.store.checkpoint import CHECKPOINT, FIRST_EPOCH
from ..runtime.store.location import Where, is_url, shown
from .endpoints import Endpoint, endpoint_of

PROGRESS: Final = b"moved up to"
"""The key in the target's table `layout` under which a move notes how far it is."""
_OWN: Final = frozenset({("layout", CHECKPOINT), ("layout", FIRST_EPOCH), ("layout", PROGRESS)})
"""Rows that belong to a store and not to its shard."""
_ROWS: Final = 4000
_BYTES: Final = 4 * 1024 * 1024
Progress = Callable[[int, int], None]
"""Called with the number of rows done, and the approximate total; each row is copied and compared."""


@dataclass(frozen=True, slots=True)
class Relocated:
    """The result of `move`.

    Attributes:
        shards: The number of shards.
        rows: How many rows the target has; each was compared with the source's. 0: it was completed before.
    """

    shards: int
    rows: int


def move(
    source: Where,
    target: Where,
    *,
    progress: Progress = lambda _done, _total: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Relocated:
    """Move all shards of a data directory into a namespace of a database, or of a namespace into a data directory.

    Instances, histories, models, deviations, timers and what is remembered of clients' requests are copied as they are,
    and compared. Nothing may use the directory; a manager that still uses the namespace loses it when the move begins.
    The source cannot be opened afterwards, and its rows can be removed.

    Args:
        source: The path of a data directory, or the URL of a namespace.
        target: The other of the two: a new directory or namespace, or the one that the source came from.
        progress: Called now and then.
        interrupted: Called now and then; if it returns True, the move stops, and another call continues it.

    Raises:
        DataDirLocked: A manager uses the directory.
        DataDirError: The source is not there, the target is in use or holds something else, or they differ at the end.
        StoreError: A row cannot be read or written.
        StoreLost: The database cannot be reached.
        ValueError: They are not one directory and one namespace, or the URL is malformed.
        KeyboardInterrupt: `interrupted` returned True.
    """
    if is_url(source) is is_url(target):
        raise ValueError(f"a move needs a data directory and a database's URL, got {shown(source)} and {shown(target)}")
    with endpoint_of(source) as leaving, endpoint_of(target, makes=True) as arriving:
        return _Relocation(leaving, arriving, progress, interrupted).carry_out()


class _Relocation:
    """One run."""

    def __init__(self, source: Endpoint, target: Endpoint, progress: Progress, interrupted: Callable[[], bool]) -> None:
        self._source = source
        self._target = target
        self._progress = progress
        self._interrupted = interrupted
        self._done = self._total = self._rows = 0

    def carry_out(self) -> Relocated:
        source, target = self._source, self._target
        shards = source.shards()
        if target.is_in_use() and (source.is_leaving(target.shown) or source.has_moved(target)):
            source.moved(target)  # only this last step was missing, or nothing was
            return Relocated(shards, 0)
        source.check_leaves(target.shown)
        target.arrive(source, shards)
        source.leave(target.shown)
        for index in range(shards):
            self._of_shard(index, self._copy)
        for index in range(shards):
            self._of_shard(index, self._compare)
        for index in range(shards):
            self._forget_progress(index)
        target.arrived(source.shown)
        source.moved(target)
        return Relocated(shards, self._rows)

    def _of_shard(self, index: int, work: Callable[[int, Store], None]) -> None:
        if not self._source.stores.exists(index):
            return
        view = self._source.stores.view(index)
        try:
            self._total += view.rows()
            work(index, view)
        finally:
            view.close()

    def _copy(self, index: int, source: Store) -> None:
        store = self._target.open(index)
        try:
            begun = store.get("layout", PROGRESS)
            table, last = ("", b"") if begun is None else records.unseal(begun, "how far a move is")
            for name, portion in _portions(source, str(table), bytes(last)):
                mark = {PROGRESS: records.seal([name, portion[-1][0]])}
                changes = {name: dict(portion), "layout": {**(dict(portion) if name == "layout" else {}), **mark}}
                store.apply(changes)
                if store.next_upkeep <= time.monotonic():
                    store.upkeep()
                self._step(len(portion))
        finally:
            store.close()

    def _compare(self, index: int, source: Store) -> None:
        view = self._target.stores.view(index)
        try:
            for table in TABLES:
                for count, (ours, theirs) in enumerate(zip_longest(_rows(source, table), _rows(view, table)), 1):
                    if ours != theirs:
                        text = f"the move cannot be completed: {table} of shard {index} differs between "
                        raise DataDirError(f"{text}{self._source.shown} and {self._target.shown}")
                    self._rows += 1
                    if count % _ROWS == 0:
                        self._step(_ROWS)
        finally:
            view.close()

    def _forget_progress(self, index: int) -> None:
        if self._source.stores.exists(index):
            store = self._target.open(index)
            try:
                store.apply({"layout": {PROGRESS: None}})
            finally:
                store.close()

    def _step(self, rows: int) -> None:
        self._done += rows
        self._progress(self._done, max(2 * self._total, self._done))
        if self._interrupted():
            raise KeyboardInterrupt


def _rows(store: Store, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    return (row for row in store.range(table, start, None) if (table, row[0]) not in _OWN)


def _portions(store: Store, table: str, last: bytes) -> Iterator[tuple[str, list[tuple[bytes, bytes]]]]:
    """Yield the rows behind a key of a table, and those of all later tables, in portions of bounded size."""
    names = TABLES[TABLES.index(table) :] if table else TABLES
    for name in names:
        portion: list[tuple[bytes, bytes]] = []
        size = 0
        for key, value in _rows(store, name, last + b"\0" if name == table else b""):
            portion.append((key, value))
            size += len(key) + len(value)
            if len(portion) >= _ROWS or size >= _BYTES:
                yield name, portion
                portion, size = [], 0
        if portion:
            yield name, portion
