"""The instance manager. There is one class; the transports below it differ."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from ..domain.impl_model import ImplModel
from ..domain.instance import Deviation, Instance
from ..domain.specification import Specification
from ..domain.transition import INITIALISATION
from ..errors import PredicateError, SpexError
from ..messages import operations as ops
from ..messages.host_options import SpexOptions
from ..messages.specifications import declaration_arguments, describe
from ..runtime.lifetime import Life, Lifetime, raise_unapplied
from ..runtime.protocol.shipping import ship
from ..runtime.shard_info import ShardInfo
from ..runtime.system.turns import interruption
from ..runtime.system.user_code import handler_running
from ..runtime.transport import Transport
from .arguments import action_name, canonical, encode_meta, limit_of, specification_of, state_name
from .reader import Reader
from .settings import load_specifications


class InstanceManager(Lifetime):
    """Receives observations of instances, stores them, and judges transitions that the models do not have.

    All calls check their arguments in the calling thread before anything is sent. A state or action that is neither a
    `str` nor a `str`-valued Enum member is a `TypeError`; so is a specification that is not a specification class. The
    reserved action, or a missing initial state, is a `ValueError`.

    Thread-safe. A call before `start` or after `close` raises `ManagerClosed`; a call from within a handler raises
    `RuntimeError`.

    Create one through `SimpleInstanceManager`, `ShardedInstanceManager` or `connect`.

    Args:
        connect: Opens and returns the transport; called when the manager is started.
        options: The value of every option.

    Attributes:
        options: The value of every option.
        specifications: The classes that are declared to the shards from the start.
    """

    def __init__(self, connect: Callable[[Any], Transport], options: dict[str, Any]) -> None:
        super().__init__(
            partial(connect, self),
            data_dir=options["data_dir"],
            shutdown_timeout=options["shutdown_timeout"],
            on_message=options["on_message"],
        )
        self.options = options
        self.specifications = load_specifications(options["specifications"])
        self._known: set[type[Specification]] = set()

    @property
    def _reader(self) -> Reader:
        return Reader(self._open)

    def spex_options(self) -> SpexOptions:
        """Return the options for shards that are started now."""
        options, interval = self.options, self.options["prune_interval"]
        return SpexOptions(
            impl_models_dir=Path(options["impl_models_dir"]).absolute(),
            learning_mode=options["learning_mode"],
            prune_interval_us=None if interval is None else interval // timedelta(microseconds=1),
            silent_before_us=0 if options["check_transition_timeouts_on_start"] else time.time_ns() // 1000,
            specifications=[describe(cls)[0].plain() for cls in self.specifications],
        )

    # ------------------------------------------------------------------ observations

    def init_instance(
        self,
        specification: type[Specification],
        identifier: Any,
        meta: dict[str, Any] | None = None,
        initial_state: str | None = None,
    ) -> None:
        """Create an instance in its initial state; it is durable when this returns.

        Args:
            specification: The specification of the instance.
            identifier: None, bool, int, float, str, bytes, tuple or list, dict, UUID, datetime, Decimal, Enum members
                and specification classes, nested as you like.
            meta: None, or a dict with `str` keys and such values.
            initial_state: By default the specification's initial state.

        Raises:
            SpexError: The specification's handler did not accept an error, or the observation could not be applied.
        """
        transport, key, arguments = self._init_arguments(specification, identifier, meta, initial_state)
        transport.call(key, ops.INIT, arguments)

    def try_init_instance(
        self,
        specification: type[Specification],
        identifier: Any,
        meta: dict[str, Any] | None = None,
        initial_state: str | None = None,
    ) -> SpexError | None:
        """Create an instance as `init_instance` does, but return the `SpexError` instead of raising it."""
        transport, key, arguments = self._init_arguments(specification, identifier, meta, initial_state)
        try:
            transport.call(key, ops.INIT, arguments)
        except SpexError as error:
            if interruption(error) is not None:
                raise  # a signal handler of the application raised it: it does not belong to this call
            return error
        return None

    def init_instance_nowait(
        self,
        specification: type[Specification],
        identifier: Any,
        meta: dict[str, Any] | None = None,
        initial_state: str | None = None,
    ) -> None:
        """Create an instance as `init_instance` does, without waiting; see `transition_nowait`."""
        transport, key, arguments = self._init_arguments(specification, identifier, meta, initial_state)
        transport.post(key, ops.INIT, arguments)

    def transition(self, identifier: Any, action: str, to_state: str) -> None:
        """Observe that an instance went to `to_state` by `action`; this is durable when the call returns.

        Raises:
            SpexError: The specification's handler did not accept an error, or the observation could not be applied.
        """
        transport, key, arguments = self._transition_arguments(identifier, action, to_state)
        transport.call(key, ops.TRANSITION, arguments)

    def try_transition(self, identifier: Any, action: str, to_state: str) -> SpexError | None:
        """Observe a transition as `transition` does, but return the `SpexError` instead of raising it."""
        transport, key, arguments = self._transition_arguments(identifier, action, to_state)
        try:
            transport.call(key, ops.TRANSITION, arguments)
        except SpexError as error:
            if interruption(error) is not None:
                raise  # a signal handler of the application raised it: it does not belong to this call
            return error
        return None

    def transition_nowait(self, identifier: Any, action: str, to_state: str) -> None:
        """Observe a transition as `transition` does, without waiting for the result.

        Observations of a process about one instance are applied in the order of its calls, together with the calls that
        wait. Errors that the handler decides about reach only the handler. Any other failure is logged, and raised by
        the next `flush` or `close`.

        Raises:
            CallTimeout: Too many observations were on their way for `call_timeout`; nothing was sent (`maybe_executed`
                is False).
            ShardFailed: The shard is given up.
        """
        transport, key, arguments = self._transition_arguments(identifier, action, to_state)
        transport.post(key, ops.TRANSITION, arguments)

    def step(
        self,
        specification: type[Specification],
        identifier: Any,
        action: str | None = None,
        to_state: str | None = None,
        initial_state: str | None = None,
        *,
        waits: bool = True,
    ) -> None:
        """Observe a transition of an instance, which is created first if it does not exist.

        Both are one request: another process cannot come in between, and there is no error if the instance exists.
        `Specification.observes`, `Specification.tracking` and the adapters report by this call.

        Args:
            specification: The specification of the instance.
            identifier: As in `init_instance`.
            action: The action; None: the instance is created, if it does not exist, and nothing else happens.
            to_state: The state that the action led to; None exactly if `action` is None.
            initial_state: The state in which the instance is created; by default the specification's initial state.
            waits: Whether the call waits as `transition` does, or not, as `transition_nowait`.

        Raises:
            SpexError: As `transition` or `transition_nowait`; `IdentifierInUse` if the identifier belongs to an
                instance of another specification.
        """
        transport, key, arguments = self._step_arguments(specification, identifier, action, to_state, initial_state)
        if waits:
            transport.call(key, ops.STEP, arguments)
        else:
            transport.post(key, ops.STEP, arguments)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until all observations that threads of this process sent without waiting are applied and durable.

        Raises:
            CallTimeout: It took longer than `timeout` seconds.
            ExceptionGroup: The errors of observations that could not be applied since the last `flush`.
        """
        raise_unapplied(self._open.flush(timeout))

    # ------------------------------------------------------------------ reading

    def get_instance(self, identifier: Any, history_limit: int | None = None) -> Instance:
        """Return an instance, with the newest `history_limit` entries of its history (None: all), oldest first.

        Raises:
            InstanceNotFound: There is no such instance; the handler is not asked.
        """
        limit = limit_of(history_limit)
        key = canonical(identifier)
        return self._reader.instance(key, limit)

    def all_instances(
        self, specification: type[Specification] | None = None, history_limit: int | None = None
    ) -> list[Instance]:
        """Return all instances, or those of one specification.

        Raises:
            SpexError: A shard cannot answer; there is never a partial result.
        """
        limit, name = limit_of(history_limit), _name_or_none(specification)
        return self._reader.instances(name, limit)

    def iter_instances(
        self, specification: type[Specification] | None = None, history_limit: int | None = None
    ) -> Iterator[Instance]:
        """Iterate over instances with bounded memory.

        An instance that exists during the whole iteration appears exactly once.

        Raises:
            SpexError: A shard cannot answer.
        """
        limit, name = limit_of(history_limit), _name_or_none(specification)
        return self._reader.pages(name, limit)

    def all_impl_models(self) -> list[ImplModel]:
        """Return the implementation models, merged over all shards.

        A merged model has the transitions of all shards, and learns if it learns on any shard.
        """
        return self._reader.models()

    def export_impl_models(self) -> list[tuple[str, str]]:
        """Return the implementation models as files: (file name, text)."""
        return [(f"{model.specification}.spex", model.serialise()) for model in self.all_impl_models()]

    def deviations(self, specification: type[Specification] | None = None) -> list[Deviation]:
        """Return the deviations of one specification or of all, merged over all shards."""
        name = _name_or_none(specification)
        return self._reader.deviations(name)

    # ------------------------------------------------------------------ processes

    def shards(self) -> list[ShardInfo]:
        """Return the status of each shard's process, by index."""
        return self._open.shards()

    def stats(self) -> list[dict[str, Any]]:
        """Return the counters of each shard, by index.

        Keys: `shard`; `requests` (by kind); `batches`; `mean_batch_size`; `deviations`; `timeouts`; `queue_depth`
        (requests that waited when the newest batch began); `bytes_in`, `bytes_out`; `store_size` (bytes); `unapplied`
        (requests sent without waiting that could not be applied); `messages_dropped`.
        """
        dropped = self.mailbox.dropped
        return [
            {"shard": index, **report, "messages_dropped": dropped[index]}
            for index, report in enumerate(self._open.stats())
        ]

    def revive(self, index: int) -> None:
        """Restart a FAILED shard, count its deaths from zero again, and wait until it is ready."""
        transport = self._open
        if type(index) is not int or not 0 <= index < transport.shard_count:
            raise ValueError(f"index must be a shard's, 0 to {transport.shard_count - 1}, got: {index!r}")
        transport.revive(index)

    def messages(self, timeout: float = 0) -> Iterator[Any]:
        """Iterate over messages that handlers sent; only for managers without `on_message`.

        At most 10,000 messages wait; beyond that, the oldest are dropped.

        Args:
            timeout: Seconds to wait for each further message.
        """
        self._open.check()
        return self.mailbox.messages(timeout)

    # ------------------------------------------------------------------ changing

    def mock_instance(
        self, specification: type[Specification], identifier: Any, state: str, meta: dict[str, Any] | None = None
    ) -> None:
        """Put an instance into a state, replacing any earlier one: empty history, no deadline, the model unchanged."""
        cls = specification_of(specification)
        key = canonical(identifier)
        data = encode_meta(meta)
        target = state_name(state)
        transport = self._open
        self._declare(cls, transport)
        transport.call(key, ops.MOCK, (cls.name, key, data, target))

    def delete_instance(self, identifier: Any) -> None:
        """Delete an instance with its history and deadline; do nothing if it does not exist."""
        key = canonical(identifier)
        self._open.call(key, ops.DELETE, (key,))

    def delete_instances(self, predicate: Callable[[Instance], Any]) -> int:
        """Delete the instances for which `predicate` returns a true value; return their number.

        Args:
            predicate: Any function of an instance, closures included; it runs in the shards.

        Raises:
            TypeError: It is not callable, or cannot be sent.
            PredicateError: It raised. Nothing was deleted on that shard; ``context["deleted"]`` is the number deleted
                on the other shards.
        """
        if not callable(predicate):
            raise TypeError(f"the predicate must be callable, got: {predicate!r}")
        transport = self._open
        arguments = (ship(predicate) if transport.ships else predicate,)
        everywhere = dict.fromkeys(range(transport.shard_count), arguments)
        outcomes = transport.call_shards(ops.DELETE_WHERE, everywhere).values()
        deleted = sum(outcome for outcome in outcomes if isinstance(outcome, int))
        for outcome in outcomes:
            if isinstance(outcome, SpexError):
                if isinstance(outcome, PredicateError) or deleted:
                    outcome.context["deleted"] = deleted
                raise outcome
        return deleted

    # ------------------------------------------------------------------ inside

    def _declare(self, cls: type[Specification], transport: Transport) -> None:
        if cls not in self._known:
            transport.declare(cls.name, declaration_arguments(cls, ships=transport.ships))
            # Only after the declaration: another thread that finds the class here sends its request at once.
            self._known.add(cls)

    def _init_arguments(
        self, specification: Any, identifier: Any, meta: Any, initial_state: Any
    ) -> tuple[Transport, bytes, tuple[Any, ...]]:
        cls = specification_of(specification)
        key = canonical(identifier)
        data = encode_meta(meta)
        state = None if initial_state is None else state_name(initial_state, "initial_state")
        if state is None and cls.initial_state is None:
            raise ValueError(f"{cls.name} declares no initial state: initial_state must be given")
        transport = self._open
        self._declare(cls, transport)
        return transport, key, (cls.name, key, data, state)

    def _step_arguments(
        self, specification: Any, identifier: Any, action: Any, to_state: Any, initial_state: Any
    ) -> tuple[Transport, bytes, tuple[Any, ...]]:
        if (action is None) != (to_state is None):
            raise ValueError(f"an action and a state go together, got: {action!r}, {to_state!r}")
        names = (None, None) if action is None else (action_name(action), state_name(to_state))
        transport, key, (name, _, _, state) = self._init_arguments(specification, identifier, None, initial_state)
        return transport, key, (name, key, state, *names)

    def _transition_arguments(
        self, identifier: Any, action: Any, to_state: Any
    ) -> tuple[Transport, bytes, tuple[Any, ...]]:
        if type(action) is not str or action == INITIALISATION or not action.isascii():
            action = action_name(action)
        if type(to_state) is not str or not to_state.isascii():
            to_state = state_name(to_state)
        key = canonical(identifier)
        if self._life is not Life.STARTED or handler_running():
            self._check()
        transport = self.transport
        assert transport is not None
        return transport, key, (key, action, to_state)


def _name_or_none(specification: type[Specification] | None) -> str | None:
    return None if specification is None else specification_of(specification).name
