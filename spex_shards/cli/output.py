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
from ..errors import LayoutMismatch
from ..manager.settings import load_specifications
from .colours import BAD, DOUBTFUL, PLAIN, painted, write
from .formats import Report, ReportFormat, failed, written
from .interrupts import INTERRUPTED, interruptible
from .pythonpath import pytest_folders

UNUSABLE = 2


class Format(StrEnum):
    """The formats of a result."""

    TEXT = "text"
    JSON = "json"


class Output:
    """Writes a command's result to stdout, and nothing else there."""

    def __init__(self, form: Format | ReportFormat, stdout: TextIO, name: str, remarks: Remarks) -> None:
        self._form = ReportFormat(form)
        self._stdout = stdout
        self._name = name
        self._remarks = remarks

    def write(self, text: str, plain: dict[str, Any] | None = None, style: str = PLAIN) -> None:
        """Write the result: `text`, its last line in a style, or `plain` as one JSON object."""
        if self._form is ReportFormat.JSON:
            print(json.dumps(plain), file=self._stdout, flush=True)
            return
        *lines, last = text.split("\n")
        write([*((line, PLAIN) for line in lines), (last, style)], self._stdout)

    def text(self, text: str) -> None:
        """Write a text as it is, instead of a report."""
        print(text, end="", file=self._stdout, flush=True)

    def report(self, report: Report) -> None:
        """Write a report in the requested format."""
        if self._form is ReportFormat.TEXT and report.failure is None:
            write(painted(report), self._stdout)
            return
        print(written(self._form, report), file=self._stdout, flush=True)

    def fail(self, text: str, code: int = UNUSABLE) -> NoReturn:
        """Write in one line on stderr why there is no result, and exit; a format for programs gets it on stdout too.

        Raises:
            typer.Exit: Always.
        """
        line = " ".join(text.split())
        if code == INTERRUPTED:
            self._remarks.interrupted(line)
        else:
            self._remarks.error(line)
        if self._form is not ReportFormat.TEXT:
            self.report(failed(self._name, line))
        raise typer.Exit(code)


def report(line: str, style: str = PLAIN) -> None:
    """Write a line to stderr."""
    write([(line, style)], sys.stderr)


class Remarks:
    """Writes what is not a command's result to stderr: errors, log records, and what imported modules print."""

    @property
    def printed(self) -> TextIO:
        """Where prints go."""
        return sys.stderr

    def error(self, line: str) -> None:
        """Write why there is no result."""
        report(f"error: {line}", BAD)

    def interrupted(self, line: str) -> None:
        """Write that the command was interrupted."""
        report(line)

    def log(self, record: logging.LogRecord, text: str) -> None:
        """Write a log record of the package; `text` is its message with its traceback."""
        style = BAD if record.levelno >= logging.ERROR else DOUBTFUL
        report(f"{record.levelname.lower()}: {text}", style)


@contextmanager
def command(
    form: Format | ReportFormat = Format.TEXT, name: str = "", remarks: Remarks | None = None
) -> Iterator[Output]:
    """Run the body of the command `name`: its prints go to stderr, and an exception becomes one line there.

    Modules can be imported from the current directory, as with ``python -m``.

    Args:
        form: The format of the result.
        name: The command's name.
        remarks: Writes to stderr; by default lines for people.

    Raises:
        typer.Exit: The body raised an exception, of any kind.
    """
    remarks = remarks or Remarks()
    output = Output(form, sys.stdout, name, remarks)
    try:
        with interruptible(), redirect_stdout(remarks.printed), _log_records_reported(remarks):
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
    if isinstance(error, LayoutMismatch) and "wanted" in error.context:
        where, found = error.context["path"], error.context["found"]
        change = f"use --shards {found}, or change it with: spex-shards reshard {where} --to {error.context['wanted']}"
        return f"{where} was made for {found} shards, not {error.context['wanted']}; {change}"
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if type(error).__module__ == "builtins" and not isinstance(error, (ValueError, OSError)):
        return f"{type(error).__name__}: {error} (unexpected; python -X dev -m spex_shards shows where)"
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
    def __init__(self, remarks: Remarks) -> None:
        super().__init__(logging.WARNING)
        self._remarks = remarks

    def emit(self, record: logging.LogRecord) -> None:
        self._remarks.log(record, self.format(record))


@contextmanager
def _log_records_reported(remarks: Remarks) -> Iterator[None]:
    logger, reporter = logging.getLogger("spex_shards"), _Reporter(remarks)
    logger.addHandler(reporter)
    try:
        yield
    finally:
        logger.removeHandler(reporter)
