"""The arguments of commands that read an event log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..event_log import Attributes, EventLog, LogError, read_log
from ..event_log.tables import columns_of
from .progress import bar

LogArgument = Annotated[
    Path, typer.Argument(metavar="LOG", help="The event log: .xes, .csv or .jsonl, or one of these and .gz.")
]
CaseOption = Annotated[
    str | None, typer.Option(metavar="NAMES", help="What names a case. XES: of the trace, default concept:name.")
]
ActionOption = Annotated[
    str | None, typer.Option(metavar="NAMES", help="What names an event's action. XES: default concept:name.")
]
StateOption = Annotated[
    str | None, typer.Option(metavar="NAMES", help="What names the state after an event. Default: the action's.")
]
TimestampOption = Annotated[
    str | None, typer.Option(metavar="NAMES", help="What orders the events. XES: default time:timestamp.")
]


def attributes_of(
    path: Path, *, case: str | None, action: str | None, state: str | None, timestamp: str | None
) -> Attributes:
    """Return the attributes to read from a log.

    Raises:
        LogError: The log is not there or no file, or an attribute must be named; names those that a CSV file has.
    """
    if path.is_dir() or not path.exists():
        what = "a log must be a file, and this is a directory" if path.is_dir() else "there is no such file"
        raise LogError(f"{path}: {what}")
    try:
        return Attributes.of(path, case=case, action=action, state=state, timestamp=timestamp)
    except LogError as error:
        columns = columns_of(path) if path.is_file() else []  # what comes out of a pipe can be read once
        raise LogError(f"{error}; its columns are {', '.join(columns)}" if columns else str(error)) from None


def read_events(path: Path, attributes: Attributes) -> EventLog:
    """Read an event log, with a progress bar.

    Raises:
        LogError: It cannot be read, or is malformed.
    """
    size = path.stat().st_size if path.exists() else 0
    with bar(f"reading {path.name}", size, counts=False) as step:
        return read_log(path, attributes, step)
