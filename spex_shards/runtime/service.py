"""The port between a shard and its service: operations that it carries out, and work that becomes due by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from .protocol.operations import Operation
from .store import Batch
from .watch import Watch


class Deferred(BaseException):
    """Raised by a service when a call must wait for long work.

    The shard rolls the call back, and carries it out again when the work is done. This is not an `Exception`, so that
    code which handles errors does not catch it.

    Attributes:
        key: Identifies the work: calls that raise the same key wait for the same work.
        work: The work. It runs in a process of its own, changes nothing, and returns a text.
    """

    def __init__(self, key: bytes, work: Callable[[], str]) -> None:
        super().__init__(key)
        self.key = key
        self.work = work


class Service(Protocol):
    """The code that runs on a shard. It makes its changes in the shard's batch, which its caller commits or rolls back.

    If a call raises, its changes are rolled back and the caller receives the error, a `SpexError` as the same class. If
    a call *returns* a `SpexError`, the caller receives that error too, but the changes are kept.

    Attributes:
        operations: Operation → the function that carries it out, called with the arguments and `call`.
        held: Set by the shard: True while work that writes log records and can wait must not be done.
        defers: Set by the shard: whether calls may raise `Deferred`; if not, long work is done at once.
    """

    operations: Mapping[Operation, Callable[..., Any]]
    held: bool
    defers: bool

    def declare(self, arguments: list[Any]) -> None:
        """Take a declaration of a client, which arrives before the client's requests.

        Raises:
            ValueError: It is malformed.
            StoreError: It cannot be stored.
        """

    def foresee(self, requests: Sequence[tuple[Operation, list[Any]]]) -> Mapping[str, Sequence[bytes]]:
        """Return rows that these requests are going to read, table → keys, for a store that reads them together.

        Args:
            requests: Operations and their arguments, not checked yet.
        """

    def done(self, key: bytes, result: str) -> None:
        """Take the result of deferred work.

        Args:
            key: The key that `Deferred` was raised with.
            result: The text that the work returned.
        """

    def next_due(self) -> int | None:
        """Return when `tick` has work: microseconds since the epoch (0: at once), or None if there is none."""

    def tick(self, now: int) -> None:
        """Do a bounded portion of the work that is due.

        Args:
            now: Microseconds since the epoch.

        Raises:
            StoreError: The store failed; the caller rolls the portion back and calls again later.
        """

    def stats(self) -> dict[str, Any]:
        """Return the service's own counters."""


class Host(Protocol):
    """Creates the services of all shards; made once per start, before any shard."""

    @property
    def warnings(self) -> Sequence[str]:
        """Warnings for the owner's log."""

    def service(self, batch: Batch, watch: Watch, now: int) -> Service:
        """Return the service of one shard.

        Raises:
            StoreError: A row that must be read at the start is damaged.
        """


StoreReader = Callable[[Callable[[Batch], Any]], list[Any]]
"""Calls a function with the batch of each existing shard; returns its plain results, leaving out unreadable shards."""
