"""The store of a shard's rows: a port (get, range, atomic apply), its adapters, and the batch over it."""

from .batch import Batch
from .memory import MemoryStore
from .port import TABLES, Store
from .redo_log import LogBroken

__all__ = ["TABLES", "Batch", "LogBroken", "MemoryStore", "Store"]
