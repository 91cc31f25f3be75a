"""Hands log records of shards to the application's logging, and finds where the application made a call."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

_PACKAGE = f"{Path(__file__).resolve().parents[2]}{os.sep}"
_MANAGER = f"{_PACKAGE}manager{os.sep}"


def call_site() -> str | None:
    """Return "file:line in function" of the application's call into a manager on this thread's stack, or None.

    A handler that runs in this process is further up the stack than the manager; it is not the caller.
    """
    frame: FrameType | None = sys._getframe(1)
    in_manager = False
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_MANAGER):
            in_manager = True
        elif in_manager and not file.startswith(_PACKAGE):
            place = f"{file}:{frame.f_lineno} in {frame.f_code.co_name}"
            return None if file == threading.__file__ else place
        frame = frame.f_back
    return None


def emit(plain: list[Any], shard: int, pid: int | None, *, called_here: bool) -> None:
    """Hand a shard's log record to the logger of the same name in this process.

    Args:
        plain: The record as the shard sent it.
        shard: The shard's index; also `record.shard`.
        pid: The worker's process id; also `record.process`.
        called_here: Whether the application's call is on this thread's stack; then the record gets its place in the
            code.
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


def emit_all(records: Iterable[Any], shard: int, pid: int | None) -> None:
    """Hand the log records of an answer to this process's loggers, in the call that gets the answer."""
    for plain in records:
        try:
            emit(plain, shard, pid, called_here=True)
        except Exception:  # a log filter of the application may raise anything; the call must get its answer
            with suppress(Exception):
                logging.getLogger("spex_shards").exception("a log record of shard %d could not be delivered", shard)


def locate(record: logging.LogRecord) -> bool:
    """Add the place of the application's call to a record of the default handler; a logging filter."""
    if getattr(record, "spex_default_handler", False) and not hasattr(record, "call_site"):
        site = call_site()
        record.call_site = site
        if site:
            record.msg, record.args = f"{record.getMessage()} (called from {site})", None
    return True
