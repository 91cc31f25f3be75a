"""Reads a data directory while no manager runs on it: no timer fires, nothing is pruned, no row is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..checking.union import united
from ..domain.transition import Transition
from ..engine import stored_models
from ..engine.rows import key_of
from ..runtime.data_dir import DataDir, OwnerLock, no_data_dir
from ..runtime.protocol import routing
from ..runtime.protocol.codec import canonical
from ..runtime.store import Batch
from ..runtime.store.opening import LocalStores


def shards_of(path: Path) -> int | None:
    """Return the number of shards of a data directory, or None if it has no layout record (yet).

    Raises:
        DataDirError: Its layout record is damaged, or of a newer format.
    """
    return DataDir(path.absolute()).shards()


def learned_models(path: Path) -> dict[str, frozenset[Transition]]:
    """Return the union of what all shards of a data directory have learned, by specification.

    Raises:
        DataDirLocked: A manager runs on it.
        DataDirError: It is not a data directory, is damaged, or a shard cannot be opened.
        StoreError: A row is damaged.
    """
    models = (item for _, batch in open_shards(path) for item in stored_models(batch).items())
    return {
        model.specification: model.transitions for model in united((name, m.transitions, True) for name, m in models)
    }


def held(path: Path, identifiers: Iterable[Any]) -> list[Any]:
    """Return those of `identifiers` that have an instance in a data directory.

    Raises:
        DataDirLocked, DataDirError: See `learned_models`.
    """
    table = routing.table(shards_of(path) or 1)
    keys: dict[int, dict[bytes, Any]] = {}
    for identifier in identifiers:
        name = canonical(identifier)
        keys.setdefault(table[routing.slot_of(name)], {})[key_of(name)] = identifier
    found: list[Any] = []
    for index, batch in open_shards(path):
        found += _held_by(batch, keys.get(index, {}))
    return found


def _held_by(batch: Batch, keys: Mapping[bytes, Any]) -> list[Any]:
    return [identifier for key, identifier in keys.items() if batch.get("instances", key) is not None]


def open_shards(path: Path) -> Iterator[tuple[int, Batch]]:
    """Yield the index and batch of each shard with a store, one open at a time; the directory is locked meanwhile."""
    directory = DataDir(path.absolute())
    shards = directory.shards()
    if shards is None:
        raise no_data_dir(path)
    stores = LocalStores(directory)
    with OwnerLock(directory, reading=True):
        for index in range(shards):
            if stores.exists(index):
                store = stores.view(index)
                try:
                    yield index, Batch(store)
                finally:
                    store.close()
