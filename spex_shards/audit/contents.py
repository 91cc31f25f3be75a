"""The port between `reshard` and what a shard's store holds: items that are routed one by one, and the rest.

Two implementations exist: instances of Spex (`moving`) and rows of an application's service (`service_rows`).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

from ..runtime.protocol import records
from ..runtime.store import Batch, Store
from ..runtime.store.keys import u64
from ..runtime.worker.outbox import LOST, NEXT
from .reading import number

TAKEN: Final = b"taken from "
"""The prefix of a key in the table `layout`. It notes that the models, deviations and log records of a shard that is
being dissolved were already taken over here, so that they are not counted twice."""
Item = TypeVar("Item")


class Contents(ABC, Generic[Item]):
    """What one shard's store holds: items, each of which is routed to a shard, and what belongs to the shard itself.

    Args:
        store: The shard's store.

    Attributes:
        batch: The changes that are not committed yet.
        must_check: Whether the application decides how items are routed. Then each item is checked before anything is
            changed.
    """

    must_check: ClassVar[bool] = False

    def __init__(self, store: Store) -> None:
        self._store = store
        self.batch = Batch(store)

    def commit(self) -> None:
        """Commit what was changed."""
        self.batch.commit()
        if self._store.next_upkeep <= time.monotonic():
            self._store.upkeep()

    def close(self) -> None:
        """Drop what was not committed, and close the store."""
        self.batch.rollback()
        self._store.close()

    # ------------------------------------------------------------------ items

    @abstractmethod
    def count(self) -> int:
        """Return how many items there are."""

    @abstractmethod
    def portions(self) -> Iterator[list[Item]]:
        """Iterate over all items, a bounded number at a time; items that were given out may be removed meanwhile."""

    @abstractmethod
    def routed_by(self, item: Item) -> bytes:
        """Return the canonical bytes that an item is routed by.

        Raises:
            DataDirError: There are none; names the item.
        """

    @abstractmethod
    def named(self, item: Item) -> str:
        """Return how an error's text names an item."""

    @abstractmethod
    def holds(self, item: Item) -> bool:
        """Return whether this shard holds an item of another shard.

        Raises:
            DataDirError: It holds another item of that name.
        """

    @abstractmethod
    def adopt(self, source: Self, item: Item) -> bool:
        """Copy an item of another shard as it is; return False when this shard holds it already.

        Raises:
            DataDirError: There is another item of that name.
        """

    @abstractmethod
    def remove(self, item: Item) -> None:
        """Remove an item."""

    def tidy(self) -> bool:
        """Remove a portion of what removed items have left; return whether there was anything."""
        return False

    # ------------------------------------------------------------------ what belongs to a shard as a whole

    def claim(self) -> None:
        """Mark a store that may be new as one of this kind of contents; committed at once."""

    def has_taken(self, index: int) -> bool:
        """Return whether `take_rest` was done for a shard."""
        return self.batch.get("layout", TAKEN + b"%d" % index) is not None

    def take_rest(self, source: Self, index: int) -> None:
        """Unite what belongs to a shard that is dissolved with what belongs to this one; committed at once."""
        self._unite(source)
        self._take_reports(source)
        self.batch.put("layout", TAKEN + b"%d" % index, u64(1))
        self.commit()

    def forget_taken(self) -> None:
        """Forget which shards `take_rest` was done for: they are gone."""
        for key, _ in list(self.batch.range("layout", TAKEN, TAKEN + b"\xff")):
            self.batch.delete("layout", key)
        self.commit()

    def check_rest(self) -> None:
        """Read what `take_rest` will read.

        Raises:
            StoreError: A row is damaged.
        """
        for _, row in self.batch.range("outbox", b""):
            records.unseal(row, "a log record")

    def _unite(self, source: Self) -> None:
        """Unite what a subclass knows of; in the batch."""

    def _take_reports(self, source: Self) -> None:
        counter = self.batch.get("layout", NEXT)
        following = 1 if counter is None else number(counter)
        for _, row in source.batch.range("outbox", b""):
            self.batch.put("outbox", u64(following), row)
            following += 1
        self.batch.put("layout", NEXT, u64(following))
        lost = sum(number(contents.batch.get("layout", LOST) or b"") for contents in (self, source))
        self.batch.put("layout", LOST, u64(lost) if lost else None)


Opener = Callable[[Store], Contents[Any]]
"""Returns the contents of an open store."""
