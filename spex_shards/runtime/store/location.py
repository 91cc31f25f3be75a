"""A place that is read while no manager uses it: a data directory, or a namespace of a database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataDirError
from ..data_dir import DataDir, OwnerLock, no_data_dir
from .note import check_own
from .opening import LocalStores
from .port import Stores

Where = str | os.PathLike[str]
"""The path of a data directory, or the URL of a namespace."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where the stores of some shards are.

    Attributes:
        shown: Its path or URL, without a password.
        shards: The number of its shards.
        stores: Their stores.
        directory: The data directory; None: it is a namespace.
        lock: The descriptor of the directory's lock, or -1.
    """

    shown: str
    shards: int
    stores: Stores
    directory: DataDir | None
    lock: int = -1


def is_url(where: Where) -> bool:
    """Return whether a place is named by the URL of a database."""
    from .postgres import namespace  # here and below: most programs use no database

    return namespace.is_url(where)


def shown(where: Where) -> str:
    """Return a place's name as it may be shown: without a password.

    Raises:
        ValueError: It is a malformed URL.
    """
    from .postgres.namespace import Namespace

    return Namespace.of(os.fspath(where)).shown if is_url(where) else os.fspath(where)


def shards_of(where: Where) -> int | None:
    """Return the number of a place's shards, or None if there is no such place yet.

    Raises:
        DataDirError: It is damaged, of a newer format, or must not be used now.
        StoreLost: The database cannot be reached.
    """
    if not is_url(where):
        return DataDir(Path(where).absolute()).shards()
    from .postgres.namespace import Namespace
    from .postgres.places import PostgresStores

    stores = PostgresStores(Namespace.of(os.fspath(where)))
    found = stores.look()
    if found is not None:
        stores.check(found)
    return None if found is None else found.shards


@contextmanager
def reading(where: Where) -> Iterator[Location]:
    """Return a place within a ``with`` block. A directory is locked meanwhile; a namespace may be in use.

    Raises:
        DataDirLocked: A manager uses the directory.
        DataDirError: It is no such place, is damaged, or must not be used now.
        StoreLost: The database cannot be reached.
    """
    count = shards_of(where)
    if is_url(where):
        from .postgres.namespace import Namespace
        from .postgres.places import PostgresStores

        namespace = Namespace.of(os.fspath(where))
        if count is None:
            text = f"there is no namespace {namespace.name} in the database: {namespace.shown}"
            raise DataDirError(f"{text}; no manager has used it yet, or its name is another", place=namespace.shown)
        yield Location(namespace.shown, count, PostgresStores(namespace), None)
        return
    directory = DataDir(Path(where).absolute())
    if count is None:
        raise no_data_dir(where)
    with OwnerLock(directory, reading=True) as lock:
        check_own(directory)
        yield Location(str(directory.path), count, LocalStores(directory), directory, lock.descriptor)
