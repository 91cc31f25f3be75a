"""An open shard: its store, the batch that gathers changes, and the service that makes them."""

from __future__ import annotations

from dataclasses import dataclass

from .service import Host, Service
from .store import Batch
from .store.port import ShardStore, StoreOptions, Stores
from .watch import Watch


@dataclass(slots=True, eq=False)
class Shard:
    """One shard, open in this process.

    Attributes:
        store: Keeps the committed batches.
        batch: Gathers the changes of the requests that are being carried out.
        service: Carries requests out, in the batch.
    """

    store: ShardStore
    batch: Batch
    service: Service


def open_shard(stores: Stores, index: int, host: Host, options: StoreOptions, watch: Watch, now: int) -> Shard:
    """Open a shard's store, and return the shard with its service; a failure closes the store again.

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
    """Return a shard over a store that is already open.

    Raises:
        StoreError: A row that must be read at the start is damaged.
    """
    batch = Batch(store)
    service = host.service(batch, watch, now)
    batch.commit()
    return Shard(store, batch, service)
