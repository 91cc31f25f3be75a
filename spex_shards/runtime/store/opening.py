"""Opening the store of a shard: to work on it, or to read it as it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import SpexError
from .batch import Batch
from .checkpoint import ForkedCheckpoint
from .files import OsFiles
from .lmdb_store import LmdbStore
from .logged_store import LoggedStore
from .meta_pages import DATA
from .view import StoreView


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How a shard's store is opened.

    Attributes:
        durability: ``"process"`` or ``"disk"``.
        helper_keeps: Descriptors that the helper process of checkpoints keeps; None: checkpoints are written by the
            process that the store is opened in.
        waits_for_room: Whether a batch waits while the store takes nothing more; else it is refused with `StoreFull`.
        on_wait: Called now and then while it waits.
    """

    durability: str
    helper_keeps: Sequence[int] | None = None
    waits_for_room: bool = True
    on_wait: Callable[[], None] = lambda: None


def open_store(path: Path, options: StoreOptions) -> LoggedStore:
    """Open a shard's store.

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
    """Open a shard's store and its log for reading, as they are; also where nothing can be written.

    Raises:
        DataDirError: They cannot be opened.
    """
    base = LmdbStore(path, sync=True, reading=path.exists() and not os.access(path, os.W_OK))
    try:
        return StoreView(base, OsFiles(path))
    except BaseException:
        base.close()
        raise


def read_stores(paths: Iterable[Path], read: Callable[[Batch], Any]) -> list[Any]:
    """Return what `read` finds in each store that is there.

    One that cannot be read is left out: its own shard says why when it starts.
    """
    found = []
    for path in paths:
        if not (path / DATA).exists():
            continue
        try:
            store = open_view(path)
            try:
                found.append(read(Batch(store)))
            finally:
                store.close()
        except SpexError:
            continue
    return found
