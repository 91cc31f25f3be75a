"""`AsyncInstanceManager`: an instance manager for the coroutines of one event loop of asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, Unpack

from ..domain.impl_model import ImplModel
from ..domain.instance import Deviation, Instance
from ..domain.specification import Specification
from ..errors import CallTimeout, SpexError
from ..messages import operations as ops
from ..runtime.shard_info import ShardInfo
from . import readings
from .arguments import key_of, limit_of, name_or_none
from .async_lifetime import AsyncLifetime
from .behind import Behind, BehindAttached, ModelsWanted
from .gathering import Gathered, entries_of, observed_many
from .options import ManagerOptions
from .readings import OfKey, Reading
from .settings import manager_options, options_from
from .sharded import attach, own

_Result = TypeVar("_Result")
_NOTHING = object()


class AsyncInstanceManager(AsyncLifetime):
    """An instance manager for coroutines; it has the same calls and options as `ShardedInstanceManager`.

    The calls that wait are coroutines; the ``_nowait`` calls are plain functions. Each coroutine sends its request
    before it waits for the first time, so observations of one instance are applied in the order in which their calls
    begin. There is no thread per call, and no call blocks the event loop; as many as you like may wait at once.

    It belongs to the event loop that runs when it is started. A call from another loop or thread, or from a forked
    child, raises `RuntimeError`.

    If the task of a call is cancelled, or its time is up (``asyncio.timeout``), the request stays on its way: it is
    applied exactly once, unless the call had not begun. Its answer is dropped; what its error handler logged is logged.

    Create one, and use it by ``async with``; or attach to the shards of another process by `spex_shards.aio.connect`.

    Args:
        **options: The options of `ShardedInstanceManager`. `on_message` is called on a thread, as there, and must not
            be a coroutine function.

    Raises:
        TypeError: `on_message` is a coroutine function, or an option is unknown.
        ValueError: A value breaks its option's rule; names the option, the rule, the value and its origin.
    """

    def __init__(self, **options: Unpack[ManagerOptions]) -> None:
        super().__init__(Behind(own, manager_options(options)))

    # ------------------------------------------------------------------ observations

    async def init_instance(
        self,
        specification: type[Specification],
        identifier: Any,
        meta: dict[str, Any] | None = None,
        initial_state: str | None = None,
    ) -> None:
        """Create an instance in its initial state; see `InstanceManager.init_instance`."""
        if not self._behind.is_plain:
            await self._observed(
                lambda: self._behind.observer.init_instance(specification, identifier, meta, initial_state)
            )
            return
        transport = self._here()
        key, arguments = await self._checked(
            lambda: self._behind.init_request(specification, identifier, meta, initial_state)
        )
        await transport.call(key, ops.INIT, arguments)

    async def try_init_instance(
        self,
        specification: type[Specification],
        identifier: Any,
        meta: dict[str, Any] | None = None,
        initial_state: str | None = None,
    ) -> SpexError | None:
        """Create an instance as `init_instance` does, but return the `SpexError` instead of raising it."""
        if not self._behind.is_plain:
            return await self._observed(
                lambda: self._behind.observer.init_instance(
                    specification, identifier, meta, initial_state, returns=True
                )
            )
        transport = self._here()
        key, arguments = await self._checked(
            lambda: self._behind.init_request(specification, identifier, meta, initial_state)
        )
        try:
            await transport.call(key, ops.INIT, arguments)
        except SpexError as error:
            return error
        return None

    def init_instance_nowait(
        self,
        specification: type[Specification],
        identifier: Any,
        meta: dict[str, Any] | None = None,
        initial_state: str | None = None,
    ) -> None:
        """Create an instance as `init_instance` does, without waiting; see `transition_nowait`.

        An `initial_state` that the specification does not have is not refused: only the shards know the model's states.
        """
        if not self._behind.is_plain:
            self._observed_now(
                lambda: self._behind.observer.init_instance(specification, identifier, meta, initial_state, waits=False)
            )
            return
        transport = self._here()
        key, arguments = self._behind.knowing(
            None, lambda: self._behind.init_request(specification, identifier, meta, initial_state)
        )
        transport.post(key, ops.INIT, arguments)

    async def transition(self, identifier: Any, action: str, to_state: str) -> None:
        """Observe that an instance went to `to_state` by `action`; this is durable when the call returns.

        Raises:
            SpexError: The specification's handler did not accept an error, or the observation could not be applied.
        """
        if not self._behind.is_plain:
            await self._observed(lambda: self._behind.observer.transition(identifier, action, to_state))
            return
        transport = self._here()
        key, arguments = self._behind.transition_request(identifier, action, to_state)
        await transport.call(key, ops.TRANSITION, arguments)

    async def try_transition(self, identifier: Any, action: str, to_state: str) -> SpexError | None:
        """Observe a transition as `transition` does, but return the `SpexError` instead of raising it."""
        if not self._behind.is_plain:
            return await self._observed(
                lambda: self._behind.observer.transition(identifier, action, to_state, returns=True)
            )
        transport = self._here()
        key, arguments = self._behind.transition_request(identifier, action, to_state)
        try:
            await transport.call(key, ops.TRANSITION, arguments)
        except SpexError as error:
            return error
        return None

    def transition_nowait(self, identifier: Any, action: str, to_state: str) -> None:
        """Observe a transition as `transition` does, without waiting for anything.

        The request is written at once, or kept until its pipe takes it. Up to `max_unacknowledged` requests may be on
        their way to a shard; to wait for room, ``await drain()`` before. Errors that the handler decides about reach
        only the handler. Any other failure is logged, and raised by the next `flush` or `close`.

        Raises:
            CallTimeout: Too many observations are on their way; nothing was sent (`maybe_executed` is False).
            ShardFailed: The shard is given up.
        """
        if not self._behind.is_plain:
            self._observed_now(lambda: self._behind.observer.transition(identifier, action, to_state, waits=False))
            return
        transport = self._here()
        key, arguments = self._behind.transition_request(identifier, action, to_state)
        transport.post(key, ops.TRANSITION, arguments)

    async def transition_many(self, transitions: Iterable[tuple[Any, str, str]]) -> None:
        """Observe many transitions, in order; see `InstanceManager.transition_many`.

        Other tasks run each time that 512 transitions are gathered for a shard.
        """
        if not self._behind.is_plain:
            for identifier, action, to_state in entries_of(transitions):
                await self.drain(identifier)
                self.transition_nowait(identifier, action, to_state)
            await self.flush()
            return
        shard_of, request = self._here().shard_of, self._behind.transition_request
        requests = (request(*entry) for entry in entries_of(transitions))
        await self._read(observed_many(Gathered(shard_of, self._behind.options["max_frame_bytes"]), requests))

    async def step(
        self,
        specification: type[Specification],
        identifier: Any,
        action: str | None = None,
        to_state: str | None = None,
        initial_state: str | None = None,
        *,
        waits: bool = True,
    ) -> None:
        """Observe a transition of an instance, which is created if it does not exist; see `InstanceManager.step`."""
        observer = self._behind.observer
        await self._observed(
            lambda: observer.step(specification, identifier, action, to_state, initial_state, waits=waits)
        )

    async def drain(self, identifier: Any = _NOTHING) -> None:
        """Wait until a ``_nowait`` call that follows at once has room.

        Args:
            identifier: Wait for the shard of this instance only; by default, for all shards.

        Raises:
            CallTimeout: A shard had no room within `call_timeout`. With another mode than ``"enforce"`` it waits at
                most `observe_timeout`, and raises nothing.
            ShardFailed: A shard is given up.
        """
        draining = self._here().drain(None if identifier is _NOTHING else key_of(identifier))
        if self.mode == "enforce":
            await draining
            return
        with suppress(SpexError, TimeoutError):
            async with asyncio.timeout(self.options["observe_timeout"]):
                await draining

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until all observations that were sent without waiting are applied and durable.

        Raises:
            CallTimeout: It took longer than `timeout` seconds.
            ExceptionGroup: The errors of observations that could not be applied since the last `flush`.
        """
        try:
            errors = await self._here().flush(timeout)
        except SpexError as error:
            if isinstance(error, CallTimeout) or self.mode == "enforce":
                raise
            return
        self._behind.unapplied(errors)

    # ------------------------------------------------------------------ reading

    async def get_instance(self, identifier: Any, history_limit: int | None = None) -> Instance:
        """Return an instance, with the newest `history_limit` entries of its history (None: all), oldest first.

        Raises:
            InstanceNotFound: There is no such instance; the handler is not asked.
        """
        limit = limit_of(history_limit)
        return await self._read(readings.instance(key_of(identifier), limit))

    async def all_instances(
        self, specification: type[Specification] | None = None, history_limit: int | None = None
    ) -> list[Instance]:
        """Return all instances, or those of one specification.

        Raises:
            SpexError: A shard cannot answer; there is never a partial result.
        """
        limit, name = limit_of(history_limit), name_or_none(specification)
        return await self._read(readings.instances(self._here().shard_count, name, limit))

    def iter_instances(
        self, specification: type[Specification] | None = None, history_limit: int | None = None
    ) -> AsyncIterator[Instance]:
        """Iterate over instances with bounded memory, by ``async for``.

        An instance that exists during the whole iteration appears exactly once.

        Raises:
            SpexError: A shard cannot answer.
        """
        limit, name = limit_of(history_limit), name_or_none(specification)
        return self._pages(self._here().shard_count, name, limit)

    async def _pages(self, shards: int, name: str | None, limit: int) -> AsyncIterator[Instance]:
        for shard in range(shards):
            after = None
            while True:
                items, after = await self._read(readings.page(shard, name, after, limit))
                for item in items:
                    found = await self._read(readings.whole(item, limit))
                    if found is not None:
                        yield found
                if after is None:
                    break

    async def all_impl_models(self) -> list[ImplModel]:
        """Return the implementation models, merged over all shards."""
        return await self._read(readings.models(self._here().shard_count))

    async def export_impl_models(self) -> list[tuple[str, str]]:
        """Return the implementation models as files: (file name, text)."""
        return [(f"{model.specification}.spex", model.serialise()) for model in await self.all_impl_models()]

    async def deviations(self, specification: type[Specification] | None = None) -> list[Deviation]:
        """Return the deviations of one specification or of all, merged over all shards."""
        return await self._read(readings.deviations(self._here().shard_count, name_or_none(specification)))

    # ------------------------------------------------------------------ processes

    async def shards(self) -> list[ShardInfo]:
        """Return the status of each shard's process, by index; a thread asks the supervisor."""
        return await self._here().shards()

    async def stats(self) -> list[dict[str, Any]]:
        """Return the counters of each shard, by index; see `InstanceManager.stats`."""
        return self._behind.with_dropped(await self._here().stats())

    async def revive(self, index: int) -> None:
        """Restart a FAILED shard, count its deaths from zero again, and wait until it is ready."""
        transport = self._here()
        await transport.revive(self._behind.shard_index(index))

    def messages(self, timeout: float | None = 0) -> AsyncIterator[Any]:
        """Iterate over messages that handlers sent, by ``async for``; only for managers without `on_message`.

        At most 10,000 messages wait; beyond that, the oldest are dropped.

        Args:
            timeout: Seconds to wait for each further message; None: until the manager is closed.
        """
        self._here()
        assert self._arrivals is not None
        return self._arrivals.messages(timeout)

    # ------------------------------------------------------------------ changing

    async def mock_instance(
        self, specification: type[Specification], identifier: Any, state: str, meta: dict[str, Any] | None = None
    ) -> None:
        """Put an instance into a state, replacing any earlier one: empty history, no deadline, the model unchanged."""
        if not self._behind.is_plain:
            await self._observed(lambda: self._behind.observer.mock_instance(specification, identifier, state, meta))
            return
        transport = self._here()
        key, arguments = await self._checked(lambda: self._behind.mock_request(specification, identifier, state, meta))
        await transport.call(key, ops.MOCK, arguments)

    async def delete_instance(self, identifier: Any) -> None:
        """Delete an instance with its history and deadline; do nothing if it does not exist."""
        if not self._behind.is_plain:
            await self._observed(lambda: self._behind.observer.delete_instance(identifier))
            return
        key = key_of(identifier)
        await self._here().call(key, ops.DELETE, (key,))

    async def delete_instances(self, predicate: Callable[[Instance], Any]) -> int:
        """Delete the instances for which `predicate` returns a true value; see `InstanceManager.delete_instances`."""
        transport = self._here()
        return await self._read(readings.deleted(transport.shard_count, self._behind.predicate(predicate)))

    # ------------------------------------------------------------------ inside

    async def _checked(self, check: Callable[[], _Result]) -> _Result:
        """Return the result of a check, which may need the models of the shards."""
        try:
            return check()
        except ModelsWanted:
            pass
        try:
            models: list[ImplModel] | None = await self.all_impl_models()
        except SpexError:
            models = None
        return self._behind.knowing(models, check)

    async def _observed(self, call: Callable[[], Any]) -> SpexError | None:
        """Carry out an observer's call that waits."""
        self._check_loop_only()
        waiting = await self._checked(call)
        return None if waiting is None else await waiting

    def _observed_now(self, call: Callable[[], object]) -> None:
        """Carry out an observer's call that does not wait; it cannot ask the shards for their models."""
        self._check_loop_only()
        self._behind.knowing(None, call)

    async def _read(self, reading: Reading[_Result]) -> _Result:
        step = partial(reading.send, None)
        while True:
            try:
                asked = step()
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            transport = self._here()
            try:
                if isinstance(asked, OfKey):
                    answer = await transport.call(asked.key, asked.operation, asked.arguments)
                else:
                    answer = await transport.call_shards(asked.operation, asked.arguments)
            except SpexError as error:
                step = partial(reading.throw, error)
            else:
                step = partial(reading.send, answer)


def attaching(options: dict[str, Any]) -> AsyncInstanceManager:
    """Return a manager, not started yet, that uses the shards of another process.

    Args:
        options: As for `AsyncInstanceManager`.
    """
    manager = AsyncInstanceManager.__new__(AsyncInstanceManager)
    AsyncLifetime.__init__(manager, BehindAttached(attach, options_from(options)))
    return manager
