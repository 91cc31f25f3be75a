"""What every command has in common: where its result goes, how it fails, and where it looks for modules."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn, TextIO

import typer

from ..domain.specification import Specification
from ..manager.settings import load_specifications
from .formats import Report, ReportFormat, failed, written

INTERRUPTED = 130
UNUSABLE = 2


class Format(StrEnum):
    """How a result is written."""

    TEXT = "text"
    JSON = "json"


class Output:
    """The way out of a command: stdout gets its result and nothing else."""

    def __init__(self, form: Format | ReportFormat, stdout: TextIO, name: str) -> None:
        self._form = ReportFormat(form)
        self._stdout = stdout
        self._name = name

    def write(self, text: str, plain: dict[str, Any] | None = None) -> None:
        """Write the result: `text`, or `plain` as one JSON object."""
        print(json.dumps(plain) if self._form is ReportFormat.JSON else text, file=self._stdout, flush=True)

    def text(self, text: str) -> None:
        """Write a text as it is, in place of a report."""
        print(text, end="", file=self._stdout, flush=True)

    def report(self, report: Report) -> None:
        """Write a report in the format that was asked for."""
        print(written(self._form, report), file=self._stdout, flush=True)

    def fail(self, text: str, code: int = UNUSABLE) -> NoReturn:
        """Say in one line on stderr why there is no result, and exit; in a format for programs, stdout has it too.

        Raises:
            typer.Exit: Always.
        """
        line = " ".join(text.split())
        report(f"error: {line}" if code != INTERRUPTED else line)
        if self._form is not ReportFormat.TEXT:
            self.report(failed(self._name, line))
        raise typer.Exit(code)


def report(line: str) -> None:
    """Write a line to stderr."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def command(form: Format | ReportFormat = Format.TEXT, name: str = "") -> Iterator[Output]:
    """Run the body of the command `name`: what it prints goes to stderr, what it raises becomes one line there.

    The current directory can be imported from, as with ``python -m``.

    Raises:
        typer.Exit: In place of everything that the body raises.
    """
    output = Output(form, sys.stdout, name)
    try:
        with redirect_stdout(sys.stderr), _log_records_reported():
            _import_from_here()
            yield output
    except typer.Exit:
        raise
    except KeyboardInterrupt as interrupt:
        output.fail(str(interrupt) or "interrupted", INTERRUPTED)
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        output.fail(explained(error))


def explained(error: BaseException) -> str:
    """Return an error's text for somebody who sees no traceback."""
    if isinstance(error, BaseExceptionGroup):
        first = explained(error.exceptions[0])
        more = len(error.exceptions) - 1
        return f"{error.message}: {first}" + (f" (and {more} more)" if more else "")
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if type(error).__module__ == "builtins" and not isinstance(error, (ValueError, OSError)):
        return f"{type(error).__name__}: {error} (unexpected; python -X dev -m spex_shards.cli shows where)"
    return str(error) or type(error).__name__


def imported(names: Iterable[Any]) -> tuple[type[Specification], ...]:
    """Return the specifications named as ``module:Name``, importing their modules.

    Raises:
        ValueError: One cannot be imported, or is no specification.
    """
    listed = tuple(names)
    try:
        return load_specifications(listed)
    except SystemExit as error:
        shown = ", ".join(map(str, listed))
        raise ValueError(f"importing {shown} ended the program (SystemExit: {error}); guard it by __main__") from None


def _import_from_here() -> None:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


class _Reporter(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        report(f"{record.levelname.lower()}: {self.format(record)}")


@contextmanager
def _log_records_reported() -> Iterator[None]:
    logger, reporter = logging.getLogger("spex_shards"), _Reporter(logging.WARNING)
    logger.addHandler(reporter)
    try:
        yield
    finally:
        logger.removeHandler(reporter)
