"""Event logs, ``.xes``, ``.csv`` and ``.jsonl``, each also with ``.gz``: reading them, and checking their cases.

::

    file ── source ──┬── xes ─────┬── attributes ── collector ── EventLog
     (gz, limits)    └── tables ──┘   (names, times)  (time order)      │
                                                        conformance ◀───┘
"""

from .attributes import Attributes
from .collector import EventLog
from .conformance import Conformance, EarlyEnd, PartingGroup, Variant, conform
from .reader import read_log
from .source import FORMATS, LogError

__all__ = [
    "FORMATS",
    "Attributes",
    "Conformance",
    "EarlyEnd",
    "EventLog",
    "LogError",
    "PartingGroup",
    "Variant",
    "conform",
    "read_log",
]
