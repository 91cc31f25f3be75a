"""`AsyncClusterInstanceManager`: uses the shards of a cluster from the coroutines of one event loop of asyncio."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Unpack

from ..domain.specification import Specification
from ..runtime.cluster.tls import TlsOptions
from .async_lifetime import AsyncLifetime
from .asynchronous import AsyncInstanceManager
from .behind import Behind
from .clustered import Clustered, join
from .options import ModeOptions, unknown_options


class ClusterClientOptions(ModeOptions, total=False):
    """The options of a cluster's client; see `ClusterInstanceManager`."""

    store: str
    namespace: str | None
    address: str
    partitions: int | None
    token: str | None
    token_file: str | os.PathLike[str] | None
    specifications: Iterable[type[Specification] | str]
    call_timeout: float | timedelta
    max_unacknowledged: int
    max_frame_bytes: int
    takeover_timeout: float | timedelta
    ping: float | timedelta
    allow_shipped_code: bool
    on_message: Callable[[Any], None] | None
    tls: TlsOptions | None


class AsyncClusterInstanceManager(AsyncInstanceManager):
    """An instance manager for coroutines that uses the shards of a cluster, with their state in PostgreSQL.

    It has the calls of `AsyncInstanceManager`, and finds shards as `ClusterInstanceManager` does: a thread looks for
    them and connects; the loop itself reads and writes the connections of its requests.

    Args:
        **options: The options of `ClusterInstanceManager`, but `spin`: a loop has other work to do.

    Attributes:
        cluster: Where the shards are.

    Raises:
        TypeError: `on_message` is a coroutine function, or an option is unknown.
        ValueError: A value breaks its option's rule.
    """

    def __init__(self, **options: Unpack[ClusterClientOptions]) -> None:
        unknown = options.keys() - ClusterClientOptions.__annotations__.keys()
        if unknown:
            raise TypeError(unknown_options(unknown, ClusterClientOptions.__annotations__))
        behind = BehindCluster(options)
        AsyncLifetime.__init__(self, behind)
        self.cluster = behind.cluster


class BehindCluster(Behind, Clustered):
    """The manager behind an asyncio manager of a cluster.

    Args:
        given: The options that were given.
    """

    instead = "make another AsyncClusterInstanceManager there"

    def __init__(self, given: Mapping[str, Any]) -> None:
        named = {name: value for name, value in given.items() if name not in ("token", "tls")}
        token = given.get("token")
        if token is not None:
            named.setdefault("token_file", None)  # as for the blocking manager
        super().__init__(join, self.reach({**named, **(given.get("tls") or {})}, token))

    @property
    def place(self) -> str:
        """The database, without its password, and the namespace."""
        return self.cluster.place.shown
