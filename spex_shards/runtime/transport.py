"""The seam between a manager and shards: how requests reach the shards, over pipes or in the same process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ..errors import SpexError
from .protocol.operations import Operation
from .shard_info import ShardInfo


class Transport(Protocol):
    """A way to send requests to shards. It is open from the moment it exists. Thread-safe.

    Attributes:
        shard_count: The number of shards.
        ships: Whether functions and classes must be sent as bytes; if not, the objects themselves are passed.
    """

    @property
    def shard_count(self) -> int:
        """The number of shards."""

    @property
    def ships(self) -> bool:
        """Whether functions and classes must be sent as bytes."""

    def check(self) -> None:
        """Raise if this process must not use the transport.

        Raises:
            DataDirLocked: This is a forked child, and the transport belongs to its parent.
        """

    def shard_of(self, key: bytes) -> int:
        """Return the shard of a key, given as canonical bytes."""

    def call(self, key: bytes, operation: Operation, arguments: tuple[Any, ...]) -> Any:
        """Have the shard of a key carry out an operation; return its plain answer once the changes are durable.

        Args:
            key: The key's canonical bytes, which select the shard.
            operation: The operation.
            arguments: Plain values.

        Raises:
            SpexError: The service answered with an error, or the shard gave no answer.
        """

    def post(self, key: bytes, operation: Operation, arguments: tuple[Any, ...]) -> None:
        """Send an operation to the shard of a key without waiting for its answer; order is kept per key.

        Args:
            key: The key's canonical bytes, which select the shard.
            operation: The operation.
            arguments: Plain values.

        Raises:
            CallTimeout: Too many requests are on their way; nothing was sent.
            ShardFailed: The shard is given up.
        """

    def offer(
        self, key: bytes, operation: Operation, arguments: tuple[Any, ...], within: float, *, waits: bool
    ) -> None:
        """Have an operation carried out as `call` does, or `post`, but hold the caller up for a bounded time only.

        While the shard has not answered since such a wait ended in vain, there is no wait at all.

        Args:
            key: The key's canonical bytes, which select the shard.
            operation: The operation.
            arguments: Plain values.
            within: The most seconds to wait.
            waits: Whether to wait for the answer, as `call` does; if not, only for room, as `post` does.

        Raises:
            CallTimeout: There was no answer in time, and the operation is carried out later (`maybe_executed`); or
                there was no room, and nothing was sent.
            SpexError: The service answered with an error, or nothing could be sent.
        """

    def failed(self) -> Counter[type[SpexError]]:
        """Return how many operations that nobody waited for have failed since the start, by the errors' classes."""

    def call_shards(self, operation: Operation, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Have several shards carry out an operation at the same time.

        Args:
            operation: The operation.
            arguments: Shard → its arguments.

        Returns:
            Shard → its plain answer, or the `SpexError` that it failed with.
        """

    def declare(self, name: str, arguments: tuple[Any, ...], within: float | None = None) -> None:
        """Make something known to all shards, before any request that is sent later.

        A new declaration replaces an earlier one of the same name.

        Args:
            name: The name of what is declared.
            arguments: Plain values.
            within: The most seconds to wait for other calls, as in `offer`; None: no limit.

        Raises:
            CallTimeout: Other calls did not end in time; nothing was declared.
            ValueError: It is larger than a request may be.
        """

    def flush(self, timeout: float | None) -> list[SpexError]:
        """Wait until everything posted is applied; return the errors that were not returned before.

        Raises:
            CallTimeout: It took longer than `timeout` seconds.
        """

    def shards(self) -> list[ShardInfo]:
        """Return the status of each shard's process."""

    def stats(self) -> list[dict[str, Any]]:
        """Return the counters of each shard."""

    def reports(self, shards: Iterable[int], within: float) -> dict[int, Any]:
        """Return the counters of some shards, as far as they answer in time.

        Args:
            shards: The shards to ask.
            within: The most seconds to wait for all of them together.

        Returns:
            Shard → its counters, or the `SpexError` that there is instead.
        """

    def revive(self, index: int) -> None:
        """Restart a shard that was given up, and wait until it answers."""

    def close(self, timeout: float) -> list[SpexError]:
        """Flush, and release everything; return the errors that were not returned before.

        If an exception cuts a close off, or another close interrupts it, it can be repeated: so can each of its steps.

        Args:
            timeout: Seconds that requests on their way get to finish.

        Raises:
            StoreError: Everything is applied, but not everything could be written to the disk.
        """


def unapplied(kept: list[SpexError], missing: int, where: str, **context: Any) -> list[SpexError]:
    """Return the kept errors, plus one that stands for the `missing` errors that were not kept."""
    if not missing:
        return kept
    text = f"{missing} more {where} could not be applied; the first and the newest of them are told one by one"
    return [*kept, SpexError(text, more=missing, **context)]
