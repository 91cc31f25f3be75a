"""The transport of asyncio: brings operations to shards as `Transport` does, by coroutines of one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from ...errors import CallTimeout, SpexError
from ..protocol.operations import STATS, Operation
from ..protocol.sent import Sent
from ..shard_info import ShardInfo
from .loop_channel import LoopChannel
from .loop_client import LoopClient
from .threads import in_thread


class AsyncTransport:
    """The coroutines of a `LoopClient`. Call them on its event loop only.

    A cancelled call leaves its request in the window: it is applied exactly once, and its answer is dropped.

    Args:
        client: The client, which is started.
    """

    def __init__(self, client: LoopClient) -> None:
        self.client = client

    @property
    def shard_count(self) -> int:
        """The number of shards."""
        return self.client.shard_count

    def shard_of(self, key: bytes) -> int:
        """Return the shard of a key, given as canonical bytes."""
        return self.client.shard_of(key)

    def channel(self, key: bytes) -> LoopChannel:
        """Return the channel to the shard of a key, given as canonical bytes."""
        return self.client.loop_channels[self.client.channel(key).shard]

    async def call(self, key: bytes, operation: Operation, arguments: tuple[Any, ...]) -> Any:
        """Have the shard of a key carry out an operation; return its plain answer once the changes are durable.

        The request is sent before the first `await`; so calls keep the order in which they are begun.

        Raises:
            SpexError: The service answered with an error, or the shard gave no answer.
        """
        channel = self.channel(key)
        sent = channel.start(operation, arguments)
        return await self._answer(channel, sent, channel.expect(sent))

    async def offer(self, key: bytes, operation: Operation, arguments: tuple[Any, ...], within: float) -> None:
        """Have an operation carried out as `call` does, but wait at most `within` seconds; see `Transport.offer`.

        Raises:
            CallTimeout: There was no answer in time (`maybe_executed`), or no room, and nothing was sent.
            SpexError: The service answered with an error, or nothing could be sent.
        """
        channel = self.channel(key)
        answer = await channel.offered(operation, arguments, within)
        if answer is not None:
            self.client.value_of(channel, answer)

    def post(self, key: bytes, operation: Operation, arguments: tuple[Any, ...]) -> None:
        """Send an operation to the shard of a key without waiting for anything; order is kept per key.

        Raises:
            CallTimeout: Too many requests are on their way; nothing was sent.
            ShardFailed: The shard is given up.
        """
        self.channel(key).post_now(operation, arguments)

    async def drain(self, key: bytes | None) -> None:
        """Wait until the shard of a key has room for a `post`; None: until each shard has.

        Raises:
            CallTimeout: A shard had no room within the timeout.
            ShardFailed: A shard is given up.
        """
        for channel in self.client.loop_channels if key is None else [self.channel(key)]:
            await channel.drain()

    async def call_shards(self, operation: Operation, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Have several shards carry out an operation at the same time.

        Returns:
            Shard → its plain answer, or the `SpexError` that it failed with.
        """
        begun: dict[int, tuple[Sent, asyncio.Future[bool]] | SpexError] = {}
        for shard, of_shard in arguments.items():
            channel = self.client.loop_channels[shard]
            try:
                sent = channel.start(operation, of_shard)
                begun[shard] = sent, channel.expect(sent)
            except SpexError as error:
                begun[shard] = error
        outcomes: dict[int, Any] = {}
        for shard, request in begun.items():
            try:
                if isinstance(request, SpexError):
                    raise request
                outcomes[shard] = await self._answer(self.client.loop_channels[shard], *request)
            except SpexError as error:
                outcomes[shard] = error
        return outcomes

    async def _answer(self, channel: LoopChannel, sent: Sent, expected: asyncio.Future[bool]) -> Any:
        if not await expected:
            raise channel.lines.overdue(sent)
        return None if sent.answer is None else self.client.value_of(channel, sent.answer)

    async def flush(self, timeout: float | None) -> list[SpexError]:
        """Wait until everything posted is applied; return the errors that were not returned before.

        Raises:
            CallTimeout: It took longer than `timeout` seconds.
        """
        channels = self.client.loop_channels
        futures = {channel.shard: future for channel in channels if (future := channel.expect_all()) is not None}
        if futures:
            await asyncio.wait(futures.values(), timeout=timeout)
        late = [shard for shard, future in futures.items() if not future.done()]
        for shard in late:
            futures[shard].cancel()
        if late:
            text = f"not everything was applied within {timeout} s on shard {late[0]}"
            raise CallTimeout(text, shard=late[0], maybe_executed=True)
        return self.client.take_failures()

    async def shards(self) -> list[ShardInfo]:
        """Return the status of each shard's process."""
        return await in_thread(self.client.shards)

    async def stats(self) -> list[dict[str, Any]]:
        """Return the counters of each shard.

        Raises:
            SpexError: A shard cannot answer.
        """
        return self.client.counters(await self.call_shards(STATS, dict.fromkeys(range(self.shard_count), ())))

    async def revive(self, index: int) -> None:
        """Restart a shard that was given up, and wait until it answers."""
        await in_thread(partial(self.client.ask_to_revive, index))
        [outcome] = (await self.call_shards(STATS, {index: ()})).values()
        if isinstance(outcome, SpexError):
            raise outcome

    async def wind_up(self, timeout: float) -> None:
        """Wait until everything is applied, up to `timeout` seconds, and take the client off the loop.

        Then the client can be closed, on any thread, and `settle` wakes whoever still waits.
        """
        try:
            await self.flush(timeout)
            self.client.flushed = True
        except CallTimeout as error:
            self.client.flushed = error
        for channel in self.client.loop_channels:
            channel.detach()

    def settle(self) -> None:
        """Wake all coroutines that still wait: their requests were answered when the client was closed."""
        for channel in self.client.loop_channels:
            channel.look()
