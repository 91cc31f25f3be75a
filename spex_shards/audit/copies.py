"""`backup` and `restore`: complete copies of a data directory. An incomplete copy never appears at the destination.

::

    DIR     ──▶  .DEST.partial-…  (shard by shard; the layout record last)  ──▶  renamed to DEST
    models  ──▶  .DEST.partial-…/models

A backup is itself a data directory, with the model files in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from ..errors import DataDirError, LayoutMismatch
from ..formats.model_files import SUFFIX
from ..runtime.data_dir import DataDir, OwnerLock, no_data_dir
from ..runtime.store.copying import copy_shard, sync_files
from ..runtime.store.meta_pages import DATA
from ..runtime.store.opening import open_view
from ..runtime.system.private import open_file
from .aside import made_aside

MODELS: Final = "models"
"""The folder of model files in a backup."""
Progress = Callable[[int, int], None]
"""Called with the number of bytes copied, and the approximate total."""
_CHUNK: Final = 1 << 20
_SIDECAR: Final = ".json"


def backup(
    path: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    models_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> list[int]:
    """Copy a data directory. A manager may be using it, and need not help.

    The copy of each shard is its state at some moment after the call. So everything that was acknowledged before the
    call is in the copy, whatever the durability. Shards are copied one after the other; requests that are acknowledged
    meanwhile may be in the copy or not.

    Args:
        path: The data directory.
        destination: The copy's path; it must not exist, or be an empty directory.
        models_dir: The directory of model files. They are copied into the folder ``models`` of the backup, with the
            sidecar files that `check` uses. None: no models are copied. A missing directory counts as empty.
        progress: Called now and then.

    Returns:
        For each shard, the sequence of the newest batch in the copy.

    Raises:
        DataDirError: `path` is no data directory, is damaged, or is being changed to another number of shards; or the
            destination cannot be used. Nothing is left at the destination.
    """
    directory, target = DataDir(Path(path).absolute()), Path(destination)
    count = _shards_of(directory)
    if directory.path.resolve() in [target.resolve(), *target.resolve().parents]:
        raise DataDirError(f"the backup must not lie in the data directory itself: {target}", path=str(target))
    shards = [index for index in range(count) if directory.shard(index).exists()]
    report = _Report([directory.shard(index) / DATA for index in shards], progress)
    newest = [0] * count
    with made_aside(target) as folder:
        aside = DataDir(folder)
        if models_dir is not None:
            _copy_models(Path(models_dir), folder / MODELS)
        for index in shards:
            newest[index] = copy_shard(directory.shard(index), aside.shard(index), report.within)
            report.done(directory.shard(index) / DATA)
        if _shards_of(directory) != count:
            raise LayoutMismatch(f"{directory.path} was changed to another number of shards meanwhile; try again")
        _finish(aside, directory)
    return newest


def restore(
    path: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    models_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Path | None:
    """Make a data directory from a backup; the backup is not changed.

    Args:
        path: The backup: a data directory that no manager uses.
        destination: The data directory's path; it must not exist, or be an empty directory.
        models_dir: The path for the backup's model files; it must not exist, or be an empty directory. None: they stay
            in the folder ``models`` of the data directory.
        progress: Called now and then.

    Returns:
        Where the model files are; None: the backup has none.

    Raises:
        DataDirLocked: A manager uses the backup.
        DataDirError: `path` is no backup, is damaged, or the destination cannot be used. Nothing is left there.
    """
    source, target = DataDir(Path(path).absolute()), Path(destination)
    folders = [source.shard(index) for index in range(_shards_of(source)) if source.shard(index).exists()]
    files = [file for folder in folders for file in sorted(folder.iterdir()) if _is_stored(file.name)]
    report = _Report(files, progress)
    with ExitStack() as stack:
        if source.lock.exists() and os.access(source.lock, os.W_OK):
            stack.enter_context(OwnerLock(source))
        aside = DataDir(stack.enter_context(made_aside(target)))
        models = _restore_models(stack, source.path / MODELS, aside.path / MODELS, models_dir)
        for file in files:
            copy = aside.path / file.parent.name / file.name
            copy.parent.mkdir(mode=0o700, exist_ok=True)
            _copy_file(file, copy, report)
        for folder in folders:
            _read_once(aside.path / folder.name)
        _finish(aside, source)
    return target / MODELS if models is not None and models_dir is None else models


def _restore_models(
    stack: ExitStack, source: Path, inside: Path, models_dir: str | os.PathLike[str] | None
) -> Path | None:
    if not source.is_dir():
        return None
    if models_dir is None:
        _copy_models(source, inside)
        return inside
    _copy_models(source, stack.enter_context(made_aside(Path(models_dir))))
    return Path(models_dir)


def _copy_models(source: Path, target: Path) -> None:
    """Copy the model files of a directory and their sidecars, synced to the disk; without any, create no folder."""
    try:
        names = sorted(entry.name for entry in os.scandir(source) if entry.is_file() and _is_of_model(entry.name))
        if names:
            target.mkdir(mode=0o700, exist_ok=True)
            for name in names:
                (target / name).write_bytes((source / name).read_bytes())
            sync_files(target)
    except FileNotFoundError:
        pass  # there is no such directory, or a file was deleted meanwhile
    except OSError as error:
        raise DataDirError(f"the models cannot be copied: {error}", path=str(source)) from error


def _is_of_model(name: str) -> bool:
    return not name.startswith(".") and name.endswith((SUFFIX, SUFFIX + _SIDECAR))


def _shards_of(directory: DataDir) -> int:
    shards = directory.shards()
    if shards is None:
        raise no_data_dir(directory.path)
    return shards


def _is_stored(name: str) -> bool:
    return name in (DATA, "meta") or name.startswith("log-")


class _Report:
    def __init__(self, files: list[Path], progress: Progress | None) -> None:
        self._progress = progress or (lambda _done, _total: None)
        self._sizes = {file: file.stat().st_size for file in files if file.exists()}
        self._total = sum(self._sizes.values())
        self._done = 0

    def within(self, size: int) -> None:
        """Report how many bytes of the current file are copied."""
        self._progress(min(self._done + size, self._total), self._total)

    def done(self, file: Path) -> None:
        """Report that a file is copied."""
        self._done += self._sizes.get(file, 0)
        self.within(0)


def _copy_file(source: Path, target: Path, report: _Report) -> None:
    with os.fdopen(open_file(source, os.O_RDONLY), "rb") as read, target.open("wb") as written:
        size = 0
        while chunk := read.read(_CHUNK):
            written.write(chunk)
            size += len(chunk)
            report.within(size)
    report.done(source)


def _read_once(folder: Path) -> None:
    """Open a copy as a worker would, so that a damaged backup fails now and not when it is used."""
    open_view(folder).close()
    (folder / "lock.mdb").unlink(missing_ok=True)
    sync_files(folder)


def _finish(aside: DataDir, source: DataDir) -> None:
    layout = source.read_layout()
    assert layout is not None
    aside.write_layout(layout)
