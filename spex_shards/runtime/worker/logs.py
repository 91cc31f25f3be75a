"""Captures the log records of a shard, which are sent to the application."""

from __future__ import annotations

import logging
from typing import Any

from ...errors import encodable, show
from ...log_fields import CARRIED
from ..protocol.records import encode_value

_formatter = logging.Formatter()


class LogCapture(logging.Handler):
    """A handler that collects every log record of the shard.

    Args:
        level: Records below it are dropped.

    Attributes:
        target: The list that new records are appended to.
        outside: The list for records that belong to no request.
    """

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.outside: list[Any] = []
        self.target = self.outside

    def install(self) -> None:
        """Replace all handlers of the root logger by this one, and capture warnings as well."""
        root = logging.getLogger()
        root.handlers[:] = [self]
        root.setLevel(self.level)
        logging.captureWarnings(capture=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Append the record's plain form to the current list."""
        try:
            self.target.append(record_plain(record))
        except Exception:
            self.handleError(record)


def record_plain(record: logging.LogRecord) -> list[Any]:
    """Return a log record as plain values, with its message and traceback already formatted."""
    text = record.exc_text
    if record.exc_info and not text:
        text = _formatter.formatException(record.exc_info)
    return [
        encodable(record.name),
        record.levelno,
        encodable(record.getMessage()),
        record.created,
        encodable(record.pathname),
        record.lineno,
        record.funcName,
        None if text is None else encodable(text),
        _fields(record),
    ]


def _fields(record: logging.LogRecord) -> bytes | bool:
    """Return what the record is about; where an older version has whether the default handler wrote it."""
    fields = {name: getattr(record, name) for name in CARRIED if getattr(record, name, None) is not None}
    if getattr(record, "spex_default_handler", False):
        fields["spex_default_handler"] = True
    if not fields:
        return False
    try:
        return encode_value(fields)
    except (TypeError, ValueError):
        texts = {name: value if isinstance(value, str) else show(value) for name, value in fields.items()}
        return encode_value({name: encodable(text) for name, text in texts.items()})
