"""The service that a data directory belongs to, as its shards record it, against the class that a caller names."""

from __future__ import annotations

from ..errors import DataDirError
from ..runtime.declared import Service
from ..runtime.hosting import name_of, service_of
from ..runtime.store import Batch
from ..runtime.store.port import Stores
from .service_rows import RowRouting


def recorded_service(stores: Stores, shards: int) -> str | None:
    """Return the name of the service that some shards belong to; None stands for Spex, or for nothing stored yet.

    Raises:
        DataDirError: A shard's store cannot be opened.
        StoreError: The row with the name is damaged.
    """
    for index in range(shards):
        if not stores.exists(index):
            continue
        view = stores.view(index)
        try:
            batch = Batch(view)
            name = service_of(batch)
            is_of_spex = name is None and bool(batch.first("specifications") or batch.first("clients"))
        finally:
            view.close()
        if name is not None or is_of_spex:
            return name
        # Nothing is in this shard; where the process that made it was killed at once, the name is not either.
    return None


def routing_for(shown: str, recorded: str | None, service: type[Service]) -> RowRouting:
    """Return what says where the rows of a directory belong, by the class that a caller has named.

    Args:
        shown: The place, for messages.
        recorded: The name of the service that it belongs to; None: Spex.
        service: The class.

    Raises:
        TypeError: It is no service.
        DataDirError: The directory belongs to another service, or this one has no `routing_key`.
    """
    routing = RowRouting(service)
    if recorded != name_of(service):
        owner = "Spex" if recorded is None else f"the service {recorded}"
        text = f"{shown} belongs to {owner}, and not to the service {name_of(service)}"
        raise DataDirError(text, path=shown)
    return routing
