"""The shard runtime: durable, supervised, sharded state for multi-core Python, each call applied exactly once.

`Shards` runs an application's `Service` in processes of its own. Spex is one such service; the runtime itself knows
nothing of specifications.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .system.importing import later as _later

if TYPE_CHECKING:
    from ..errors import OperationFailed
    from ..errors import ServiceError as Error
    from .call import Call
    from .cluster.member import Member
    from .clusters import Cluster
    from .declared import Service, command, query
    from .rows import Rows
    from .shard_info import ShardInfo, ShardStatus
    from .shards import Shards, connect

__all__ = [
    "Call",
    "Cluster",
    "Error",
    "Member",
    "OperationFailed",
    "Rows",
    "Service",
    "ShardInfo",
    "ShardStatus",
    "Shards",
    "command",
    "connect",
    "query",
]

_LATER = {
    "Call": ".service",
    "Cluster": ".clusters",
    "Error": "..errors:ServiceError",
    "Member": ".cluster.member",
    "OperationFailed": "..errors",
    "Rows": ".rows",
    "Service": ".declared",
    "ShardInfo": ".shard_info",
    "ShardStatus": ".shard_info",
    "Shards": ".shards",
    "command": ".declared",
    "connect": ".shards",
    "query": ".declared",
}


if not TYPE_CHECKING:  # for a type checker, a module with this function has every name
    __getattr__ = _later(__name__, _LATER, globals())
