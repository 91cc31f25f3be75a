"""The state of a manager's shards, for systems that collect metrics.

`vitals` asks the shards, at a bounded cost. `metrics` says what is exported, and `prometheus` writes it as text.
"""

from .metrics import METRICS, Metric
from .prometheus import CONTENT_TYPE, exposition
from .vitals import ShardVitals, Vitals

__all__ = ["CONTENT_TYPE", "METRICS", "Metric", "ShardVitals", "Vitals", "exposition"]
