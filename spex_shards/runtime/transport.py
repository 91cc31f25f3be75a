"""The seam between a manager and shards: how operations reach them, whatever lies in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..errors import SpexError
from .protocol.operations import Operation
from .shard_info import ShardInfo


class Transport(Protocol):
    """A way to a number of shards, open from the moment that it is there. Thread-safe.

    Attributes:
        shard_count: How many shards there are.
        ships: Whether functions and classes must be sent as bytes; else they are taken as they are.
    """

    @property
    def shard_count(self) -> int:
        """How many shards there are."""

    @property
    def ships(self) -> bool:
        """Whether functions must be sent as bytes."""

    def check(self) -> None:
        """Do nothing where it can be used.

        Raises:
            DataDirLocked: It is the parent's of this forked child.
        """

    def call(self, key: bytes, operation: Operation, arguments: tuple[Any, ...]) -> Any:
        """Have the shard of a key carry an operation out, durably; return its plain answer.

        Args:
            key: Canonical bytes, by which the shard is found.
            operation: What to do.
            arguments: Plain values.

        Raises:
            SpexError: What the service answered, or what kept it from answering.
        """

    def post(self, key: bytes, operation: Operation, arguments: tuple[Any, ...]) -> None:
        """Have the shard of a key carry an operation out, without waiting; in the order of the calls.

        Raises:
            CallTimeout: Too much is on its way already; nothing was sent.
            ShardFailed: The shard is given up.
        """

    def call_shards(self, operation: Operation, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Have shards carry an operation out at the same time.

        Args:
            operation: What to do.
            arguments: By shard.

        Returns:
            Shard → its plain answer, or the `SpexError` that it ended with.
        """

    def declare(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Make something known to all shards, ahead of whatever is sent after this; what had the name before goes.

        Raises:
            ValueError: It is larger than a request may be.
        """

    def flush(self, timeout: float | None) -> list[SpexError]:
        """Wait until everything posted is applied; return what could not be, and was not returned before.

        Raises:
            CallTimeout: It took longer than `timeout` seconds.
        """

    def shards(self) -> list[ShardInfo]:
        """Return what is known of each shard's process."""

    def stats(self) -> list[dict[str, Any]]:
        """Return the counters of each shard."""

    def revive(self, index: int) -> None:
        """Have a shard that was given up started again, and wait until it answers."""

    def close(self, timeout: float) -> list[SpexError]:
        """Flush, and let go; return what could not be applied and was not returned before.

        A close that was cut off, or is interrupted by another, may be repeated: so may each of its steps.

        Args:
            timeout: Seconds that what is on its way has.

        Raises:
            StoreError: Everything is applied, but not everything could be written out.
        """


def unapplied(kept: list[SpexError], missing: int, where: str, **context: Any) -> list[SpexError]:
    """Return errors that are kept, and one more for those that are not."""
    if not missing:
        return kept
    text = f"{missing} more {where} could not be applied; the first and the newest of them are told one by one"
    return [*kept, SpexError(text, more=missing, **context)]
