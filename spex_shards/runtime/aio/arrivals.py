"""Messages of shards, as coroutines wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from ..client.mailbox import Mailbox

_NOTHING: Final = object()


class Arrivals:
    """Tells coroutines of one event loop that messages have arrived in a mailbox.

    Args:
        loop: The event loop.
        mailbox: The mailbox.
        is_open: Returns whether further messages may arrive.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, mailbox: Mailbox, is_open: Callable[[], bool]) -> None:
        self._loop = loop
        self._mailbox = mailbox
        self._is_open = is_open
        self._waiting: set[asyncio.Future[None]] = set()
        mailbox.tell = self.tell

    def tell(self) -> None:
        """Wake the coroutines that wait. Any thread may call this; it never blocks."""
        if self._waiting:
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                pass  # the loop is closed

    async def messages(self, timeout: float | None) -> AsyncIterator[Any]:
        """Yield the messages that have arrived, and wait up to `timeout` seconds for each further one (None: for ever).

        It ends when no further messages can arrive.
        """
        while True:
            deadline = None if timeout is None else self._loop.time() + timeout
            message = await self._next(deadline)
            if message is _NOTHING:
                return
            yield message

    async def _next(self, deadline: float | None) -> Any:
        while True:
            # Wait for the next arrival before looking: what arrives in between wakes the future.
            arrived = self._loop.create_future()
            self._waiting.add(arrived)
            try:
                message = next(self._mailbox.messages(), _NOTHING)
                left = None if deadline is None else deadline - self._loop.time()
                if message is not _NOTHING or not self._is_open() or (left is not None and left <= 0):
                    return message
                await asyncio.wait([arrived], timeout=left)
            finally:
                self._waiting.discard(arrived)

    def _wake(self) -> None:
        for arrived in self._waiting:
            if not arrived.done():
                arrived.set_result(None)
