"""The instance manager. There is one class; the transports below it differ."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from ..domain.impl_model import ImplModel
from ..domain.instance import Deviation, Instance
from ..domain.specification import OWN_MODES, Specification
from ..errors import CallTimeout, SpexError
from ..messages import operations as ops
from ..messages.host_options import SpexOptions
from ..messages.specifications import describe
from ..runtime.protocol.shipping import ship
from ..runtime.shard_info import ShardInfo
from ..runtime.system.turns import interruption
from ..runtime.transport import Transport
from .arguments import (
    key_of,
    limit_of,
    name_or_none,
)
from .gathering import Pipeline, entries_of
from .reader import Reader
from .requesting import Requesting
from .settings import load_specifications
from .states import KnownStates


class InstanceManager(Requesting):
    """Receives observations of instances, stores them, and judges transitions that the models do not have.

    All calls check their arguments in the calling thread before anything is sent. A state or action that is neither a
    `str` nor a `str`-valued Enum member is a `TypeError`; so is a specification that is not a specification class. The
    reserved action, or a missing initial state, is a `ValueError`.

    What an observation may do to the program that makes it depends on its mode: see `mode`, and ``docs/modes.md``. The
    errors of observing calls below are raised with the mode ``"enforce"``, which is the default.

    Thread-safe. A call before `start` or after `close` raises `ManagerClosed`; a call from within a handler raises
    `RuntimeError`.

    Create one through `SimpleInstanceManager`, `ShardedInstanceManager` or `connect`.

    Args:
        connect: Opens and returns the transport; called when the manager is started.
        options: The value of every option.

    Attributes:
        options: The value of every option.
        specifications: The classes that are declared to the shards from the start.
        opens: Whether its options are those of the shards; an attached manager does not know whether they learn.
    """

    opens: ClassVar[bool] = True
    opens_shards = "distribution_factor={}"

    def __init__(self, connect: Callable[[Any], Transport], options: dict[str, Any]) -> None:
        super().__init__(partial(connect, self), options)
        self.specifications = load_specifications(options["specifications"])
        self._states = KnownStates(self)

    @property
    def _reader(self) -> Reader:
        return Reader(self._open)

    def spex_options(self) -> SpexOptions:
        """Return the options for shards that are started now."""
        options, interval = self.options, self.options["prune_interval"]
        return SpexOptions(
            impl_models_dir=Path(options["impl_models_dir"]).absolute(),
            learning_mode=options["learning_mode"], sightings=self.notes_sightings,
            prune_interval_us=None if interval is None else interval // timedelta(microseconds=1),
            silent_before_us=0 if options["check_transition_timeouts_on_start"] else time.time_ns() // 1000,
            specifications=[describe(cls)[0].plain() for cls in self.specifications],
        )  # fmt: skip

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
            initial_state: By default the specification's initial state. Else one of the specification's or its model's
                states; any state in learning mode, or if the specification has no transitions.

        Raises:
            ValueError: There is no such state, or none is given and the specification has none.
            SpexError: The specification's handler did not accept an error, or the observation could not be applied.
        """
        if OWN_MODES or not self._is_plain:
            self.observer.init_instance(specification, identifier, meta, initial_state)
            return
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
        if OWN_MODES or not self._is_plain:
            return self.observer.init_instance(specification, identifier, meta, initial_state, returns=True)
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
        if OWN_MODES or not self._is_plain:
            self.observer.init_instance(specification, identifier, meta, initial_state, waits=False)
            return
        transport, key, arguments = self._init_arguments(specification, identifier, meta, initial_state)
        transport.post(key, ops.INIT, arguments)

    def transition(self, identifier: Any, action: str, to_state: str) -> None:
        """Observe that an instance went to `to_state` by `action`; this is durable when the call returns.

        Raises:
            SpexError: The specification's handler did not accept an error, or the observation could not be applied.
        """
        if OWN_MODES or not self._is_plain:
            self.observer.transition(identifier, action, to_state)
            return
        transport, key, arguments = self._transition_arguments(identifier, action, to_state)
        transport.call(key, ops.TRANSITION, arguments)

    def try_transition(self, identifier: Any, action: str, to_state: str) -> SpexError | None:
        """Observe a transition as `transition` does, but return the `SpexError` instead of raising it."""
        if OWN_MODES or not self._is_plain:
            return self.observer.transition(identifier, action, to_state, returns=True)
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
        if OWN_MODES or not self._is_plain:
            self.observer.transition(identifier, action, to_state, waits=False)
            return
        transport, key, arguments = self._transition_arguments(identifier, action, to_state)
        transport.post(key, ops.TRANSITION, arguments)

    def pipeline(self) -> Pipeline:
        """Return a `Pipeline`, which sends observations many at a time; use it in a ``with`` block."""
        return Pipeline(self)

    def transition_many(self, transitions: Iterable[tuple[Any, str, str]]) -> None:
        """Observe many transitions, in order; all are durable when this returns. See `pipeline`.

        Args:
            transitions: For each, what `transition` takes: (identifier, action, to_state). An iterator is read as the
                transitions are sent.

        Raises:
            TypeError, ValueError: An entry breaks a rule; those before it are observed, and none after it.
            ExceptionGroup: With ``"enforce"``: the errors of single transitions, as `transition` raises them, each with
                a note that has its number.
        """
        with self.pipeline() as pipeline:
            for identifier, action, to_state in entries_of(transitions):
                pipeline.transition(identifier, action, to_state)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until all observations that threads of this process sent without waiting are applied and durable.

        Raises:
            CallTimeout: It took longer than `timeout` seconds.
            ExceptionGroup: With ``"enforce"``: the errors of observations that could not be applied since the last one.
        """
        try:
            errors = self._open.flush(timeout)
        except SpexError as error:
            if isinstance(error, CallTimeout) or self.mode == "enforce" or interruption(error) is not None:
                raise
            return
        self._unapplied(errors)

    # ------------------------------------------------------------------ reading

    def get_instance(self, identifier: Any, history_limit: int | None = None) -> Instance:
        """Return an instance, with the newest `history_limit` entries of its history (None: all), oldest first.

        Raises:
            InstanceNotFound: There is no such instance; the handler is not asked.
        """
        limit = limit_of(history_limit)
        key = key_of(identifier)
        return self._reader.instance(key, limit)

    def all_instances(
        self, specification: type[Specification] | None = None, history_limit: int | None = None
    ) -> list[Instance]:
        """Return all instances, or those of one specification.

        Raises:
            SpexError: A shard cannot answer; there is never a partial result.
        """
        limit, name = limit_of(history_limit), name_or_none(specification)
        return self._reader.instances(name, limit)

    def iter_instances(
        self, specification: type[Specification] | None = None, history_limit: int | None = None
    ) -> Iterator[Instance]:
        """Iterate over instances with bounded memory.

        An instance that exists during the whole iteration appears exactly once.

        Raises:
            SpexError: A shard cannot answer.
        """
        limit, name = limit_of(history_limit), name_or_none(specification)
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
        name = name_or_none(specification)
        return self._reader.deviations(name)

    # ------------------------------------------------------------------ processes

    def shards(self) -> list[ShardInfo]:
        """Return the status of each shard's process, by index."""
        return self._open.shards()

    def stats(self) -> list[dict[str, Any]]:
        """Return the counters of each shard, by index.

        Keys: `shard`; `requests` (by kind); `batches`; `mean_batch_size`; `processor_seconds` (of the worker);
        `timeouts`; `deviations`; `queue_depth` (requests that waited when the newest batch began); `outbox` (records
        not taken yet); `bytes_in`, `bytes_out`; `store_size`; `unapplied` (failed posted requests); `messages_dropped`.
        """
        return self._with_dropped(self._open.stats())

    def _with_dropped(self, reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
        dropped = self.mailbox.dropped
        return [{"shard": index, **report, "messages_dropped": dropped[index]} for index, report in enumerate(reports)]

    def revive(self, index: int) -> None:
        """Restart a FAILED shard, count its deaths from zero again, and wait until it is ready."""
        self._open.revive(self._shard_index(index))

    def _shard_index(self, index: Any) -> int:
        count = self._open.shard_count
        if type(index) is not int or not 0 <= index < count:
            raise ValueError(f"index must be a shard's, 0 to {count - 1}, got: {index!r}")
        return index

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
        """Put an instance into a state, replacing any earlier one: empty history, no deadline, the model unchanged.

        Args:
            specification: The specification of the instance.
            identifier: As for `init_instance`.
            state: As `initial_state` of `init_instance`.
            meta: As for `init_instance`.

        Raises:
            ValueError: Neither specification nor model has such a state.
        """
        if OWN_MODES or not self._is_plain:
            self.observer.mock_instance(specification, identifier, state, meta)
            return
        transport, key, arguments = self._mock_arguments(specification, identifier, state, meta)
        transport.call(key, ops.MOCK, arguments)

    def delete_instance(self, identifier: Any) -> None:
        """Delete an instance with its history and deadline; do nothing if it does not exist."""
        if OWN_MODES or not self._is_plain:
            self.observer.delete_instance(identifier)
            return
        key = key_of(identifier)
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
        return self._reader.delete(self._predicate(predicate))

    # ------------------------------------------------------------------ inside

    def check_state(self, cls: type[Specification], state: str, what: str) -> None:
        """Raise `ValueError` if neither the specification nor its model has a state; this may ask the shards."""
        self._check()
        self._states.check(cls, state, what)

    def _will_declare(self, cls: type[Specification]) -> None:
        self._states.warn_of_none(cls)

    def _predicate(self, predicate: Any) -> Any:
        if not callable(predicate):
            raise TypeError(f"the predicate must be callable, got: {predicate!r}")
        return ship(predicate) if self._open.ships else predicate
