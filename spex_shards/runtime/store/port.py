"""The ports of stores, and the tables of a shard's store."""

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
    "garbage",  # number of a removed instance → entries of its history that are not deleted yet
    "models",  # model number, 0 → header; model number, n → a transition
    "specifications",  # name → number, digests, data
    "deviations",  # running number → specification, transition, verdict, accepted, count, first and last seen
    "clients",  # client id → highest number applied, event number, last seen
    "answers",  # client id, number → an answer that is not plain success
    "outbox",  # running number → a log record that no application has confirmed yet
    "jobs",  # name → state of work done in portions
    "layout",  # name → value: counters, the shard's place in the directory, the service that runs on it
    "rows",  # table and key of an application's own service → value
)
"""Keys are bytes; all integers in keys are big-endian, so that ranges are in order."""

LATER: Final = frozenset({"rows"})
"""Tables that environments of earlier versions do not have; nothing is written to them there."""

MAX_KEY_BYTES: Final = 511
"""The longest key that LMDB allows."""

Changes = Mapping[str, Mapping[bytes, bytes | None]]
"""Table → key → new value, or None for a deletion."""


class Store(Protocol):
    """Ordered tables of bytes, for one thread at a time.

    Attributes:
        far: Whether a read costs a round trip to another process, so that it pays to call `get_many` for a batch.
        next_upkeep: When `upkeep` must be called, on the clock of `time.monotonic`; infinity: it need not be.
    """

    far: bool
    next_upkeep: float

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """Return the values of all `keys`; a store that is `far` needs one round trip, and keeps them for the batch."""

    def range(
        self, table: str, start: bytes, stop: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over ``start <= key < stop`` in key order (or the reverse); `stop` None: to the end."""

    def apply(self, changes: Changes) -> None:
        """Commit all changes, or none.

        When it returns, they survive the death of the process; with durability "disk" also a power loss.

        Raises:
            StoreError: None of them was committed.
        """

    def release(self) -> None:
        """End the reading view of the reads since the last `apply` or `release`.

        Raises:
            StoreLost: What was read must not be answered: another process owns the store.
        """

    def upkeep(self) -> None:
        """Do a short portion of the maintenance that is due. Call it between batches.

        Raises:
            StoreError: The store cannot keep its guarantees any more; `apply` fails as well from now on.
        """

    def size(self) -> int:
        """Return the size of the store in bytes."""

    def rows(self) -> int:
        """Return about how many rows there are: rows changed lately may count more than once."""

    def close(self) -> None:
        """Write everything out, and close the store."""


class ShardStore(Store, Protocol):
    """The store of one shard, for the worker or the manager that runs the shard.

    Attributes:
        claim: The number of the claim under which it was opened, which grows with each; 0: such stores need none.
    """

    claim: int

    @property
    def last(self) -> int:
        """The sequence of the newest batch that is committed."""
        ...

    def begin_view(self) -> None:
        """Read in a new view from now on; a call that is in the middle of reading keeps the old one."""

    def reopened(self, *, in_use: bool) -> ShardStore:
        """Return a store that continues with everything that is committed; this one commits nothing more.

        Args:
            in_use: Whether a thread may be in the middle of `apply`, so that it is unknown whether its batch is kept.

        Raises:
            DataDirError: The store cannot be read or written.
        """

    def make_room(self) -> None:
        """Wait until the store takes batches again after `StoreFull`.

        Raises:
            StoreError: It cannot take any.
        """


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How a shard's store is opened.

    Attributes:
        durability: ``"process"``, ``"disk"``, or for a store in a database ``"remote_apply"``.
        helper_keeps: Descriptors that the helper process for checkpoints does not close; None: no helper process, this
            process writes checkpoints itself.
        waits_for_room: Whether a batch waits while the store is full; otherwise it is refused with `StoreFull`.
        on_wait: Called now and then while a batch waits.
        resumes: The claim under which its supervisor had the store before: if another owner has claimed it since, it is
            not taken back. 0: it is taken from whoever has it. -1: there was a claim, and its number is not known.
    """

    durability: str
    helper_keeps: Sequence[int] | None = None
    waits_for_room: bool = True
    on_wait: Callable[[], None] = lambda: None
    resumes: int = 0


class Stores(Protocol):
    """The stores of all shards, by the shard's index: a data directory today, or a database."""

    def begin(self, shards: int, *, resumes: bool = False) -> list[str]:
        """Begin to use the stores, before any is opened; return warnings. Its caller has the directory's lock.

        Args:
            shards: The number of shards; recorded in a new place, else compared.
            resumes: Whether the caller goes on for one that has used them before: then it does not take them from
                another that has begun to use them since.

        Raises:
            LayoutMismatch: The place was made for another number of shards.
            DataDirError: It cannot be used, or another uses it since.
            StoreLost: It cannot be reached.
        """

    def leave(self) -> None:
        """Note that the stores are not used any more; all are closed."""

    def exists(self, shard: int) -> bool:
        """Return whether a shard has a store."""

    def open(self, shard: int, options: StoreOptions) -> ShardStore:
        """Open a shard's store, and create it if there is none.

        Raises:
            DataDirError: It cannot be opened.
        """

    def view(self, shard: int) -> Store:
        """Open a shard's store for reading; nothing is written.

        Raises:
            DataDirError: It cannot be opened.
        """


class BaseStore(Store, Protocol):
    """The store under a log, which checkpoints are written into."""

    def another_view(self) -> BaseStore:
        """Return the same store, with a reading view of its own."""
