"""Maintenance of a data directory: `verify`, `backup`, `restore`, and `reshard` (another number of shards)."""

from .copies import backup, restore
from .directory import verify
from .findings import Finding
from .resharding import Resharded, reshard

__all__ = ["Finding", "Resharded", "backup", "reshard", "restore", "verify"]
