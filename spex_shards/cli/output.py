"""The common part of all commands: where the result goes, how errors are shown, and where modules are imported from."""

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
from .pythonpath import pytest_folders

INTERRUPTED = 130
UNUSABLE = 2


class Format(StrEnum):
    """The formats of a result."""

    TEXT = "text"
    JSON = "json"


class Output:
    """Writes a command's result to stdout, and nothing else there."""

    def __init__(self, form: Format | ReportFormat, stdout: TextIO, name: str) -> None:
        self._form = ReportFormat(form)
        self._stdout = stdout
        self._name = name

    def write(self, text: str, plain: dict[str, Any] | None = None) -> None:
        """Write the result: `text`, or `plain` as one JSON object."""
        print(json.dumps(plain) if self._form is ReportFormat.JSON else text, file=self._stdout, flush=True)

    def text(self, text: str) -> None:
        """Write a text as it is, instead of a report."""
        print(text, end="", file=self._stdout, flush=True)

    def report(self, report: Report) -> None:
        """Write a report in the requested format."""
        print(written(self._form, report), file=self._stdout, flush=True)

    def fail(self, text: str, code: int = UNUSABLE) -> NoReturn:
        """Write in one line on stderr why there is no result, and exit; a format for programs gets it on stdout too.

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
    """Run the body of the command `name`: its prints go to stderr, and an exception becomes one line there.

    Modules can be imported from the current directory, as with ``python -m``.

    Raises:
        typer.Exit: The body raised an exception, of any kind.
    """
    output = Output(form, sys.stdout, name)
    try:
        with redirect_stdout(sys.stderr), _log_records_reported():
            _import_from_here()
            yield output
    except (typer.Exit, BrokenPipeError):
        raise  # the reader of stdout has gone, as `head` does: click ends the program quietly, with exit code 1
    except KeyboardInterrupt as interrupt:
        output.fail(str(interrupt) or "interrupted", INTERRUPTED)
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        output.fail(explained(error))


def explained(error: BaseException) -> str:
    """Return an error's text for a reader who sees no traceback."""
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

    Where a module is not found, the folders of pytest's option ``pythonpath`` are tried as well.

    Raises:
        ValueError: A name cannot be imported, or is not a specification.
    """
    listed = tuple(names)
    try:
        return _loaded(listed)
    except SystemExit as error:
        shown = ", ".join(map(str, listed))
        raise ValueError(f"importing {shown} ended the program (SystemExit: {error}); guard it by __main__") from None


def _loaded(names: tuple[Any, ...]) -> tuple[type[Specification], ...]:
    try:
        return load_specifications(names)
    except ValueError as error:
        if not isinstance(error.__cause__, ModuleNotFoundError):
            raise
        more = [str(folder) for folder in pytest_folders(Path.cwd()) if str(folder) not in sys.path]
        if not more:
            raise
    sys.path[:0] = more
    return load_specifications(names)


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
