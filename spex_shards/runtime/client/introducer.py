"""The port that connects a client with its shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .channel import Channel
from .events import Listener
from .ownership import Ownership


class Introducer(Protocol):
    """Opens a client's channels, learns of shards' deaths, and reads what shards send unasked; no call waits for it.

    `Courier` does this on one machine, through a supervisor's socket. Another implementation could ask the directory of
    a cluster where a shard is. Any thread may call any method, also a signal handler in the middle of another call.
    """

    def start(self, within: float | None, *, patient: bool = False) -> None:
        """Connect, waiting up to `within` seconds; None: not waiting for the other side's answer.

        If `patient`, a supervisor that is missing is not waited for, but connected with later.

        Raises:
            ShardDown: There is nothing to connect to.
            RuntimeError: The system gives no thread.
        """

    def want(self, shard: int) -> None:
        """Ask for a channel to be opened; never blocks."""

    def blocked(self, shard: int) -> None:
        """Ask for a channel's unwritten requests to be written; never blocks."""

    def wake(self) -> None:
        """Have the introducer check everything; never blocks."""

    def status(self, timeout: float) -> list[Any]:
        """Return the status rows, one per shard.

        Raises:
            ShardDown: There was no answer in time.
        """

    def revive(self, shard: int, timeout: float) -> None:
        """Ask for a shard that was given up to be restarted.

        Raises:
            ShardDown: There was no answer in time.
        """

    def stop(self) -> None:
        """Read the events that have arrived, and close everything. It may be called again if it was cut off."""

    def forget(self) -> None:
        """In a forked child: close this process's descriptors without telling the other side."""


MakeIntroducer = Callable[[bytes, Sequence[Channel], Listener, Ownership | None], Introducer]
"""Creates the introducer of a client from the client's id, its channels, the listener for events, and its ownership."""
