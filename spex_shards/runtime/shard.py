"""A shard that is open: its store, the batch that gathers changes, and the service that works in it."""

from __future__ import annotations

from dataclasses import dataclass

from .service import Host, Service, Watch
from .store import Batch
from .store.port import ShardStore, StoreOptions, Stores


@dataclass(slots=True, eq=False)
class Shard:
    """One shard, open in this process.

    Attributes:
        store: Where batches are kept.
        batch: What gathers the changes of the requests at hand.
        service: What carries requests out, in the batch.
    """

    store: ShardStore
    batch: Batch
    service: Service


def open_shard(stores: Stores, index: int, host: Host, options: StoreOptions, watch: Watch, now: int) -> Shard:
    """Open a shard's store and have its service made.

    Raises:
        DataDirError: The environment or its log cannot be opened.
        StoreError: A row that must be read at the start is damaged.
    """
    store = stores.open(index, options)
    try:
        return shard_over(store, host, watch, now)
    except BaseException:
        store.close()
        raise


def shard_over(store: ShardStore, host: Host, watch: Watch, now: int) -> Shard:
    """Return a shard over a store that is open.

    Raises:
        StoreError: A row that must be read at the start is damaged.
    """
    batch = Batch(store)
    service = host.service(batch, watch, now)
    batch.commit()
    return Shard(store, batch, service)
