"""Instance managers: the objects that users hold."""

from .base import InstanceManager
from .sharded import AttachedInstanceManager, ShardedInstanceManager, connect
from .simple import SimpleInstanceManager

__all__ = ["AttachedInstanceManager", "InstanceManager", "ShardedInstanceManager", "SimpleInstanceManager", "connect"]
