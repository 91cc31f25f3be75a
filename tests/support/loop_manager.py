"""An asyncio manager behind the calls of a blocking one, so that one contract suite runs over both."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self

from spex_shards.aio import AsyncInstanceManager

_END = object()


class LoopThread:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="test-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a function or coroutine function on the loop, and wait for its result."""

        async def on_the_loop() -> Any:
            result = function(*arguments, **options)
            return await result if inspect.isawaitable(result) else result

        return asyncio.run_coroutine_threadsafe(on_the_loop(), self.loop).result(60)

    def iterate(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        """Yield the items of an asynchronous iterator."""
        while (item := self.call(anext, items, _END)) is not _END:
            yield item

    def end(self) -> None:
        """Stop and close the loop."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(20)
            self.loop.close()


class LoopManager:
    """An `AsyncInstanceManager` on the loop of a thread, with the names of a blocking manager."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._thread: LoopThread | None = None
        self.inner = self._make(**options)

    @staticmethod
    def _make(**options: Any) -> AsyncInstanceManager:
        return AsyncInstanceManager(**options)

    def start(self) -> Self:
        """Start the loop and the manager."""
        if self._thread is not None and not self._thread.loop.is_closed():
            self._thread.call(self.inner.start)
            return self
        self._thread = LoopThread()
        try:
            self._thread.call(self.inner.start)
        except BaseException:
            self._thread.end()
            self._thread = None
            raise
        return self

    def close(self) -> None:
        """Close the manager, and end the loop."""
        if self._thread is None or self._thread.loop.is_closed():
            return
        try:
            self._thread.call(self.inner.close)
        finally:
            self._thread.end()

    def __reduce__(self) -> tuple[Any, ...]:
        return _elsewhere, (self.inner,)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def mode(self) -> str:
        """The manager's mode."""
        return self.inner.mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self.inner.mode = mode

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.inner, name)
        if not callable(attribute):
            return attribute

        def call(*arguments: Any, **options: Any) -> Any:
            thread = self._thread
            if thread is None or thread.loop.is_closed():
                return asyncio.run(_call(attribute, *arguments, **options))
            if name.endswith("_nowait"):
                thread.call(self.inner.drain)
            result = thread.call(attribute, *arguments, **options)
            return thread.iterate(result) if hasattr(result, "__anext__") else result

        return call


def _elsewhere(inner: AsyncInstanceManager) -> LoopManager:
    manager = LoopManager.__new__(LoopManager)
    manager._options, manager._thread, manager.inner = {}, None, inner
    return manager


async def _call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    result = function(*arguments, **options)
    return await result if inspect.isawaitable(result) else result
