"""Opens an event log: detects its format, unpacks it, and enforces size limits."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

FORMATS: Final = ("xes", "csv", "jsonl")
"""The formats, by suffix; each may be compressed as ``.gz``."""
MAX_UNPACKED_BYTES: Final = 4 * 1024**3
"""The largest size of an unpacked log; a compressed file of 4 MB can reach it."""
MAX_PIECE_BYTES: Final = 64 * 1024**2
"""The largest size of one line, row or XML tag, which is held in memory as a whole."""
CHUNK_BYTES: Final = 256 * 1024

Progress = Callable[[int], None]


class LogError(ValueError):
    """An event log, or a request about it, is not usable.

    The text names the file, the place in it (case and event, or line), the rule, and what was found instead.
    """


def format_of(path: Path) -> str:
    """Return the format of the log at `path`, by its suffix.

    Raises:
        LogError: The suffix belongs to no supported format; the text lists them.
    """
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix.removeprefix(".")
    if suffix in FORMATS:
        return suffix
    supported = ", ".join(f".{name}, .{name}.gz" for name in FORMATS)
    raise LogError(f"{path}: the format of an event log must be one of {supported}, got: {path.name!r}")


@contextmanager
def opened(path: Path, progress: Progress | None = None) -> Iterator[BinaryIO]:
    """Open the log at `path` for reading; a file whose name ends in ``.gz`` is unpacked.

    Args:
        path: The file.
        progress: Called now and then with the number of bytes read so far, counted in the file on the disk.

    Raises:
        LogError: The file cannot be read, is not in gzip format, is cut short, or unpacks to more than
            `MAX_UNPACKED_BYTES`. Raised on opening or while the block reads.
    """
    try:
        with path.open("rb") as file:
            content = gzip.GzipFile(fileobj=file, mode="rb") if path.name.lower().endswith(".gz") else file
            with io.BufferedReader(_Watched(path, file, content, progress), CHUNK_BYTES) as stream:
                yield stream
    except gzip.BadGzipFile as error:
        raise LogError(f"{path}: the content must be in gzip format, got: {error}") from error
    except (EOFError, zlib.error) as error:
        raise LogError(f"{path}: the gzip data must be whole and undamaged, got: {error}") from error
    except OSError as error:
        raise LogError(f"{path}: the file must be readable, got: {error.strerror or error}") from error


class _Watched(io.RawIOBase):
    """The unpacked content; checks its size and reports progress."""

    def __init__(self, path: Path, file: BinaryIO, content: Any, progress: Progress | None) -> None:
        super().__init__()
        self._path = path
        self._file = file
        self._content = content
        self._progress = progress
        self._left = MAX_UNPACKED_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size: int = self._content.readinto(buffer)
        self._left -= size
        if self._left < 0:
            raise LogError(f"{self._path}: the log must not be larger than {MAX_UNPACKED_BYTES} bytes unpacked")
        if self._progress is not None:
            self._progress(self._file.tell())
        return size


def lines(path: Path, stream: BinaryIO) -> Iterator[str]:
    """Yield the lines of a UTF-8 text, with their line ends, and without a byte order mark at the start.

    Raises:
        LogError: A line is longer than `MAX_PIECE_BYTES`, or is not UTF-8; the text names the line.
    """
    number = 0
    while line := stream.readline(MAX_PIECE_BYTES + 1):
        number += 1
        if len(line) > MAX_PIECE_BYTES:
            raise LogError(f"{path}: line {number}: a line must not be longer than {MAX_PIECE_BYTES} bytes")
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            got = line[error.start : error.start + 8]
            raise LogError(f"{path}: line {number}: the text must be UTF-8, got: {got!r}") from error
