"""The port: what an engine needs of a store, and the tables that it keeps there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

TABLES: Final = (
    "instances",  # canonical bytes, or marker and digest → InstanceRow
    "metas",  # instance number → meta
    "history",  # instance number, sequence → time, action, state
    "by_spec",  # specification number, instance key → nothing
    "deadlines",  # due time, instance number → instance key
    "parked",  # specification number, due time, instance number → instance key: timeouts that wait for a handler
    "prunable",  # due time, instance number → instance key
    "garbage",  # instance number → entries of a history still to be removed
    "models",  # model number, 0 → header; model number, n → a transition
    "specifications",  # name → number, digests, data
    "deviations",  # running number → specification, transition, verdict, accepted, count, first and last seen
    "clients",  # client id → highest number applied, event number, last seen
    "answers",  # client id, number → an answer that is not plain success
    "outbox",  # running number → a log record that no application has taken yet
    "jobs",  # name → state of work done in portions
    "layout",  # name → value: counters, the shard's place in the directory, the service that runs on it
    "rows",  # table of a service of the application's, key → value
)
"""Keys are bytes; all integers in keys are big-endian, so that ranges are in order."""

LATER: Final = frozenset({"rows"})
"""Environments that an earlier version made have none of these; nobody writes to them there."""

MAX_KEY_BYTES: Final = 511
"""LMDB's limit."""

Changes = Mapping[str, Mapping[bytes, bytes | None]]
"""Table → key → new value, or None for a deletion."""


class Store(Protocol):
    """Ordered tables of bytes. One thread at a time uses it.

    Attributes:
        next_upkeep: When `upkeep` is to be called, on the clock of `time.monotonic`; infinity: not now.
    """

    next_upkeep: float

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""

    def range(
        self, table: str, start: bytes, stop: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over ``start <= key < stop`` in key order (or the reverse); `stop` None: to the end."""

    def apply(self, changes: Changes) -> None:
        """Keep all changes, or none.

        After it returns they survive the death of the process; where the store was opened for durability "disk",
        also a power loss.

        Raises:
            StoreError: None of them was kept.
        """

    def release(self) -> None:
        """End the view that reads since the last `apply` or `release` were made in."""

    def upkeep(self) -> None:
        """Do what is due by itself; short. To be called between batches.

        Raises:
            StoreError: The store cannot keep its promises any more; `apply` will not work either.
        """

    def size(self) -> int:
        """Return the bytes that the store takes."""

    def rows(self) -> int:
        """Return how many rows there are, about: what was changed lately may count more than once."""

    def close(self) -> None:
        """Write everything out and let go of it."""


class ShardStore(Store, Protocol):
    """The store of one shard, as whoever runs the shard uses it."""

    @property
    def last(self) -> int:
        """The sequence of the newest batch that is kept."""
        ...

    def may_be_appending(self) -> bool:
        """Return whether a thread is in the middle of `apply`, so that it is not known what is kept."""

    def begin_view(self) -> None:
        """Begin another reading view: a read that is under way keeps the one that there was."""

    def reopened(self) -> ShardStore:
        """Return a store that goes on with everything that is kept; this one keeps nothing more.

        Raises:
            DataDirError: The store cannot be read or written.
        """

    def make_room(self) -> None:
        """Wait until the store takes batches again after `StoreFull`.

        Raises:
            StoreError: It still takes nothing.
        """


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How a shard's store is opened.

    Attributes:
        durability: ``"process"`` or ``"disk"``.
        helper_keeps: Descriptors that the helper process of checkpoints keeps; None: checkpoints are written by the
            process that the store is opened in.
        waits_for_room: Whether a batch waits while the store takes nothing more; else it is refused with `StoreFull`.
        on_wait: Called now and then while it waits.
    """

    durability: str
    helper_keeps: Sequence[int] | None = None
    waits_for_room: bool = True
    on_wait: Callable[[], None] = lambda: None


class Stores(Protocol):
    """The stores of all shards, by the shard's index: a data directory today, or a database."""

    def exists(self, shard: int) -> bool:
        """Return whether a shard has a store already."""

    def open(self, shard: int, options: StoreOptions) -> ShardStore:
        """Open a shard's store, and make it where there is none.

        Raises:
            DataDirError: It cannot be opened.
        """

    def view(self, shard: int) -> Store:
        """Open a shard's store for reading, as it is; nothing is written.

        Raises:
            DataDirError: It cannot be opened.
        """


class BaseStore(Store, Protocol):
    """A store under a log."""

    def another_view(self) -> BaseStore:
        """Return the same store, with a reading view of its own."""
