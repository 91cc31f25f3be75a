"""Reads a data directory while no manager runs on it, or a namespace: no timer fires, nothing is pruned or written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..checking.union import united
from ..domain.transition import Transition
from ..engine import stored_models
from ..engine.rows import key_of
from ..runtime.protocol import routing
from ..runtime.protocol.codec import canonical
from ..runtime.store import Batch
from ..runtime.store.location import Where, reading, shards_of


def learned_models(where: Where) -> dict[str, frozenset[Transition]]:
    """Return the union of what all shards of a data directory or namespace have learned, by specification.

    Raises:
        DataDirLocked: A manager runs on it.
        DataDirError: It is not a data directory, is damaged, or a shard cannot be opened.
        StoreError: A row is damaged.
    """
    models = (item for _, batch in open_shards(where) for item in stored_models(batch).items())
    return {
        model.specification: model.transitions for model in united((name, m.transitions, True) for name, m in models)
    }


def has_instances(where: Where) -> bool:
    """Return whether a data directory or namespace has any instance.

    Raises:
        DataDirLocked, DataDirError: See `learned_models`.
    """
    return any(True for _, batch in open_shards(where) for _ in batch.range("instances", b"", None))


def held(where: Where, identifiers: Iterable[Any]) -> list[Any]:
    """Return those of `identifiers` that have an instance in a data directory or namespace.

    Raises:
        DataDirLocked, DataDirError: See `learned_models`.
    """
    table = routing.table(shards_of(where) or 1)
    keys: dict[int, dict[bytes, Any]] = {}
    for identifier in identifiers:
        name = canonical(identifier)
        keys.setdefault(table[routing.slot_of(name)], {})[key_of(name)] = identifier
    found: list[Any] = []
    for index, batch in open_shards(where):
        found += _held_by(batch, keys.get(index, {}))
    return found


def _held_by(batch: Batch, keys: Mapping[bytes, Any]) -> list[Any]:
    return [identifier for key, identifier in keys.items() if batch.get("instances", key) is not None]


def open_shards(where: Where) -> Iterator[tuple[int, Batch]]:
    """Yield the index and batch of each shard with a store, one open at a time; a directory is locked meanwhile."""
    with reading(where) as place:
        for index in range(place.shards):
            if place.stores.exists(index):
                store = place.stores.view(index)
                try:
                    yield index, Batch(store)
                finally:
                    store.close()
