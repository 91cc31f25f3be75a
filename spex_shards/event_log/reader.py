"""`read_log`: reads a log of any supported format."""

from __future__ import annotations

from pathlib import Path

from .attributes import Attributes
from .collector import Collector, EventLog
from .source import Progress, format_of, opened
from .tables import read_csv, read_jsonl
from .xes import read_xes

_READERS = {"xes": read_xes, "csv": read_csv, "jsonl": read_jsonl}


def read_log(path: Path, attributes: Attributes, progress: Progress | None = None) -> EventLog:
    """Read an event log as a stream; only the selected attributes are kept in memory.

    Args:
        path: A file whose name ends in ``.xes``, ``.csv`` or ``.jsonl``, optionally followed by ``.gz``.
        attributes: The attributes to read, see `Attributes.of`.
        progress: Called now and then with the number of bytes of the file read so far.

    Raises:
        LogError: The file cannot be read, is malformed or too large, lacks an attribute, or has an unreadable
            timestamp. The text names the file, the case and event (from 1 in its case) or the line, the rule, and what
            was found.
    """
    collector = Collector()
    read = _READERS[format_of(path)]
    with opened(path, progress) as stream:
        read(path, stream, attributes, collector)
    return collector.result()
