"""Instance managers: the objects that users hold."""

from .base import InstanceManager
from .sharded import AttachedInstanceManager, ShardedInstanceManager, connect
from .shared import SharedInstanceManager
from .simple import SimpleInstanceManager

__all__ = [
    "AttachedInstanceManager",
    "InstanceManager",
    "ShardedInstanceManager",
    "SharedInstanceManager",
    "SimpleInstanceManager",
    "connect",
]
