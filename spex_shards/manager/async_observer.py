"""The observing calls of an asyncio manager, in all modes but plain ``"enforce"``; see `observer`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..domain.specification import Specification
from ..errors import CallTimeout, SpexError
from ..runtime.aio.loop_client import LoopClient
from ..runtime.aio.transport import AsyncTransport
from ..runtime.protocol.operations import Operation
from .arguments import key_of, meta_of
from .observer import Observer


class AsyncObserver(Observer):
    """An observer whose waiting calls return a coroutine, which returns what the call of an `Observer` would.

    A call that does nothing, or does not wait, returns that at once.
    """

    def _observe(
        self,
        operation: Operation,
        cls: type[Specification] | None,
        mode: str,
        identifier: Any,
        meta: Any,
        arrange: Callable[[bytes, bytes | None], tuple[Any, ...]],
        *,
        waits: bool = True,
        returns: bool = False,
    ) -> Any:
        if waits:
            return self._wait(operation, cls, mode, identifier, meta, arrange, returns=returns)
        return super()._observe(operation, cls, mode, identifier, meta, arrange, waits=False, returns=returns)

    async def _wait(
        self,
        operation: Operation,
        cls: type[Specification] | None,
        mode: str,
        identifier: Any,
        meta: Any,
        arrange: Callable[[bytes, bytes | None], tuple[Any, ...]],
        *,
        returns: bool,
    ) -> SpexError | None:
        raises = mode == "enforce"
        try:
            key = key_of(identifier)
            if self._is_sampled is not None and not self._is_sampled(key):
                return None
            arguments = arrange(key, None if meta is None else meta_of(meta))
            client = self.behind.transport_for(cls, None if raises else self._timeout)
            assert isinstance(client, LoopClient)
            transport = AsyncTransport(client)
            if raises:
                await transport.call(key, operation, arguments)
            else:
                await transport.offer(key, operation, arguments, self._timeout)
        except SpexError as error:
            return self._failed(error, mode, operation, identifier, returns=returns)
        except (TypeError, ValueError) as error:
            return self._malformed(error, operation, identifier, raises=raises, returns=returns)
        except asyncio.CancelledError:
            if not raises:
                text = "the call was cancelled; its observation may be applied later"
                self._ledger.failure(CallTimeout(text, maybe_executed=True), operation.name, identifier)
            raise
        if not raises:
            self._count(waits=True)
        return None
