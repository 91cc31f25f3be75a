"""What users hold: instance managers, on one engine in the process or on many in shards."""

from .attached import AttachedInstanceManager, connect
from .base import InstanceManager
from .sharded import ShardedInstanceManager
from .simple import SimpleInstanceManager

__all__ = ["AttachedInstanceManager", "InstanceManager", "ShardedInstanceManager", "SimpleInstanceManager", "connect"]
