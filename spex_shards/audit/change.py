"""A change of the number of shards: what must move is copied, and later deleted where it was.

A service of an application says itself how its rows are routed, and may say another thing tomorrow. So nothing is
deleted, whatever it is, that is not found where it was to be copied to.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import DataDirError
from ..runtime.data_dir import DataDir
from ..runtime.protocol import routing
from ..runtime.store import Store
from ..runtime.store.files import OsFiles
from ..runtime.store.lmdb_store import LmdbStore
from ..runtime.store.logged_store import LoggedStore
from ..runtime.store.opening import open_view
from ..runtime.system.private import sync_folder
from .contents import Contents, Opener

Progress = Callable[[int, int], None]
"""Takes how many items were looked at, and how many that will be."""
_OPEN_AT_ONCE: Final = 64


@dataclass(slots=True)
class Change:
    """A change of the number of shards of a directory that nobody else uses.

    Attributes:
        directory: The directory.
        before: The number of shards before.
        after: The number of shards after.
        contents: Opens what a shard holds.
        progress: Called now and then.
        interrupted: Asked now and then; True: stop where another call can go on.
        moved: How many items this object has copied.
    """

    directory: DataDir
    before: int
    after: int
    contents: Opener
    progress: Progress
    interrupted: Callable[[], bool]
    moved: int = 0
    _done: int = 0
    _total: int = 0
    _homes: tuple[int, ...] = field(default=())
    _were: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        self._were, self._homes = routing.table(self.before), routing.table(self.after)

    # ------------------------------------------------------------------ before anything is changed

    def look_ahead(self) -> None:
        """Read what must be read later; nothing is changed.

        Raises:
            DataDirError: An item cannot be routed, or lies where it does not belong.
            StoreError: A row is damaged.
        """
        sources, groups = self._sources(), self._groups()
        for index in self._existing(range(max(self.before, self.after))):
            with self._read(index) as source:
                if source.must_check:
                    self._check_places(source, index, copied=index not in sources)
                if index in sources:
                    self._total += source.count() * (len(groups) if self.after < self.before else 2 * len(groups))
                if index >= self.after:
                    source.check_rest()

    def _check_places(self, source: Contents[Any], index: int, *, copied: bool) -> None:
        for portion in source.portions():
            for item in portion:
                slot = routing.slot_of(source.routed_by(item))
                if index != self._were[slot] and not (copied and index == self._homes[slot]):
                    raise self._misplaced(source, item, index, slot)
            if self.interrupted():
                raise KeyboardInterrupt("interrupted; nothing was changed by this run")

    def _misplaced(self, source: Contents[Any], item: Any, index: int, slot: int) -> DataDirError:
        text = f"{source.named(item)} lies on shard {index} and not {self._were[slot]}; see spex-shards verify"
        return DataDirError(text, path=str(self.directory.path))

    # ------------------------------------------------------------------ copying

    def copy(self) -> None:
        """Copy every item that routes to another shard to that shard, on the disk."""
        sources = self._sources()
        for group in self._groups() if sources else []:
            with ExitStack() as stack:
                opened = {index: stack.enter_context(self._open(index)) for index in group}
                for index in sources:
                    with self._read(index) as source:
                        self._copy_from(source, index, opened)
        sync_folder(self.directory.path)

    def _sources(self) -> list[int]:
        found = {here for here, there in zip(self._were, self._homes, strict=True) if here != there}
        return self._existing(sorted(found))

    def _groups(self) -> list[list[int]]:
        """Return the shards that something moves to, in lists of as many as are opened at once."""
        ways = zip(self._were, self._homes, strict=True)
        return _grouped(sorted({there for here, there in ways if here != there}))

    def _copy_from(self, source: Contents[Any], index: int, targets: dict[int, Contents[Any]]) -> None:
        for portion in source.portions():
            touched = set()
            for item in portion:
                slot = routing.slot_of(source.routed_by(item))
                if self._were[slot] != index:
                    raise self._misplaced(source, item, index, slot)
                if self._homes[slot] != index and self._homes[slot] in targets:
                    touched.add(self._homes[slot])
                    self.moved += targets[self._homes[slot]].adopt(source, item)
            for target in touched:
                targets[target].commit()
            self._step(portion)

    # ------------------------------------------------------------------ deleting

    def delete(self) -> None:
        """Dissolve the shards that are no more, and delete in the others what routes elsewhere.

        Raises:
            DataDirError: An item is not where it routes to; it is left where it is.
        """
        going = self._existing(range(self.after, self.before))
        # A shard whose rest was taken was checked before, and its folder may be half removed.
        self._check_copied([index for index in going if not self._is_taken(index)])
        for index in going:
            self._dissolve(index)
        staying = self._existing(range(min(self.before, self.after)))
        if self.after > self.before:  # else nothing moves out of a shard that stays
            self._delete_in(staying)
        for index in staying:
            with self._open(index) as shard:
                shard.forget_taken()
        sync_folder(self.directory.path)

    def _is_taken(self, index: int) -> bool:
        with self._read(index % self.after) as heir:
            return heir.has_taken(index)

    def _check_copied(self, going: list[int]) -> None:
        for group in _grouped(range(self.after)) if going else []:
            with self._homes_of(group) as homes:
                for index in going:
                    with self._read(index) as shard:
                        for portion in shard.portions():
                            self._gone(shard, index, portion, homes)
                            self._step([])

    def _dissolve(self, index: int) -> None:
        with self._open(index % self.after) as heir:
            if not heir.has_taken(index):
                with self._read(index) as shard:
                    heir.take_rest(shard, index)
        shutil.rmtree(self.directory.shard(index))

    def _delete_in(self, staying: list[int]) -> None:
        for group in self._groups():
            with self._homes_of(group) as homes:
                for index in staying:
                    with self._open(index) as shard:
                        self._delete_from(shard, index, homes)

    def _delete_from(self, shard: Contents[Any], index: int, homes: dict[int, Contents[Any] | None]) -> None:
        for portion in shard.portions():
            for item in self._gone(shard, index, portion, homes):
                shard.remove(item)
            shard.commit()
            self._step(portion)
        while shard.tidy():
            shard.commit()
            self._step([])

    def _gone(
        self, shard: Contents[Any], index: int, portion: list[Any], homes: dict[int, Contents[Any] | None]
    ) -> list[Any]:
        """Return the items of a portion that route to one of these other shards, each of which holds its own."""
        gone = []
        for item in portion:
            home = self._homes[routing.slot_of(shard.routed_by(item))]
            if home == index or home not in homes:
                continue
            there = homes[home]
            if there is None or not there.holds(item):
                text = (
                    f"{shard.named(item)} is on shard {index}, routes to shard {home}, and was not copied there: "
                    "it routed elsewhere when the change was begun; it is left where it is"
                )
                raise DataDirError(text, path=str(self.directory.path))
            gone.append(item)
        return gone

    # ------------------------------------------------------------------ both

    def _step(self, portion: list[Any]) -> None:
        self._done += len(portion)
        self._total = max(self._total, self._done)
        self.progress(self._done, self._total)
        if self.interrupted():
            again = f"spex-shards reshard {self.directory.path} --to {self.after}"
            raise KeyboardInterrupt(f"interrupted; nothing is lost, and the directory opens after: {again}")

    @contextmanager
    def _open(self, index: int) -> Iterator[Contents[Any]]:
        path = self.directory.shard(index)
        base = LmdbStore(path, sync=True)
        try:
            store = LoggedStore(base, OsFiles(path), sync_each=True)
        except BaseException:
            base.close()
            raise
        with closing(self.contents(store)) as shard:
            shard.claim()
            yield shard

    @contextmanager
    def _homes_of(self, group: list[int]) -> Iterator[dict[int, Contents[Any] | None]]:
        """Open a group of shards for reading; None stands for one that does not exist."""
        with ExitStack() as stack:
            opened = {index: stack.enter_context(self._read(index)) for index in self._existing(group)}
            yield {index: opened.get(index) for index in group}

    def _existing(self, shards: Sequence[int]) -> list[int]:
        return [index for index in shards if self.directory.shard(index).exists()]

    @contextmanager
    def _read(self, index: int) -> Iterator[Contents[Any]]:
        store: Store = open_view(self.directory.shard(index))
        with closing(self.contents(store)) as shard:
            yield shard


def _grouped(shards: Sequence[int]) -> list[list[int]]:
    return [list(shards[i : i + _OPEN_AT_ONCE]) for i in range(0, len(shards), _OPEN_AT_ONCE)]
