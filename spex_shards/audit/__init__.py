"""Maintenance of a data directory: `verify`, `backup`, `restore`, `reshard` (another number of shards), `move`."""

from .copies import backup, restore
from .directory import verify
from .findings import Finding
from .relocation import Relocated, move
from .resharding import Resharded, reshard

__all__ = ["Finding", "Relocated", "Resharded", "backup", "move", "reshard", "restore", "verify"]
