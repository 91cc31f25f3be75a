"""The store on LMDB: one environment per shard, one transaction per batch. Only this module imports lmdb."""

from __future__ import annotations

import copy
import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Any, Final

import lmdb

from ...errors import DataDirError, StoreError
from ..system.descriptors import take_standard_ones
from ..system.private import check_files, sync_folder
from .meta_pages import DATA, MetaPages
from .port import LATER, TABLES, Changes

FIRST_MAP_SIZE: Final = 64 * 1024 * 1024
"""In bytes of address space, not of disk: the file grows only with what is written."""
_MANY: Final = 64


class LmdbStore:
    """A shard's environment.

    The reads of a batch share one read transaction. The first read begins it, and `apply` or `release` ends it: a read
    transaction that stays open between batches would keep LMDB from reusing pages, and the file would grow. When the
    map is full, its size is doubled, and the whole batch is written again.

    Args:
        path: The shard's folder; created if it is missing.
        sync: Whether each `apply` is synced to the disk (durability "disk").
        map_size: Initial address space in bytes; a larger environment gets more.
        reading: Whether nothing may be written, not even LMDB's table of readers: for a folder without write
            permission, to which no other process writes.

    Raises:
        DataDirError: The environment cannot be opened, its meta pages are damaged, or another user owns it or can
            write to it.
    """

    far = False

    def __init__(self, path: Path, *, sync: bool, map_size: int = FIRST_MAP_SIZE, reading: bool = False) -> None:
        self.path = path
        self._sync = sync
        self._reading = reading
        self._metas = MetaPages(path, sync=sync)
        try:
            if not path.exists():
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._sync_folder(path.parent)
            with self._metas.locked():
                check_files(path, DATA, "lock.mdb", writing=not reading)  # LMDB opens them itself, by their names
                recorded = self._metas.check()
                if not reading and not (path / DATA).exists():
                    self._make(map_size)
                elif not recorded and not reading:
                    self._record()
                self._env = self._open(path, max(map_size, (path / DATA).stat().st_size * 2))
                self._tables = self._open_tables(self._env)
        except (lmdb.Error, OSError) as error:
            # As an OSError, lack of memory is recognised as temporary, so that the shard is started again.
            cause = OSError(errno.ENOMEM, str(error)) if isinstance(error, lmdb.MemoryError) else error
            raise DataDirError(f"the shard's environment cannot be opened: {path}: {error}", path=str(path)) from cause
        self._view: Any = None
        self.next_upkeep = inf

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or None.

        Raises:
            StoreError: LMDB could not read.
        """
        try:
            view = self._view or self._begin()
            value: bytes | None = view.get(key, None, self._tables[table]) if table in self._tables else None
        except lmdb.Error as error:
            raise StoreError(f"the store could not read: {error}") from error
        return value

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """Return the values of all `keys`."""
        return {key: self.get(table, key) for key in keys}

    def range(
        self, table: str, start: bytes, stop: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over ``start <= key < stop`` in key order (or the reverse)."""
        if table not in self._tables:
            return
        try:
            with (self._view or self._begin()).cursor(self._tables[table]) as cursor:
                yield from self._backward(cursor, start, stop) if reverse else self._forward(cursor, start, stop)
        except lmdb.Error as error:
            raise StoreError(f"the store could not read: {error}") from error

    def apply(self, changes: Changes) -> None:
        """Write all changes in one transaction.

        Raises:
            StoreError: Nothing was written.
        """
        self.release()
        try:
            with self._metas.locked():
                if not self._metas.check():
                    self._metas.write()  # the pages may be one transaction ahead of their record, and never two
                self._commit(changes)
                self._record()
        except (OSError, DataDirError) as error:
            raise StoreError(f"the store could not keep a batch: {error}") from error

    def _record(self) -> None:
        try:
            self._metas.write()
        except OSError:
            pass  # the record is one transaction behind, as after a crash: `apply` writes it before the next one

    def _commit(self, changes: Changes) -> None:
        while True:
            try:
                with self._env.begin(write=True) as txn:
                    for table, rows in changes.items():
                        self._write(txn, self._tables[table], rows)
                return
            except lmdb.MapFullError:
                self._grow()
            except lmdb.MapResizedError:
                self._env.set_mapsize(0)
            except lmdb.Error as error:
                raise StoreError(f"the store could not keep a batch: {error}") from error

    def release(self) -> None:
        """End the reading view, if there is one."""
        if self._view is not None:
            self._view.abort()
            self._view = None

    def upkeep(self) -> None:
        """Do nothing: this store needs no maintenance."""

    def size(self) -> int:
        """Return the size in bytes of the environment's used pages."""
        info, stat = self._env.info(), self._env.stat()
        return int((info["last_pgno"] + 1) * stat["psize"])

    def rows(self) -> int:
        """Return how many rows there are.

        Raises:
            StoreError: LMDB could not read.
        """
        try:
            with self._env.begin() as txn:
                return sum(int(txn.stat(db)["entries"]) for db in self._tables.values())
        except lmdb.Error as error:
            raise StoreError(f"the store could not read: {error}") from error

    def close(self) -> None:
        """Sync everything to the disk and close the environment.

        Raises:
            StoreError: Syncing failed; the environment is closed nevertheless.
        """
        self.release()
        try:
            if not self._reading:
                self._env.sync(True)
        except lmdb.Error as error:
            raise StoreError(f"the store could not be forced to the disk: {error}") from error
        finally:
            self._env.close()

    def another_view(self) -> LmdbStore:
        """Return a store on the same environment, with a reading view of its own."""
        other = copy.copy(self)
        other._view = None
        return other

    def let_go(self) -> None:
        """Close the environment without syncing. Called in a forked child, before it opens the environment itself."""
        self._env.close()

    def _open(self, path: Path, map_size: int) -> Any:
        take_standard_ones()  # else LMDB's files could get the numbers of standard input and output, if those are free
        return lmdb.open(
            os.fsencode(path),
            map_size=map_size,
            max_dbs=len(TABLES),
            mode=0o600,
            sync=self._sync,
            metasync=self._sync,
            readonly=self._reading,
            lock=not self._reading,
            create=not self._reading,
            max_spare_txns=0,  # a spare one has an entry in the table of readers, which `let_go` in a child would free
        )

    def _open_tables(self, env: Any, *, create: bool = False) -> dict[str, Any]:
        if self._reading:
            return self._opened(env, None, create=False)
        env.reader_check()
        # A write transaction waits for the helper process of an earlier worker of this shard, if it is still writing.
        with env.begin(write=True) as txn:
            return self._opened(env, txn, create=create)

    @staticmethod
    def _opened(env: Any, txn: Any, *, create: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for table in TABLES:
            try:
                found[table] = env.open_db(table.encode(), txn=txn, create=create)
            except lmdb.NotFoundError:
                if table not in LATER:
                    raise
        return found

    def _make(self, map_size: int) -> None:
        """Create the environment in a folder of its own, and move it here when it is complete and on the disk.

        Otherwise a crash in the middle would leave an environment without some of its tables.
        """
        aside = self.path / "new"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
        env = self._open(aside, map_size)
        try:
            self._open_tables(env, create=True)
            env.sync(self._sync)
        finally:
            env.close()
        (aside / DATA).replace(self.path / DATA)
        self._sync_folder(self.path)
        shutil.rmtree(aside)
        self._record()

    def _sync_folder(self, folder: Path) -> None:
        if self._sync:
            sync_folder(folder)

    def _begin(self) -> Any:
        try:
            self._view = self._env.begin()
        except lmdb.MapResizedError:  # the helper process that writes checkpoints has doubled it
            self._env.set_mapsize(0)
            self._view = self._env.begin()
        return self._view

    def _grow(self) -> None:
        size = self._env.info()["map_size"] * 2
        try:
            self._env.set_mapsize(size)
        except (lmdb.Error, OverflowError, MemoryError) as error:
            raise StoreError(f"the store's map could not grow to {size} bytes: {error}") from error

    @staticmethod
    def _write(txn: Any, db: Any, rows: Any) -> None:
        if len(rows) < _MANY:
            put = txn.put
            for key, value in rows.items():
                if value is None:
                    txn.delete(key, b"", db)
                else:
                    put(key, value, True, True, False, db)
            return
        for key in sorted(key for key, value in rows.items() if value is None):
            txn.delete(key, db=db)
        with txn.cursor(db) as cursor:
            cursor.putmulti(sorted((key, value) for key, value in rows.items() if value is not None))

    @staticmethod
    def _forward(cursor: Any, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        if cursor.set_range(start) if start else cursor.first():
            for key, value in cursor.iternext():
                if stop is not None and key >= stop:
                    return
                yield key, value

    @staticmethod
    def _backward(cursor: Any, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        if stop is None:
            found = cursor.last()
        else:
            found = cursor.prev() if cursor.set_range(stop) else cursor.last()
        if found:
            for key, value in cursor.iterprev():
                if key < start:
                    return
                yield key, value
