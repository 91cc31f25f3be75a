"""The state of a manager's shards, for systems that collect metrics.

`readings` asks the shards, at a bounded cost. `metrics` says what is exported, and `prometheus` writes it as text.
"""

from .metrics import METRICS, Metric
from .prometheus import CONTENT_TYPE, exposition
from .readings import Readings, ShardReading

__all__ = ["CONTENT_TYPE", "METRICS", "Metric", "Readings", "ShardReading", "exposition"]
