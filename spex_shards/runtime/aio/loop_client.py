"""A client whose channels belong to an event loop, which takes the place of leading threads and the pump."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from ...errors import CallTimeout, SpexError
from ..client.bounded import BoundedChannel
from ..client.client_options import ClientOptions
from ..client.core import Client
from ..client.introducer import MakeIntroducer
from ..client.mailbox import Mailbox
from ..client.ownership import Ownership
from ..protocol.operations import Operation
from .loop_channel import LoopChannel


class LoopClient(Client):
    """A client of one event loop. `AsyncTransport` has its coroutines; the blocking calls are for the end only.

    A forked child cannot use it: the loop's descriptors are shared with the parent.

    Args:
        loop: The event loop.
        introduce: Creates the introducer.
        options: The options.
        mailbox: Receives the messages of shards.
        ownership: In the process that owns the supervisor: starts and ends it.

    Attributes:
        loop_channels: The channels, by shard.
        timeout: Seconds that a call waits for its answer.
        flushed: What came of waiting for all requests on the loop: None: nobody has; else the shards that were late.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        introduce: MakeIntroducer,
        options: ClientOptions,
        mailbox: Mailbox,
        ownership: Ownership | None = None,
    ) -> None:
        self._loop = loop
        self._pid = os.getpid()
        self.timeout = options.call_timeout
        self.loop_channels: list[LoopChannel] = []
        self.flushed: CallTimeout | bool = False
        super().__init__(introduce, options, mailbox, ownership)

    def _channel_to(self, shard: int) -> BoundedChannel:
        most, largest = self._options.max_unacknowledged, self._options.max_frame_bytes
        channel = LoopChannel(shard, self, most, largest, self._loop, self.timeout)
        self.loop_channels.append(channel)
        return channel

    @property
    def is_forked(self) -> bool:
        """Whether this is a forked child, and the client belongs to its parent."""
        return self._pid != os.getpid()

    def check(self) -> None:
        """Raise if this process must not use the client.

        Raises:
            RuntimeError: This is a forked child.
        """
        if self.is_forked:
            raise RuntimeError(
                f"this asyncio manager belongs to process {self._pid}, and this is its forked child: "
                "make another in the child (for a data directory: await spex_shards.aio.connect(data_dir))"
            )

    def blocked(self, shard: int) -> None:
        """Have the loop write a channel's output."""
        self.loop_channels[shard].tell()

    def changed(self, shard: int) -> None:
        """Have the loop watch the pipes of a channel's new line, and wake whoever got an answer."""
        self.loop_channels[shard].tell()

    def post(self, canonical: bytes, operation: Operation, arguments: tuple[Any, ...]) -> None:
        """Send a request without waiting for anything; see `LoopChannel.post_now`."""
        self.loop_channels[self.channel(canonical).shard].post_now(operation, arguments)

    def offer(
        self, canonical: bytes, operation: Operation, arguments: tuple[Any, ...], within: float, *, waits: bool
    ) -> None:
        """Send a request without waiting for anything; `AsyncTransport.offer` is for those that wait."""
        super().offer(canonical, operation, arguments, 0.0 if not waits else within, waits=waits)

    def flush(self, timeout: float | None) -> list[SpexError]:
        """Wait until all requests are answered, unless the loop has waited for that; see `Client.flush`."""
        if isinstance(self.flushed, CallTimeout):
            raise self.flushed
        return self.take_failures() if self.flushed else super().flush(timeout)

    def close(self, timeout: float) -> list[SpexError]:
        """Close as `Client.close` does; in a forked child, do nothing."""
        return [] if self.is_forked else super().close(timeout)

    def _forked(self) -> None:
        for channel in self.loop_channels:
            channel.disown()
        super()._forked()
        self._introducer.forget()
