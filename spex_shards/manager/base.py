"""The instance manager as users see it; how requests reach an engine is left to its kinds."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Self

from ..domain.instance import Instance
from ..domain.specification import Specification
from ..domain.transition import INITIALISATION
from ..engine.handlers import handler_running
from ..errors import PredicateError, SpexError
from ..runtime.client.mailbox import Mailbox
from ..runtime.protocol.requests import Kind
from ..runtime.shard_info import ShardInfo
from ..runtime.system.turns import interruption
from .arguments import action_name, canonical, encode_meta, specification_of, state_name
from .reading import Life, Readings

MESSAGES_WITHIN: Final = 0.1
"""Seconds that `on_message` has at least, when a manager closes, for what has arrived."""
logger = logging.getLogger("spex_shards")


class InstanceManager(Readings):
    """Takes observations of instances, keeps them, and judges what the models do not know.

    Arguments are checked in the calling thread before anything is sent: a state or action that is no `str` (or
    `str`-valued Enum member) is a `TypeError`, the reserved action a `ValueError`, a specification that is no
    class a `TypeError`, no initial state known a `ValueError`; in all forms.

    Thread-safe. Any call before `start` or after `close` raises `ManagerClosed`; any call from within a handler
    raises `RuntimeError`.
    """

    _mailbox: Mailbox

    # ------------------------------------------------------------------ life

    @abstractmethod
    def start(self) -> Self:
        """Start; returns when everything is ready. A manager starts once.

        Raises:
            DataDirError: The directory is locked, damaged or of another layout.
            ManagerClosed: It was closed already.
        """

    @abstractmethod
    def close(self) -> None:
        """Flush, stop, and return when all is gone and the directory is free; idempotent; also done at exit.

        Raises:
            ExceptionGroup: Observations sent without waiting that could not be applied and were not reported yet.
        """

    def __enter__(self) -> Self:
        return self if self._life is Life.STARTED else self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    # ------------------------------------------------------------------ observations

    def init_instance(
        self,
        specification: type[Specification],
        identifier: Any,
        meta: dict[str, Any] | None = None,
        initial_state: str | None = None,
    ) -> None:
        """Make an instance and move it into its initial state; durable when it returns.

        Args:
            specification: What it is an instance of.
            identifier: None, bool, int, float, str, bytes, tuple or list, dict, UUID, datetime, Decimal, Enum
                members and specification classes, nested as you like.
            meta: None, or a dict with `str` keys and such values.
            initial_state: By default the specification's.

        Raises:
            SpexError: What the specification's handler let through, or what kept it from being applied.
        """
        error = self._observe(Kind.INIT, *self._init_arguments(specification, identifier, meta, initial_state))
        if error is not None:
            raise error

    def try_init_instance(
        self,
        specification: type[Specification],
        identifier: Any,
        meta: dict[str, Any] | None = None,
        initial_state: str | None = None,
    ) -> SpexError | None:
        """Do as `init_instance`, but return the `SpexError` instead of raising it."""
        arguments = self._init_arguments(specification, identifier, meta, initial_state)
        try:
            return self._observe(Kind.INIT, *arguments)
        except SpexError as error:
            if interruption(error) is not None:
                raise  # it is what a signal handler of the application has raised
            return error

    def init_instance_nowait(
        self,
        specification: type[Specification],
        identifier: Any,
        meta: dict[str, Any] | None = None,
        initial_state: str | None = None,
    ) -> None:
        """Do as `init_instance`, without waiting; see `transition_nowait`."""
        self._observe_nowait(Kind.INIT, *self._init_arguments(specification, identifier, meta, initial_state))

    def transition(self, identifier: Any, action: str, to_state: str) -> None:
        """Observe that an instance went to `to_state` by `action`; durable when it returns.

        Raises:
            SpexError: What the specification's handler let through, or what kept it from being applied.
        """
        error = self._observe(Kind.TRANSITION, *self._transition_arguments(identifier, action, to_state))
        if error is not None:
            raise error

    def try_transition(self, identifier: Any, action: str, to_state: str) -> SpexError | None:
        """Do as `transition`, but return the `SpexError` instead of raising it."""
        arguments = self._transition_arguments(identifier, action, to_state)
        try:
            return self._observe(Kind.TRANSITION, *arguments)
        except SpexError as error:
            if interruption(error) is not None:
                raise  # it is what a signal handler of the application has raised
            return error

    def transition_nowait(self, identifier: Any, action: str, to_state: str) -> None:
        """Do as `transition`, without waiting. Handlers' errors go to the handler only.

        Per process and instance the order is that of the calls, mixed with the waiting ones. What could not be
        applied for another reason is logged, and raised by the next `flush` or `close`.

        Raises:
            CallTimeout: The window was full for `call_timeout`; nothing was sent (`maybe_executed` is False).
            ShardFailed: The shard is given up.
        """
        self._observe_nowait(Kind.TRANSITION, *self._transition_arguments(identifier, action, to_state))

    @abstractmethod
    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything that any thread of this process sent without waiting is applied and durable.

        Raises:
            CallTimeout: It took longer than `timeout` seconds.
            ExceptionGroup: What could not be applied since the last `flush`.
        """

    # ------------------------------------------------------------------ processes

    @abstractmethod
    def shards(self) -> list[ShardInfo]:
        """Return what is known of each shard's process, by index."""

    @abstractmethod
    def stats(self) -> list[dict[str, Any]]:
        """Return the counters of each shard, by index.

        Keys: `shard`; `requests` (by kind); `batches`; `mean_batch_size`; `deviations`; `timeouts`; `queue_depth`
        (requests that waited when the newest batch began); `bytes_in`, `bytes_out`; `store_size` (bytes);
        `unapplied` (requests sent without waiting that could not be applied); `messages_dropped`.
        """

    @abstractmethod
    def revive(self, index: int) -> None:
        """Start a FAILED shard again."""

    def messages(self, timeout: float = 0) -> Iterator[Any]:
        """Give out messages that handlers sent, and those that arrive within `timeout` seconds of the newest taken.

        Without `on_message` only; at most 10,000 wait, then the oldest go.
        """
        self._check()
        return self._mailbox.messages(timeout)

    # ------------------------------------------------------------------ changing

    def mock_instance(
        self, specification: type[Specification], identifier: Any, state: str, meta: dict[str, Any] | None = None
    ) -> None:
        """Put an instance into a state, over whatever was there: history empty, deadline void, model untouched."""
        cls = specification_of(specification)
        key = canonical(identifier)
        data = encode_meta(meta)
        target = state_name(state)
        self._check()
        self._declare(cls)
        self._change(key, Kind.MOCK, (cls.name, key, data, target))

    def delete_instance(self, identifier: Any) -> None:
        """Delete an instance, its history and its deadline; it is no error when there is none."""
        key = canonical(identifier)
        self._change(key, Kind.DELETE, (key,))

    def delete_instances(self, predicate: Callable[[Instance], Any]) -> int:
        """Delete the instances for which `predicate` is true; return how many.

        Args:
            predicate: Any function of an instance, closures included; it runs in the shards.

        Raises:
            TypeError: It is not callable, or cannot be sent.
            PredicateError: It raised. Nothing was deleted on that shard; ``context["deleted"]`` counts the others.
        """
        if not callable(predicate):
            raise TypeError(f"the predicate must be callable, got: {predicate!r}")
        self._check()
        outcomes = self._delete_where(predicate)
        deleted = sum(outcome for outcome in outcomes if isinstance(outcome, int))
        for outcome in outcomes:
            if isinstance(outcome, SpexError):
                if isinstance(outcome, PredicateError) or deleted:
                    outcome.context["deleted"] = deleted
                raise outcome
        return deleted

    # ------------------------------------------------------------------ what its kinds supply

    @abstractmethod
    def _observe(self, kind: Kind, key: bytes, arguments: tuple[Any, ...]) -> SpexError | None: ...

    @abstractmethod
    def _observe_nowait(self, kind: Kind, key: bytes, arguments: tuple[Any, ...]) -> None: ...

    @abstractmethod
    def _change(self, key: bytes, kind: Kind, arguments: tuple[Any, ...]) -> None: ...

    @abstractmethod
    def _delete_where(self, predicate: Callable[[Instance], Any]) -> list[Any]: ...

    @abstractmethod
    def _declare(self, cls: type[Specification]) -> None: ...

    # ------------------------------------------------------------------ shared

    def _init_arguments(
        self, specification: Any, identifier: Any, meta: Any, initial_state: Any
    ) -> tuple[bytes, tuple[Any, ...]]:
        cls = specification_of(specification)
        key = canonical(identifier)
        data = encode_meta(meta)
        state = None if initial_state is None else state_name(initial_state, "initial_state")
        if state is None and cls.initial_state is None:
            raise ValueError(f"{cls.name} declares no initial state: initial_state must be given")
        self._check()
        self._declare(cls)
        return key, (cls.name, key, data, state)

    def _transition_arguments(self, identifier: Any, action: Any, to_state: Any) -> tuple[bytes, tuple[Any, ...]]:
        if type(action) is not str or action == INITIALISATION or not action.isascii():
            action = action_name(action)
        if type(to_state) is not str or not to_state.isascii():
            to_state = state_name(to_state)
        key = canonical(identifier)
        if self._life is not Life.STARTED or handler_running():
            self._check()
        return key, (key, action, to_state)


def raise_unapplied(errors: Iterable[SpexError]) -> None:
    """Raise what could not be applied, as one group; nothing when there is nothing."""
    listed = list(errors)
    if listed:
        raise ExceptionGroup("observations sent without waiting could not be applied", listed)
