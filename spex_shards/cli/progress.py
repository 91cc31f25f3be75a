"""The progress bar, and a way to stop a command by a signal only where that does no harm."""

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
    """Reports progress: call it with the amount done, or call `of` with the total as well."""

    def __init__(self, update: Callable[..., None]) -> None:
        self._update = update

    def __call__(self, done: int) -> None:
        """Report the amount done."""
        self._update(completed=done)

    def of(self, done: int, total: int) -> None:
        """Report the amount done and the total, which may still change."""
        self._update(completed=done, total=total)


@contextmanager
def bar(what: str, total: int, *, counts: bool) -> Iterator[Step]:
    """Show a progress bar on stderr if that is a terminal; it is removed at the end.

    Args:
        what: The name of the work.
        total: The total amount.
        counts: Whether to show numbers beside the percentage.

    Yields:
        A function to call with the amount done.
    """
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()]
    if counts:
        columns += [MofNCompleteColumn(), TimeRemainingColumn()]
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=total)
        yield Step(lambda **fields: progress.update(task, **fields))


class Interruption:
    """Notes the first SIGINT or SIGTERM, so that a command can stop at a point where nothing is half done.

    The second signal stops the command at once.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Within a ``with`` block, handle the signals."""
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
