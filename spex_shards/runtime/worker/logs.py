"""What is logged in a shard, on its way to the application."""

from __future__ import annotations

import logging
from typing import Any

from ...errors import encodable

_formatter = logging.Formatter()


class LogCapture(logging.Handler):
    """Takes every record logged in the shard.

    Attributes:
        target: The list that records go to just now.
        outside: The list for those of no request.
    """

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.outside: list[Any] = []
        self.target = self.outside

    def install(self) -> None:
        """Take the place of all handlers of the root logger, and take warnings too."""
        root = logging.getLogger()
        root.handlers[:] = [self]
        root.setLevel(self.level)
        logging.captureWarnings(capture=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Put a record's plain form into the current list."""
        try:
            self.target.append(record_plain(record))
        except Exception:
            self.handleError(record)


def record_plain(record: logging.LogRecord) -> list[Any]:
    """Return a log record as data: what it says is formatted already."""
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
        bool(getattr(record, "spex_default_handler", False)),
    ]
