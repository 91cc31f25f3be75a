"""The store of a shard's rows: a port (get, range, atomic apply), its adapters, and the batch over it."""

from .batch import Batch
from .failures import LogBroken, StoreLost
from .memory import MemoryStore
from .port import TABLES, Store

__all__ = ["TABLES", "Batch", "LogBroken", "MemoryStore", "Store", "StoreLost"]
