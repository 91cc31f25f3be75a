"""Reading event logs: ``.xes``, ``.csv`` and ``.jsonl``, each also with ``.gz``.

::

    file ── source ──┬── xes ─────┬── attributes ── collector ── EventLog
     (gz, limits)    └── tables ──┘   (names, times)  (time order)
"""

from .attributes import Attributes
from .collector import EventLog
from .reader import read_log
from .source import FORMATS, LogError

__all__ = ["FORMATS", "Attributes", "EventLog", "LogError", "read_log"]
