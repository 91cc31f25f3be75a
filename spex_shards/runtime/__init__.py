"""The shard runtime: durable, supervised, sharded state for multi-core Python, each call applied exactly once.

It knows no specification. `Shards` runs a `Service` of the application's on processes of its own; Spex is such a
service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..errors import OperationFailed
    from ..errors import ServiceError as Error
    from .declared import Service, command, query
    from .rows import Rows
    from .service import Call
    from .shard_info import ShardInfo, ShardStatus
    from .shards import Shards, connect

__all__ = [
    "Call",
    "Error",
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
    "Call": ".service:Call",
    "Error": "..errors:ServiceError",
    "OperationFailed": "..errors:OperationFailed",
    "Rows": ".rows:Rows",
    "Service": ".declared:Service",
    "ShardInfo": ".shard_info:ShardInfo",
    "ShardStatus": ".shard_info:ShardStatus",
    "Shards": ".shards:Shards",
    "command": ".declared:command",
    "connect": ".shards:connect",
    "query": ".declared:query",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        module, _, attribute = _LATER[name].partition(":")
        value = getattr(import_module(module, __name__), attribute)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
