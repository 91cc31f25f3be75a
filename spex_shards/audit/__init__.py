"""Looking after a data directory: is everything in it as it must be, copies of it, and another number of shards."""

from .findings import Finding
from .verify import verify

__all__ = ["Finding", "verify"]
