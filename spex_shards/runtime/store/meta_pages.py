"""A record of LMDB's two meta pages, in a file of its own. LMDB has no checksums: it follows a damaged page anywhere.

::

    data.mdb    page 0: a meta page · page 1: a meta page · pages 2 …: everything else
    meta        page size, size of the file, and of each meta page the transaction and a digest  (msgpack + checksum)

# Guarantees:
#
# * A transaction writes one meta page as its last step: page 0 if its number is even, else page 1. The record is
#   written after that. So after a crash between the two steps, the record's newest page is unchanged, and the other
#   page is of the next transaction. Any other difference is a damage.
# * The record is brought up to date before another transaction is begun. Otherwise both pages could differ from the
#   record without being damaged.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import xxhash

from ...errors import DataDirError, StoreError
from ..protocol import records
from ..system.private import open_file, open_folder, read_file, replace_file, sync_folder

DATA: Final = "data.mdb"
RECORD: Final = "meta"
_VERSION: Final = 1
# As in LMDB's mdb.c: MDB_page without its pointers, then MDB_meta with two MDB_db in it; in the machine's own order.
_PAGE: Final = struct.Struct("@NHHI")
_META: Final = struct.Struct("@IIPN IHHNNNNN IHHNNNNN NN".replace(" ", ""))
USED_BYTES: Final = _PAGE.size + _META.size
"""How many bytes of a meta page LMDB uses; the others have no meaning."""
_MAGIC: Final = 0xBEEFC0DE
_DATA_VERSION: Final = 1
_P_META: Final = 0x08
_NO_PAGE: Final = (1 << (8 * struct.calcsize("N"))) - 1
_LARGEST_MAP: Final = 1 << 47
_DEEPEST: Final = 32
_ADVICE: Final = "restore the data directory from a backup"


class _Page(NamedTuple):
    """A meta page: its bytes, the fields read from them, and what is wrong with them (None: nothing)."""

    data: bytes
    transaction: int
    page_size: int
    fault: str | None

    @property
    def digest(self) -> bytes:
        return xxhash.xxh3_128_digest(self.data)


class _Record(NamedTuple):
    version: int
    page_size: int
    size: int
    transactions: list[int]
    digests: list[bytes]


class MetaPages:
    """The meta pages of the environment in a folder, and their record.

    Args:
        folder: The environment's folder.
        sync: Whether the record is synced to the disk, as the transactions are.
    """

    def __init__(self, folder: Path, *, sync: bool) -> None:
        self._folder = folder
        self._data = folder / DATA
        self._record = folder / RECORD
        self._sync = sync

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that excludes every other writer of the pages and their record, in this process and in others.

        Raises:
            DataDirError: Another user owns the folder, or can write to it.
            OSError: The folder cannot be opened.
        """
        descriptor = open_folder(self._folder)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def check(self) -> bool:
        """Compare the pages with their record; return whether the record is up to date. Call it under `locked`.

        An earlier version's environment has no record: then the pages must only be plausible.

        Raises:
            DataDirError: The pages are damaged; the message says what, where, and what to do.
            OSError: They cannot be read.
        """
        record = self._read_record()
        size = self._data.stat().st_size if self._data.exists() else None
        if size is None:
            if record is not None:
                raise self._error(f"{self._data} is missing")
            return False
        pages = self._read_pages(record)
        if record is None:
            for index, page in enumerate(pages):
                if page.fault:
                    raise self._damaged(index, pages, page.fault)
            return False
        if size < record.size:
            raise self._error(f"{self._data} is cut: it has {size} bytes, and had {record.size}")
        return self._compare(pages, record)

    def write(self) -> None:
        """Write a record of the present pages. Call it under `locked`.

        Raises:
            OSError: Writing failed; the record is unchanged.
        """
        pages = self._read_pages(None)
        size = self._data.stat().st_size
        transactions, digests = [page.transaction for page in pages], [page.digest for page in pages]
        fresh = self._record.with_name(f"{RECORD}.new")
        descriptor = open_file(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            os.write(descriptor, records.seal([_VERSION, pages[0].page_size, size, transactions, digests]))
            if self._sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        replace_file(fresh, self._record)
        if self._sync:
            sync_folder(self._folder)

    def _compare(self, pages: list[_Page], record: _Record) -> bool:
        newest = 1 if record.transactions[1] > record.transactions[0] else 0
        other = 1 - newest
        same = [page.digest == digest for page, digest in zip(pages, record.digests, strict=True)]
        if not same[newest]:
            raise self._damaged(newest, pages, pages[newest].fault or "it is not what was written last")
        if same[other]:
            return True
        page, following = pages[other], record.transactions[newest] + 1
        if page.fault or page.transaction != following:
            fault = (
                page.fault or f"transaction {page.transaction} where {record.transactions[other]} or {following} may be"
            )
            raise self._damaged(other, pages, fault)
        return False

    def _read_record(self) -> _Record | None:
        try:
            row = read_file(self._record)
        except FileNotFoundError:
            return None
        try:
            record = _Record._make(records.unseal(row, "the record of the meta pages"))
            if record.version != _VERSION:
                raise ValueError(f"version {record.version}")
        except (StoreError, TypeError, ValueError) as error:
            text = f"the record of the meta pages is damaged: {self._record}: {error}; {_ADVICE}, or remove this file"
            raise DataDirError(f"{text} to go on without what it guards against", path=str(self._record)) from None
        return record

    def _read_pages(self, record: _Record | None) -> list[_Page]:
        descriptor = open_file(self._data, os.O_RDONLY)
        try:
            first = _parsed(os.pread(descriptor, USED_BYTES, 0))
            page_size = first.page_size if record is None else record.page_size
            return [first, _parsed(os.pread(descriptor, USED_BYTES, page_size))]
        finally:
            os.close(descriptor)

    def _damaged(self, index: int, pages: list[_Page], fault: str) -> DataDirError:
        start = index * pages[0].page_size
        return self._error(f"a meta page is damaged: {self._data}, bytes {start} to {start + USED_BYTES - 1}: {fault}")

    def _error(self, what: str) -> DataDirError:
        return DataDirError(f"{what}; {_ADVICE}", path=str(self._data))


def _parsed(data: bytes) -> _Page:
    if len(data) < USED_BYTES:
        return _Page(data, 0, 0, "it is cut")
    _, _, flags, _ = _PAGE.unpack_from(data)
    magic, version, _, map_size, *trees, last_page, transaction = _META.unpack_from(data, _PAGE.size)
    page_size = trees[0]
    fault = None
    if magic != _MAGIC or not flags & _P_META:
        fault = "it is no meta page of LMDB"
    elif version != _DATA_VERSION:
        fault = f"it is of another format, {version}"
    elif not 256 <= page_size <= 65536 or page_size & (page_size - 1):
        fault = f"a page size of {page_size}"
    elif not (last_page + 1) * page_size <= map_size <= _LARGEST_MAP:
        fault = f"a map of {map_size} bytes for {last_page + 1} pages"
    elif not (_is_tree(trees[:8], last_page) and _is_tree(trees[8:], last_page)):
        fault = "a tree that cannot be"
    return _Page(data, transaction, page_size if fault is None else 4096, fault)


def _is_tree(tree: list[Any], last_page: int) -> bool:
    _, _, depth, *_, root = tree
    return bool(root == _NO_PAGE if depth == 0 else depth <= _DEEPEST and 2 <= root <= last_page)
