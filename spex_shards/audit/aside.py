"""Folders that are made aside and take their place when they are whole.

What a killed process leaves is swept by the next that makes the same one. Its name says who made it
(``.NAME.partial-PID-START-…``, with the process's start in clock ticks, as process ids are used again); and its maker
holds a lock on it, which tells also where process ids are those of another container.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ..errors import DataDirError
from ..runtime.data_dir import start_time
from ..runtime.system.private import open_folder, sync_folder

_MAKER: Final = re.compile(r"(\d+)-(\d+)-")


@contextmanager
def made_aside(target: Path) -> Iterator[Path]:
    """Give out a folder beside `target`, which takes its place when all went well and is removed when not.

    Raises:
        DataDirError: The place is taken, or the folder cannot be made or moved there.
    """
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise DataDirError(f"{target} is there already and not empty; name another directory", path=str(target))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        aside = Path(
            tempfile.mkdtemp(prefix=f"{_prefix(target)}{os.getpid()}-{start_time(os.getpid())}-", dir=target.parent)
        )
    except OSError as error:
        raise DataDirError(f"{target} cannot be made: {error}", path=str(target)) from error
    lock = -1
    try:
        lock = open_folder(aside)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield aside
        aside.chmod(0o700)
        aside.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise DataDirError(f"{target} cannot be written: {error}", path=str(target)) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if lock >= 0:
            os.close(lock)


def _prefix(target: Path) -> str:
    return f".{target.name}.partial-"


def _sweep(target: Path) -> None:
    """Remove what killed processes have left beside `target`."""
    for path in target.parent.iterdir():
        if path.name.startswith(_prefix(target)) and _is_left(path, path.name.removeprefix(_prefix(target))):
            shutil.rmtree(path, ignore_errors=True)


def _is_left(path: Path, rest: str) -> bool:
    maker = _MAKER.match(rest)
    found = path.lstat()
    if maker is None or not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return False
    if start_time(int(maker[1])) == int(maker[2]):
        return False
    try:
        descriptor = open_folder(path)
    except (OSError, DataDirError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
