"""The service that a data directory belongs to, as its shards record it, against the class that a caller names."""

from __future__ import annotations

from ..errors import DataDirError
from ..runtime.data_dir import DataDir
from ..runtime.declared import Service
from ..runtime.hosting import name_of, service_of
from ..runtime.store import Batch
from ..runtime.store.meta_pages import DATA
from ..runtime.store.opening import open_view
from .service_rows import RowRouting


def recorded_service(directory: DataDir) -> str | None:
    """Return the name of the service that a directory belongs to; None stands for Spex, or for nothing stored yet.

    Raises:
        DataDirError: A shard's store cannot be opened.
        StoreError: The row with the name is damaged.
    """
    layout = directory.read_layout()
    for index in range(layout.shards if layout else 0):
        path = directory.shard(index)
        if not (path / DATA).exists():
            continue
        view = open_view(path)
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


def routing_for(directory: DataDir, recorded: str | None, service: type[Service]) -> RowRouting:
    """Return what says where the rows of a directory belong, by the class that a caller has named.

    Args:
        directory: The directory.
        recorded: The name of the service that it belongs to; None: Spex.
        service: The class.

    Raises:
        TypeError: It is no service.
        DataDirError: The directory belongs to another service, or this one has no `routing_key`.
    """
    routing = RowRouting(service)
    if recorded != name_of(service):
        owner = "Spex" if recorded is None else f"the service {recorded}"
        text = f"{directory.path} belongs to {owner}, and not to the service {name_of(service)}"
        raise DataDirError(text, path=str(directory.path))
    return routing
