"""The progress bar, and how an interruption gets from a signal to a place where it does no harm."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class Step:
    """Says how far something is: called with what is done by now, or `of` with what there is to do as well."""

    def __init__(self, update: Callable[..., None]) -> None:
        self._update = update

    def __call__(self, done: int) -> None:
        """Say how far it is."""
        self._update(completed=done)

    def of(self, done: int, total: int) -> None:
        """Say how far it is where the whole is known only by and by."""
        self._update(completed=done, total=total)


@contextmanager
def bar(what: str, total: int, *, counts: bool) -> Iterator[Step]:
    """Show on stderr how far something is, if that is a terminal; it is removed at the end.

    Args:
        what: What is done.
        total: What there is to do.
        counts: Whether to show numbers beside the share.

    Yields:
        A function to call with what is done by now.
    """
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()]
    if counts:
        columns += [MofNCompleteColumn(), TimeRemainingColumn()]
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=total)
        yield Step(lambda **fields: progress.update(task, **fields))


class Interruption:
    """Notes the first SIGINT or SIGTERM, so that a command can stop where nothing is half done.

    The second one stops it where it is.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Listen while the block runs."""
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt("interrupted twice: stopped at once; what was not applied yet is lost")
        self.signal = number
