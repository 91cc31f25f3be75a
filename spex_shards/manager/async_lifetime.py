"""The lifetime of an asyncio manager: start, close, and refusing calls outside of that or from elsewhere."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, Self

from ..errors import ManagerClosed
from ..runtime.aio.arrivals import Arrivals
from ..runtime.aio.threads import in_thread
from ..runtime.aio.transport import AsyncTransport
from ..runtime.lifetime import Life
from .behind import Behind
from .ledger import Losses


class AsyncLifetime:
    """The common part of managers whose calls are coroutines.

    Args:
        behind: The blocking manager that starts, ends and checks.

    Raises:
        TypeError: The option `on_message` is a coroutine function.
    """

    _behind: Behind
    _loop: asyncio.AbstractEventLoop | None = None
    _transport: AsyncTransport | None = None
    _arrivals: Arrivals | None = None
    _closing: asyncio.Task[None] | None = None
    _is_open = False

    def __init__(self, behind: Behind) -> None:
        if inspect.iscoroutinefunction(behind.options["on_message"]):
            raise TypeError("on_message must be a plain function, because a thread calls it: iterate over messages()")
        self._behind = behind

    # ------------------------------------------------------------------ life

    async def start(self) -> Self:
        """Start the shards or attach to them, and return this manager; it can start only once.

        If its task is cancelled, everything that was started is closed again, in the background.

        Raises:
            DataDirError: The directory is locked, damaged or has another layout.
            ShardDown: For a `connect`: no process serves the directory.
            ManagerClosed: It was already started or closed.
        """
        behind = self._behind
        if behind.life is Life.NEW and self._loop is None:
            self._loop = behind.loop = asyncio.get_running_loop()
        try:
            await in_thread(behind.start, lambda _: behind.close())
        except BaseException:
            if behind.life is Life.NEW:  # it could not start, and may be started again
                self._loop = None
            raise
        assert self._loop is not None
        self._arrivals = Arrivals(self._loop, behind.mailbox, lambda: behind.life is Life.STARTED)
        self._transport = AsyncTransport(behind.client)
        self._is_open = True
        return self

    async def close(self) -> None:
        """Wait until everything is applied, stop the shards or detach from them, and return when that is done.

        It can be called again. If its task is cancelled, the close goes on. Once the manager's own loop is closed, any
        loop may close the manager.

        Raises:
            ExceptionGroup: The errors of observations sent without waiting that could not be applied and were not yet
                raised.
        """
        life = self._behind.life
        if self._closing is None or (self._closing.done() and life is not Life.CLOSED):
            if life in (Life.NEW, Life.CLOSED):
                self._behind.close()
                return
            if self._loop is not None and self._loop.is_closed():
                self._is_open = False
                await in_thread(self._behind.close)
                return
            self._check_loop()
            self._closing = asyncio.get_running_loop().create_task(self._close())
        elif self._closing.done():
            return
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._is_open = False
        transport = self._transport
        if transport is not None:
            await transport.wind_up(self._behind.options["shutdown_timeout"])
        try:
            await in_thread(self._behind.close)
        finally:
            if transport is not None:
                transport.settle()

    async def __aenter__(self) -> Self:
        return self if self._is_open else await self.start()

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __del__(self) -> None:
        if "_behind" in self.__dict__:  # else the constructor has raised
            self._behind.tell_unclosed(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # A handler that is sent to a shard may refer to its manager; there it gets one that refuses calls.
        return _elsewhere, (type(self), self._behind)

    @property
    def options(self) -> dict[str, Any]:
        """The value of every option."""
        return self._behind.options

    @property
    def mode(self) -> str:
        """The mode of observations, as of a blocking manager: ``"off"``, ``"observe"``, ``"warn"`` or ``"enforce"``."""
        return self._behind.mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._behind.mode = mode

    def losses(self) -> Losses:
        """Return what became of observations in the modes ``"observe"`` and ``"warn"``; never blocks."""
        return self._behind.losses()

    # ------------------------------------------------------------------ inside

    def _here(self) -> AsyncTransport:
        """Return the transport, if the manager is open and this is its loop; else raise an error that says why not."""
        if not self._is_open or _running_loop() is not self._loop:
            self._check_loop()
            raise ManagerClosed(f"the manager is {(Life.CLOSING if self._transport else Life.STARTING).value}")
        return self._transport  # type: ignore[return-value]

    def _check_loop(self) -> None:
        """Raise if the manager was not started, if its end is past, or if this is not its loop.

        Raises:
            ManagerClosed: It is not open.
            RuntimeError: The call comes from another loop or thread, from a forked child, or from a handler.
        """
        behind = self._behind
        if behind.life is not Life.STARTING:
            _ = behind.client
        self._check_loop_only()

    def _check_loop_only(self) -> None:
        """Raise `RuntimeError` if this is not the manager's loop, once it has one."""
        if self._loop is not None and _running_loop() is not self._loop:
            if self._behind.transport is not None:
                self._behind.transport.check()  # a forked child is told so
            raise RuntimeError(
                "an asyncio manager belongs to the event loop that it was started on: this call comes from another "
                "loop or thread (there, use asyncio.run_coroutine_threadsafe or a manager of its own)"
            )


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _elsewhere(cls: type[AsyncLifetime], behind: Behind) -> AsyncLifetime:
    manager = cls.__new__(cls)
    manager._behind = behind
    return manager
