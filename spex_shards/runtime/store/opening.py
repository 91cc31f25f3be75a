"""Opens the store of a shard: for its worker, or only for reading."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ...errors import SpexError
from ..data_dir import DataDir
from .batch import Batch
from .checkpoint import ForkedCheckpoint
from .files import OsFiles
from .lmdb_store import LmdbStore
from .logged_store import LoggedStore
from .meta_pages import DATA
from .note import check_own
from .port import StoreOptions, Stores
from .view import StoreView


def open_store(path: Path, options: StoreOptions) -> LoggedStore:
    """Return the store in a shard's folder, opened for reading and writing; it is created if there is none.

    Raises:
        DataDirError: The environment or its log cannot be opened.
    """
    base = LmdbStore(path, sync=True)
    try:
        helper = None if options.helper_keeps is None else ForkedCheckpoint(base, options.helper_keeps)
        return LoggedStore(
            base,
            OsFiles(path),
            sync_each=options.durability == "disk",
            checkpointer=helper,
            on_wait=options.on_wait,
            waits_for_room=options.waits_for_room,
        )
    except BaseException:
        base.close()
        raise


def open_view(path: Path) -> StoreView:
    """Return the store in a shard's folder with the content of its log, for reading; also without write permission.

    Raises:
        DataDirError: They cannot be opened.
    """
    base = LmdbStore(path, sync=True, reading=path.exists() and not os.access(path, os.W_OK))
    try:
        return StoreView(base, OsFiles(path))
    except BaseException:
        base.close()
        raise


class LocalStores:
    """The stores of a data directory: each shard has a folder with an LMDB environment and a redo log.

    Args:
        directory: The directory.
    """

    def __init__(self, directory: DataDir) -> None:
        self._directory = directory

    def begin(self, shards: int, *, resumes: bool = False) -> list[str]:  # noqa: ARG002 - the lock says who uses it
        """Record the number of shards in a new directory, or compare it; there are no warnings."""
        check_own(self._directory)
        self._directory.check_layout(shards)
        return []

    def leave(self) -> None:
        """Do nothing: the directory's lock says who uses it."""

    def exists(self, shard: int) -> bool:
        """Return whether a shard has a store."""
        return (self._directory.shard(shard) / DATA).exists()

    def open(self, shard: int, options: StoreOptions) -> LoggedStore:
        """Open a shard's store, and create it if there is none."""
        return open_store(self._directory.shard(shard), options)

    def view(self, shard: int) -> StoreView:
        """Open a shard's store for reading."""
        return open_view(self._directory.shard(shard))


def stores_of(directory: DataDir, store: str | None, durability: str, joins: str | None = None) -> Stores:
    """Return the stores of a data directory's shards.

    Args:
        directory: The data directory.
        store: The URL of the database that they are in; None: they are files of the directory.
        durability: As in `StoreOptions`.
        joins: For a member of a cluster: its name; the database is used together with the other members.

    Raises:
        ValueError: The URL is malformed.
    """
    if store is None:
        return LocalStores(directory)
    from .postgres.namespace import Namespace
    from .postgres.places import PostgresStores

    if joins is not None:
        return PostgresStores(Namespace.of(store), durability, user=joins, joins=True)
    return PostgresStores(Namespace.of(store), durability, directory)


def read_stores(stores: Stores, shards: Iterable[int], read: Callable[[Batch], Any]) -> list[Any]:
    """Return the results of calling `read` with the batch of each store that exists.

    A store that cannot be read is left out. Its shard reports the error when it starts.
    """
    found = []
    for shard in shards:
        if not stores.exists(shard):
            continue
        try:
            store = stores.view(shard)
            try:
                found.append(read(Batch(store)))
            finally:
                store.close()
        except SpexError:
            continue
    return found
