"""Where a shard keeps its rows: a port (get, range, apply at once), its adapters, and the batch over it."""

from .batch import Batch
from .memory import MemoryStore
from .port import TABLES, Store
from .redo_log import LogBroken

__all__ = ["TABLES", "Batch", "LogBroken", "MemoryStore", "Store"]
