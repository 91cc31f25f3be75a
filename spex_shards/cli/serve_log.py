"""The log of ``serve``: every line on stderr is a JSON object, or a line for people."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TextIO, cast

from .output import Remarks, report

RECORD_KEYS: Final = (
    "shard",
    "specification",
    "identifier",
    "transition",
    "verdict",
    "accepted",
    "reason",
    "call_site",
)
"""The fields of the package's log records that are written, if a record has them."""


class LogFormat(StrEnum):
    """The formats of the log."""

    JSON = "json"
    TEXT = "text"


class ServeLog(Remarks):
    """Writes one line for each event; may be used by several threads.

    Each object has `time` (ISO 8601, UTC), `level`, `event` and `pid`, and then the facts of the event.
    """

    def __init__(self, form: LogFormat) -> None:
        self._form = form
        self._one_at_a_time = threading.Lock()

    def say(self, event: str, level: str = "info", **facts: Any) -> None:
        """Write an event."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self._form is LogFormat.JSON:
            line = json.dumps({"time": now, "level": level, "event": event, "pid": os.getpid(), **facts}, default=repr)
        else:
            shown = (f"{key}={_shown(value)}" for key, value in facts.items() if value is not None)
            line = " ".join([now, level, event, *shown])
        with self._one_at_a_time:
            report(line)

    @property
    def printed(self) -> TextIO:
        """Where prints go: each line becomes the event ``output``."""
        return cast(TextIO, _Lines(self)) if self._form is LogFormat.JSON else sys.stderr

    def error(self, line: str) -> None:
        """Write why it ends."""
        self.say("error", "error", message=line)

    def interrupted(self, line: str) -> None:
        """Write that it was interrupted before it was ready."""
        self.say("interrupted", message=line)

    def log(self, record: logging.LogRecord, text: str) -> None:
        """Write a log record of the package."""
        facts = {key: getattr(record, key) for key in RECORD_KEYS if getattr(record, key, None) is not None}
        self.say(getattr(record, "spex_event", "log"), record.levelname.lower(), message=text, **facts)


class _Lines(io.TextIOBase):
    """A stream that makes an event of each line."""

    def __init__(self, log: ServeLog) -> None:
        self._log = log
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._log.say("output", message=line)
        return len(text)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=repr)
    return json.dumps(text) if isinstance(value, str) and (" " in text or not text) else text
