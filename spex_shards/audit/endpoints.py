"""The two endpoints of a move: a data directory, and a namespace of a database."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import DataDirError
from ..runtime.data_dir import DataDir, OwnerLock, no_data_dir
from ..runtime.store.location import Where, is_url
from ..runtime.store.note import (
    ARRIVING,
    LEAVING,
    StoreNote,
    has_own_stores,
    read_note,
    remove_note,
    write_note,
)
from ..runtime.store.opening import LocalStores
from ..runtime.store.port import ShardStore, StoreOptions, Stores


class Endpoint(ABC):
    """The source or target of a move.

    Attributes:
        shown: Its path or URL, without a password.
        stores: Its stores.
    """

    shown: str
    stores: Stores

    @abstractmethod
    def shards(self) -> int:
        """Return the number of shards of a source.

        Raises:
            DataDirError: It is not there, or is damaged.
        """

    @abstractmethod
    def identity(self) -> bytes:
        """Return what identifies the place, if it has an identity."""

    @abstractmethod
    def is_in_use(self) -> bool:
        """Return whether a manager could use it: it is there, and no move of it is unfinished."""

    @abstractmethod
    def is_leaving(self, target: str) -> bool:
        """Return whether a move of it to a place was begun."""

    @abstractmethod
    def has_moved(self, target: Endpoint) -> bool:
        """Return whether it was moved to a place."""

    @abstractmethod
    def check_leaves(self, target: str) -> None:
        """Check that it may be moved to a place.

        Raises:
            DataDirError: It was moved, or is being moved elsewhere.
        """

    @abstractmethod
    def leave(self, target: str) -> None:
        """Mark it as being moved to a place; nobody uses it from then on."""

    @abstractmethod
    def moved(self, target: Endpoint) -> None:
        """Mark it as moved."""

    @abstractmethod
    def arrive(self, source: Endpoint, shards: int) -> None:
        """Make it, marked as the target of a move, or find it like that.

        Raises:
            DataDirError: It holds something else.
        """

    @abstractmethod
    def arrived(self, source: str) -> None:
        """Mark it as usable."""

    def open(self, shard: int) -> ShardStore:
        """Open a shard's store of a target."""
        return self.stores.open(shard, StoreOptions("disk"))


class DirectoryEndpoint(Endpoint):
    """A data directory, locked.

    Args:
        directory: The directory.
    """

    def __init__(self, directory: DataDir) -> None:
        self._directory = directory
        self.shown = str(directory.path)
        self.stores = LocalStores(directory)

    def shards(self) -> int:
        """Return the number of shards."""
        found = self._directory.shards()
        if found is None:
            raise no_data_dir(self._directory.path)
        return found

    def identity(self) -> bytes:
        """Return nothing: a directory is known by its path."""
        return b""

    def is_in_use(self) -> bool:
        """Return whether its shards are its own files, and complete."""
        return self._directory.read_layout() is not None and read_note(self._directory) is None

    def is_leaving(self, target: str) -> bool:
        """Return whether a move of it to a place was begun."""
        note = read_note(self._directory)
        return note is not None and note.state == LEAVING and note.shown == target

    def has_moved(self, target: Endpoint) -> bool:
        """Return whether it was moved to a place."""
        note = read_note(self._directory)
        return note is not None and not note.state and note.identity == target.identity()

    def check_leaves(self, target: str) -> None:
        """Check that it may be moved to a place."""
        note = read_note(self._directory)
        if note is not None and not self.is_leaving(target):
            note.refuse(self._directory)

    def leave(self, target: str) -> None:
        """Mark it as being moved."""
        write_note(self._directory, StoreNote(target, b"", LEAVING))

    def moved(self, target: Endpoint) -> None:
        """Note where its shards are now; a manager with that store may go on using it."""
        write_note(self._directory, StoreNote(target.shown, target.identity()))

    def arrive(self, source: Endpoint, shards: int) -> None:
        """Make the directory, or empty the one that the source came from."""
        note = read_note(self._directory)
        if note is not None and note.state == ARRIVING and note.identity == source.identity():
            self._directory.check_layout(shards)  # a move into it was begun
            return
        was_there = note is not None and note.identity == source.identity() and not note.state
        if not was_there and (note is not None or self._directory.read_layout() is not None):
            text = f"{self.shown} holds something else: move into a new directory"
            raise DataDirError(text, path=self.shown)
        if has_own_stores(self._directory):  # what was moved from here into the source
            for folder in self._directory.path.glob("shard-*"):
                shutil.rmtree(folder)
        write_note(self._directory, StoreNote(source.shown, source.identity(), ARRIVING))
        self._directory.check_layout(shards)

    def arrived(self, source: str) -> None:  # noqa: ARG002 - a namespace notes it
        """Its shards are its own files."""
        remove_note(self._directory)


@contextmanager
def endpoint_of(where: Where, *, makes: bool = False) -> Iterator[Endpoint]:
    """Return the source or target of a move within a ``with`` block; a directory is locked meanwhile.

    Args:
        where: The path of a directory, or the URL of a namespace.
        makes: Whether to make the directory if there is none.

    Raises:
        DataDirError: There is no such directory.
        DataDirLocked: A manager uses the directory.
        ValueError: The URL is malformed.
    """
    if is_url(where):
        from .namespace_endpoint import NamespaceEndpoint  # only where a database is named

        yield NamespaceEndpoint(os.fspath(where))
        return
    directory = DataDir(Path(where).absolute())
    if makes:
        directory.make()
    elif not directory.path.exists():
        raise no_data_dir(where)
    with OwnerLock(directory):
        yield DirectoryEndpoint(directory)
