"""Colours, where a terminal shows them: rich is imported only then."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final, TextIO

from .formats import Outcome, Report, lines_of

GOOD: Final = "green"
BAD: Final = "bold red"
DOUBTFUL: Final = "yellow"
PLAIN: Final = ""
_STYLES: Final = {Outcome.PASSED: GOOD, Outcome.FAILED: BAD, Outcome.ERROR: BAD, Outcome.SKIPPED: DOUBTFUL}
_OF_SIGN: Final = {"+ ": "green", "- ": "red"}


def has_colours(stream: TextIO) -> bool:
    """Return whether to write colours to a stream.

    A terminal shows them, unless the environment has ``NO_COLOR`` (https://no-color.org) or ``TERM=dumb``.
    ``FORCE_COLOR`` has them written elsewhere too, as to the log of a build; ``NO_COLOR`` is stronger.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def write(lines: Iterable[tuple[str, str]], stream: TextIO) -> None:
    """Write lines, each with its style; without colours if the stream shows none."""
    listed = list(lines)
    if not any(style for _, style in listed) or not has_colours(stream):
        # In one piece: what another process writes to the same file must not come between a line and its end.
        stream.write("".join(["\n".join(text for text, _ in listed), "\n"]))
        stream.flush()
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, force_terminal=True, color_system="standard", highlight=False)
    for text, style in listed:
        console.print(Text(text, style), soft_wrap=True)
    stream.flush()


def painted(report: Report) -> list[tuple[str, str]]:
    """Return the lines of a report as text, each with its style."""
    return [(text, _style(text, outcome)) for text, outcome in lines_of(report)]


def _style(text: str, outcome: Outcome | None) -> str:
    return _OF_SIGN.get(text[2:4], PLAIN) if outcome is None else _STYLES[outcome]
