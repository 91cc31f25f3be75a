"""Folders that are written under a temporary name and renamed when they are complete.

A process that is killed leaves its temporary folder behind. The next process that makes the same folder removes it. To
know whether the maker still runs, it looks at the folder's name, ``.NAME.partial-PID-START-…``: START is the maker's
start time in clock ticks, because process ids are reused. It also tries the lock that the maker holds on the folder,
because process ids of another container mean nothing here.
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
from ..runtime.holder import start_time
from ..runtime.system.private import open_folder, sync_folder

_MAKER: Final = re.compile(r"(\d+)-(\d+)-")


@contextmanager
def made_aside(target: Path) -> Iterator[Path]:
    """Yield a new temporary folder beside `target`; rename it to `target` at the end, or remove it after an error.

    Raises:
        DataDirError: `target` exists and is not empty, or the folder cannot be created or renamed.
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
    """Remove the temporary folders for `target` whose makers have died."""
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
