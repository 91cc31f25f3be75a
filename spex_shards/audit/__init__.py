"""Looking after a data directory: is everything in it as it must be, copies of it, and another number of shards."""

from .copies import backup, restore
from .directory import verify
from .findings import Finding
from .resharding import Resharded, reshard

__all__ = ["Finding", "Resharded", "backup", "reshard", "restore", "verify"]
