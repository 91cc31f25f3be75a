"""The port through which a client reaches shards: who brings the two together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .channel import Channel
from .events import Listener
from .ownership import Ownership


class Introducer(Protocol):
    """Opens a client's channels, hears of deaths, and reads what shards send unasked, beside all calls.

    `Courier` does it on one machine, by a supervisor's socket. Another one could ask a cluster's directory where a
    shard is. All methods may be called by any thread, also by a signal handler in the middle of another call.
    """

    def start(self, within: float) -> None:
        """Connect, waiting `within` seconds at most.

        Raises:
            ShardDown: There is nobody to connect to.
            RuntimeError: The system gives no thread.
        """

    def want(self, shard: int) -> None:
        """Have a channel opened; never blocks."""

    def blocked(self, shard: int) -> None:
        """Have written what a channel could not write at once; never blocks."""

    def wake(self) -> None:
        """Have it look at everything; never blocks."""

    def status(self, timeout: float) -> list[Any]:
        """Return what is known of each shard.

        Raises:
            ShardDown: Nobody answered in time.
        """

    def revive(self, shard: int, timeout: float) -> None:
        """Have a shard that was given up started again.

        Raises:
            ShardDown: Nobody answered in time.
        """

    def stop(self) -> None:
        """Take in what has arrived, and close everything. May be called again if it was cut off."""

    def forget(self) -> None:
        """Close this process's descriptors without a word, as a forked child does."""


MakeIntroducer = Callable[[bytes, list[Channel], Listener, Ownership | None], Introducer]
"""Makes the introducer of a client: from its id, its channels, who listens, and its supervisor's ownership."""
