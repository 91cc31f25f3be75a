"""Log records of shards in the application's logging, and where the application made the call."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import FrameType
from typing import Any

_PACKAGE = str(Path(__file__).resolve().parent)


def call_site() -> str:
    """Return "file:line in function" of the nearest frame outside this package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


def emit(plain: list[Any], shard: int, pid: int | None, *, called_here: bool) -> None:
    """Hand a shard's log record to the logger of its name in this process.

    Args:
        plain: The record as the shard sent it.
        shard: The shard's index; also `record.shard`.
        pid: The worker's process id; also `record.process`.
        called_here: Whether the application's call is on this thread's stack: its place goes into the record.
    """
    name, level, text, created, pathname, line, function, traceback_text, of_default_handler = plain
    logger = logging.getLogger(name)
    if not logger.isEnabledFor(level):
        return
    site = call_site() if called_here and of_default_handler else None
    message = f"[shard {shard}, pid {pid}] {text}" + (f" (called from {site})" if site else "")
    record = logging.LogRecord(name, level, pathname, line, message, None, None, function)
    record.created, record.msecs = created, (created % 1) * 1000
    record.exc_text = traceback_text
    record.process, record.processName = pid, f"shard-{shard}"
    record.shard = shard
    record.call_site = site
    logger.handle(record)
