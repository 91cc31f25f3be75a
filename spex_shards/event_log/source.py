"""The bytes of an event log: which format a file has, and its content, unpacked and within limits."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

FORMATS: Final = ("xes", "csv", "jsonl")
"""The formats, by suffix; each may be packed as ``.gz``."""
MAX_UNPACKED_BYTES: Final = 4 * 1024**3
"""What a log may unpack to; a file of 4 MB can claim this much."""
MAX_PIECE_BYTES: Final = 64 * 1024**2
"""What one line, row or XML tag may take, as it is held in memory as a whole."""
CHUNK_BYTES: Final = 256 * 1024

Progress = Callable[[int], None]


class LogError(ValueError):
    """An event log, or what is asked of it, is not usable.

    The text names the file, where in it (case and event, or line), the rule, and what was found instead.
    """


def format_of(path: Path) -> str:
    """Return the format of the log at `path` by its name.

    Raises:
        LogError: The suffix is that of no supported format; lists them.
    """
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix.removeprefix(".")
    if suffix in FORMATS:
        return suffix
    supported = ", ".join(f".{name}, .{name}.gz" for name in FORMATS)
    raise LogError(f"{path}: the format of an event log must be one of {supported}, got: {path.name!r}")


@contextmanager
def opened(path: Path, progress: Progress | None = None) -> Iterator[BinaryIO]:
    """Open the log at `path` for reading, unpacked if its name ends in ``.gz``.

    Args:
        path: The file.
        progress: Called now and then with the number of bytes of the file (as it is on disk) read so far.

    Raises:
        LogError: On opening or, from within the block, on reading: the file cannot be read, is not in gzip format,
            is cut short, or unpacks to more than `MAX_UNPACKED_BYTES`.
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
    """The unpacked content, watched for its size and for progress."""

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
    """Yield the lines of a UTF-8 text, with their ends; a byte order mark at its start is left out.

    Raises:
        LogError: A line is longer than `MAX_PIECE_BYTES`, or not UTF-8; names it.
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
