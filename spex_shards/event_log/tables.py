"""Readers for logs with one event per row: CSV with a header, and JSON Lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, BinaryIO

from .attributes import Attributes, BadAttribute, shown
from .collector import Collector
from .source import MAX_PIECE_BYTES, LogError, format_of, lines, opened

_field_limit_lock = RLock()


def read_csv(path: Path, stream: BinaryIO, attributes: Attributes, collector: Collector) -> None:
    """Read comma-separated values (RFC 4180, UTF-8) whose first row names the columns.

    Blank lines are skipped; every other row must have as many fields as the header.

    Raises:
        LogError: See `read_log`.
    """
    with _wide_fields():
        rows = _rows(path, stream)
        _, header = next(rows, (1, []))
        _check_header(path, header, attributes)
        for number, row in rows:
            if len(row) != len(header):
                rule = f"a row must have {len(header)} fields as the header has"
                raise LogError(f"{path}: line {number}: {rule}, got: {len(row)}")
            _add(path, number, dict(zip(header, row, strict=True)), attributes, collector)


def columns_of(path: Path) -> list[str]:
    """Return the names of the columns of a CSV log, or nothing if it is in another format or unreadable."""
    try:
        if format_of(path) != "csv":
            return []
        with opened(path) as stream, _wide_fields():
            return next(_rows(path, stream), (1, []))[1]
    except LogError:
        return []


def read_jsonl(path: Path, stream: BinaryIO, attributes: Attributes, collector: Collector) -> None:
    """Read JSON Lines (UTF-8): one object per line, whose keys are the attributes. Blank lines are skipped.

    A number becomes the text that it has in the file; true and false become the texts "true" and "false".

    Raises:
        LogError: See `read_log`.
    """
    decode = json.JSONDecoder(parse_int=str, parse_float=str).decode
    for number, line in enumerate(lines(path, stream), 1):
        if not line.strip():
            continue
        try:
            values = decode(line)
        except (ValueError, RecursionError) as error:
            raise LogError(f"{path}: line {number}: the line is not JSON: {_of(error)}") from error
        if not isinstance(values, dict):
            raise LogError(f"{path}: line {number}: a line must be a JSON object, got: {shown(line.strip())}")
        _add(path, number, values, attributes, collector)


def _of(error: Exception) -> str:
    """Return why a line is not JSON; the decoder's own text counts lines within it."""
    return f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def _add(path: Path, line: int, values: Mapping[str, Any], attributes: Attributes, collector: Collector) -> None:
    place = f"line {line}"
    try:
        case = attributes.case_of(values)
        place = f"line {line}, case {shown(case)}"
        event = attributes.event_of(values)
    except BadAttribute as error:
        raise LogError(f"{path}: {place}: {error}") from None
    collector.add(collector.case(case), event)


def _rows(path: Path, stream: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank, with the number of its first line."""
    reader = csv.reader(_without_nul(path, stream), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise LogError(f"{path}: line {number}: a row must be well-formed CSV, got: {error}") from error
        if row is None:
            return
        if row:
            yield number, row


def _without_nul(path: Path, stream: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(lines(path, stream), 1):
        if "\0" in line:
            raise LogError(f"{path}: line {number}: the text must not have NUL characters, got: {shown(line)}")
        yield line


def _check_header(path: Path, header: list[str], attributes: Attributes) -> None:
    wanted = dict.fromkeys((*attributes.case, *attributes.action, *attributes.state, *attributes.timestamp))
    for name in wanted:
        if header.count(name) != 1:
            got = ", ".join(map(repr, header)) or "none"
            raise LogError(f"{path}: line 1: the header must have {name!r} exactly once, got: {got[:500]}")


@contextmanager
def _wide_fields() -> Iterator[None]:
    """Within a ``with`` block, allow fields up to the size of a line.

    The limit of `csv` applies to the whole process. The lock keeps two readers from restoring it under each other.
    """
    with _field_limit_lock:
        before = csv.field_size_limit()
        csv.field_size_limit(max(before, MAX_PIECE_BYTES))
        try:
            yield
        finally:
            csv.field_size_limit(before)
