"""Makes a consistent copy of a shard's store and log while another process writes to them."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import lmdb

from ...errors import DataDirError, StoreError
from ..system.private import check_files, sync_folder
from .files import OsFiles
from .lmdb_store import LmdbStore
from .meta_pages import DATA, MetaPages
from .port import TABLES
from .view import StoreView

_TRIES: Final = 10
_LOOK_EVERY: Final = 0.1


def copy_shard(source: Path, target: Path, progress: Callable[[int], None] = lambda _: None) -> int:
    """Copy a shard's folder, with its content at some moment after the call; the copy is synced to the disk.

    The log is copied before the environment. A checkpoint in between moves batches from the log to the environment, so
    each batch is in one of the two copies; in the other order it could be in neither. But the worker also reuses the
    log's files. If the copied files do not fit together, everything is copied again.

    Args:
        source: The shard's folder. Its worker may be running; its environment must not be open in this process.
        target: The folder to create.
        progress: Called now and then with the number of bytes of the environment that are copied.

    Returns:
        The sequence of the newest batch in the copy.

    Raises:
        DataDirError: The environment or the log is damaged, cannot be read, or the copy cannot be written.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(mode=0o700)
            _copy_log(source, target)
            _copy_environment(source, target, progress)
            newest = _newest(target)
            sync_files(target)
            return newest
        except (OSError, lmdb.Error) as error:
            raise DataDirError(f"the shard cannot be copied: {source}: {error}", path=str(source)) from error
        except (DataDirError, StoreError):
            if not tries_left:
                raise
    raise AssertionError("it is always tried")


def sync_files(folder: Path) -> None:
    """Make all files of a folder private to the user, and sync them and their names to the disk.

    Raises:
        OSError: A file could not be changed or synced.
    """
    for path in folder.iterdir():
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fchmod(descriptor, 0o600)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    sync_folder(folder)


def _copy_log(source: Path, target: Path) -> None:
    files = OsFiles(source)
    for _ in range(_TRIES):
        try:
            contents = {name: files.read(name) for name in files.names()}
            break
        except FileNotFoundError:  # the store was closed meanwhile, which moved everything to the environment
            continue
    else:
        raise DataDirError(f"the log cannot be read: its files come and go: {source}", path=str(source))
    for name, data in contents.items():
        (target / name).write_bytes(data)


def _copy_environment(source: Path, target: Path, progress: Callable[[int], None]) -> None:
    metas = MetaPages(source, sync=False)
    with metas.locked():
        check_files(source, DATA, "lock.mdb", writing=False)
        metas.check()
        if not (source / DATA).exists():
            return
        env = lmdb.open(os.fsencode(source), readonly=True, create=False, max_dbs=len(TABLES), max_spare_txns=0)
    try:
        with _watched(target / DATA, progress):
            env.copy(os.fsencode(target))  # type: ignore[arg-type]  # a path need be no UTF-8; the stub knows str only
    finally:
        env.close()


def _newest(target: Path) -> int:
    """Return the sequence of the newest batch in the copy, after reading it as a worker does after a crash."""
    base = LmdbStore(target, sync=True)
    try:
        return StoreView(base, OsFiles(target)).recovered.last
    finally:
        base.close()
        (target / "lock.mdb").unlink(missing_ok=True)


@contextmanager
def _watched(path: Path, progress: Callable[[int], None]) -> Iterator[None]:
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_LOOK_EVERY):
            if path.exists():
                progress(path.stat().st_size)

    thread = threading.Thread(target=watch, name="spex-shards-copy", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
