"""The arguments of commands that read an event log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..event_log import Attributes, EventLog, read_log
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


def read_events(path: Path, attributes: Attributes) -> EventLog:
    """Read an event log, with a progress bar.

    Raises:
        LogError: It cannot be read, or is malformed.
    """
    size = path.stat().st_size if path.exists() else 0
    with bar(f"reading {path.name}", size, counts=False) as step:
        return read_log(path, attributes, step)
