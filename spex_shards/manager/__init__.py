"""What users hold: instance managers, on one engine in the process or on many in shards."""

from .base import InstanceManager
from .sharded import ShardedInstanceManager
from .simple import SimpleInstanceManager

__all__ = ["InstanceManager", "ShardedInstanceManager", "SimpleInstanceManager"]
