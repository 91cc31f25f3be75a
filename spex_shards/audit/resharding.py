"""`reshard`: changes the number of shards of a data directory, moving only the instances that must move.

::

    layout {N}  ──▶  {N, copying to M}     instances are copied to their new shards; the old shards still have them all
                ──▶  {M, deleting from N}  moved instances are deleted from their old shards, surplus shards dissolved
                ──▶  {M}

Each arrow replaces the layout record atomically. Each step can be killed at any point and run again. In between, only
`reshard` and `verify` open the directory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..engine.rows import Found, identifier_bytes
from ..errors import DataDirError, show
from ..manager.options import OPTIONS
from ..runtime.data_dir import COPYING, DELETING, DataDir, Layout, OwnerLock
from ..runtime.hosting import service_of
from ..runtime.protocol import routing
from ..runtime.store import Batch
from ..runtime.store.files import OsFiles
from ..runtime.store.lmdb_store import LmdbStore
from ..runtime.store.logged_store import LoggedStore
from ..runtime.store.meta_pages import DATA
from ..runtime.store.opening import open_view
from ..runtime.system.private import sync_folder
from .moving import Shard

Progress = Callable[[int, int], None]
"""Called with the number of instances examined, and the expected total."""
_OPEN_AT_ONCE: Final = 64
_GARBAGE_AT_ONCE: Final = 4096


@dataclass(frozen=True, slots=True)
class Resharded:
    """The result of `reshard`: the old and new number of shards, and how many instances this run has copied."""

    before: int
    after: int
    moved: int


def reshard(
    path: str | os.PathLike[str],
    shards: int,
    *,
    progress: Progress | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Resharded:
    """Change the number of shards of a data directory; no manager may use it.

    An instance moves if it is routed to another shard under the new number; it keeps everything that belongs to it. The
    models, deviations and waiting log records of dissolved shards are merged into those of the others. A client that
    lives through the change must be made again: it gets `ShardDown`, and its unanswered requests are not sent again.

    Args:
        path: The data directory.
        shards: The new number of shards.
        progress: Called now and then.
        interrupted: Called now and then; if it returns True, the change stops at a point from which another call can
            continue it.

    Raises:
        DataDirLocked: A manager uses it.
        DataDirError: It is no data directory, is damaged, is being changed to another number, or holds something that
            cannot be moved. A change that was begun can be undone by asking for the old number, as long as nothing was
            deleted.
        StoreError: A row is damaged, or the disk is full.
        ValueError: `shards` breaks the rule of `distribution_factor`.
        KeyboardInterrupt: `interrupted` returned True.
    """
    option = OPTIONS["distribution_factor"]
    try:
        option.check(shards)
    except ValueError:
        raise ValueError(f"the number of shards must be {option.rule}, got: {show(shards)}") from None
    directory = DataDir(Path(path).absolute())
    if directory.read_layout() is None:
        raise DataDirError(f"{path} is no data directory: it has no layout record", path=str(path))
    with OwnerLock(directory):
        _check_service(directory)
        layout = _begin(directory, shards)
        if layout.step is None:
            return Resharded(shards, shards, 0)
        change = _Change(directory, *layout.change, progress or (lambda _done, _total: None), interrupted)
        if layout.step == COPYING:
            change.copy()
            directory.write_layout(Layout(shards, DELETING, change.before))
        change.delete()
        directory.write_layout(Layout(shards))
        return Resharded(change.before, shards, change.moved)


def _check_service(directory: DataDir) -> None:
    path = directory.shard(0)
    if not (path / DATA).exists():
        return
    view = open_view(path)
    try:
        service = service_of(Batch(view))
    finally:
        view.close()
    if service is not None:
        raise DataDirError(
            f"{directory.path} belongs to the service {service}: only rows of Spex can be moved to another shard",
            path=str(directory.path),
        )


def _begin(directory: DataDir, shards: int) -> Layout:
    """Return the layout with the next step to do, after recording it."""
    layout = directory.read_layout()
    assert layout is not None
    before, after = layout.change
    if layout.step is None and layout.shards != shards:
        for index in range(layout.shards, shards):
            if directory.shard(index).exists():
                text = f"{directory.shard(index)} is there, though it belongs to no shard; move it away"
                raise DataDirError(text, path=str(directory.path))
        layout = Layout(layout.shards, COPYING, shards)
        directory.write_layout(layout)
    elif layout.step == COPYING and shards == before != after:
        layout = Layout(before, DELETING, after)  # the copies are deleted, and the originals are all there
        directory.write_layout(layout)
    elif layout.step is not None and shards != after:
        rule = f"{directory.path} is being changed from {before} to {after} shards; finish that first, by asking for"
        undone = f" (or have it undone, by asking for {before})" if layout.step == COPYING else ""
        raise DataDirError(f"{rule} {after}{undone}", path=str(directory.path))
    return layout


@dataclass(slots=True)
class _Change:
    directory: DataDir
    before: int
    after: int
    progress: Progress
    interrupted: Callable[[], bool]
    moved: int = 0
    _done: int = 0
    _total: int = 0
    _homes: tuple[int, ...] = field(default=())
    _were: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        self._were, self._homes = routing.table(self.before), routing.table(self.after)

    # ------------------------------------------------------------------ copying

    def copy(self) -> None:
        """Copy each instance whose shard changes to its new shard, synced to the disk."""
        ways = {(here, there) for here, there in zip(self._were, self._homes, strict=True) if here != there}
        sources = [index for index in sorted({here for here, _ in ways}) if self.directory.shard(index).exists()]
        targets = sorted({there for _, there in ways})
        groups = [targets[i : i + _OPEN_AT_ONCE] for i in range(0, len(targets), _OPEN_AT_ONCE)]
        self._look_ahead(sources, len(groups))
        for group in groups:
            with ExitStack() as stack:
                opened = {index: stack.enter_context(self._open(index)) for index in group} if sources else {}
                for index in sources:
                    with self._read(index) as source:
                        self._copy_from(source, index, opened)
        sync_folder(self.directory.path)

    def _look_ahead(self, sources: list[int], times: int) -> None:
        # Rows that cannot be read are reported here, before anything was changed.
        for index in sources:
            with self._read(index) as source:
                self._total += source.count() * (times if self.after < self.before else times + 1)
                if index >= self.after:
                    source.check_rest()

    def _copy_from(self, source: Shard, index: int, targets: dict[int, Shard]) -> None:
        for portion in source.portions():
            touched = set()
            for found in portion:
                slot = routing.slot_of(identifier_bytes(found))
                if self._were[slot] != index:
                    text = f"an instance lies on shard {index} and not {self._were[slot]}; see spex-shards verify"
                    raise DataDirError(text, path=str(self.directory.path))
                if self._homes[slot] != index and self._homes[slot] in targets:
                    touched.add(self._homes[slot])
                    self.moved += targets[self._homes[slot]].adopt(source, found)
            for target in touched:
                targets[target].commit()
            self._step(portion)

    # ------------------------------------------------------------------ deleting

    def delete(self) -> None:
        """Dissolve the surplus shards, and delete moved instances from the others."""
        for index in range(self.after, self.before):
            if self.directory.shard(index).exists():
                self._dissolve(index)
        for index in range(min(self.before, self.after)):
            if self.directory.shard(index).exists():
                with self._open(index) as shard:
                    if self.after > self.before:  # when the number shrinks, nothing moves out of a shard that stays
                        self._delete_in(shard, index)
                    shard.forget_taken()
        sync_folder(self.directory.path)

    def _dissolve(self, index: int) -> None:
        with self._open(index % self.after) as heir:
            if not heir.has_taken(index):
                with self._read(index) as shard:
                    heir.take_rest(shard, index)
        shutil.rmtree(self.directory.shard(index))

    def _delete_in(self, shard: Shard, index: int) -> None:
        for portion in shard.portions():
            gone = [found for found in portion if self._home(found) != index]
            for found in gone:
                shard.instances.remove(found)
            shard.commit()
            self._step(portion)
        while shard.instances.garbage:
            shard.instances.remove_garbage(_GARBAGE_AT_ONCE)
            shard.commit()
            self._step([])

    def _home(self, found: Found) -> int:
        return self._homes[routing.slot_of(identifier_bytes(found))]

    # ------------------------------------------------------------------ both

    def _step(self, portion: list[Found]) -> None:
        self._done += len(portion)
        self._total = max(self._total, self._done)
        self.progress(self._done, self._total)
        if self.interrupted():
            again = f"spex-shards reshard {self.directory.path} --to {self.after}"
            raise KeyboardInterrupt(f"interrupted; nothing is lost, and the directory opens after: {again}")

    @contextmanager
    def _open(self, index: int) -> Iterator[Shard]:
        path = self.directory.shard(index)
        base = LmdbStore(path, sync=True)
        try:
            store = LoggedStore(base, OsFiles(path), sync_each=True)
        except BaseException:
            base.close()
            raise
        with closing(Shard(store)) as shard:
            yield shard

    @contextmanager
    def _read(self, index: int) -> Iterator[Shard]:
        with closing(Shard(open_view(self.directory.shard(index)))) as shard:
            yield shard
