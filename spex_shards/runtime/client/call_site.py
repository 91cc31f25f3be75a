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

from ...log_fields import CARRIED, about
from ..protocol.records import decode_value

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
    name, level, text, created, pathname, line, function, traceback_text, sent = plain
    logger = logging.getLogger(name)
    if not logger.isEnabledFor(level):
        return
    fields = _fields(sent)
    site = call_site() if called_here and fields.get("spex_default_handler") else None
    message = f"[shard {shard}, pid {pid}] {text}" + (f" (called from {site})" if site else "")
    record = logging.LogRecord(name, level, pathname, line, message, None, None, function)
    record.created, record.msecs = created, (created % 1) * 1000
    record.exc_text = traceback_text
    record.process, record.processName = pid, f"shard-{shard}"
    record.__dict__.update(fields)
    record.shard, record.pid = shard, pid
    record.call_site = site
    logger.handle(record)


def _fields(sent: Any) -> dict[str, Any]:
    """Return what a shard's record is about. An older version sends only whether the default handler wrote it."""
    if not isinstance(sent, bytes):
        return {"spex_default_handler": bool(sent)}
    fields = decode_value(sent)
    return {name: fields[name] for name in (*CARRIED, "spex_default_handler") if name in fields}


def emit_all(records: Iterable[Any], shard: int, pid: int | None) -> None:
    """Hand the log records of an answer to this process's loggers, in the call that gets the answer."""
    for plain in records:
        try:
            emit(plain, shard, pid, called_here=True)
        except Exception:  # a log filter of the application may raise anything; the call must get its answer
            with suppress(Exception):
                fields, logger = about("record_lost", shard=shard), logging.getLogger("spex_shards")
                logger.exception("a log record of shard %d could not be delivered", shard, extra=fields)


def locate(record: logging.LogRecord) -> bool:
    """Add the place of the application's call to a record of the default handler; a logging filter."""
    if getattr(record, "spex_default_handler", False) and getattr(record, "call_site", None) is None:
        site = call_site()
        record.call_site = site
        if site:
            record.msg, record.args = f"{record.getMessage()} (called from {site})", None
    return True
