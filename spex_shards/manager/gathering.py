"""Observations that are sent many at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Protocol, Self

from ..domain.specification import Specification
from ..errors import SpexError, show
from ..messages import operations as ops
from ..runtime.protocol.records import error_of
from ..runtime.transport import Transport
from .readings import OfShards, Reading

MOST_AT_ONCE: Final = 512
"""A request has at most this many observations, so that a shard serves other clients in between."""
_MOST_BYTES: Final = 256 * 1024
_PER_OBSERVATION: Final = 32
"""Added to the bytes of each observation's arguments, for what the encoding adds."""


class _Waiting:
    """What waits for one shard: the observations, the number of each among all, and about how many bytes they are."""

    __slots__ = ("numbers", "observations", "size")

    def __init__(self) -> None:
        self.observations: list[tuple[Any, ...]] = []
        self.numbers: list[int] = []
        self.size = 0


class Gathered:
    """Observations that wait to be sent, by shard.

    Args:
        shard_of: Returns the shard of an identifier's canonical bytes.
        most_bytes: About how many bytes a request may have.

    Attributes:
        errors: The errors of the observations that were sent, in the order of the calls as far as each shard goes.
        count: How many observations were added.
    """

    def __init__(self, shard_of: Callable[[bytes], int], most_bytes: int) -> None:
        self._shard_of = shard_of
        self._most_bytes = min(_MOST_BYTES, most_bytes // 2)
        self._waiting: dict[int, _Waiting] = {}
        self._sent: dict[int, _Waiting] = {}
        self.errors: list[SpexError] = []
        self.count = 0

    def add(self, key: bytes, code: int, arguments: tuple[Any, ...]) -> bool:
        """Add an observation; return whether what waits must be sent now.

        Args:
            key: The canonical bytes of the instance's identifier.
            code: The operation's number.
            arguments: The operation's arguments.
        """
        shard = self._shard_of(key)
        waiting = self._waiting.get(shard)
        if waiting is None:
            waiting = self._waiting[shard] = _Waiting()
        observations = waiting.observations
        observations.append((code, *arguments))
        waiting.numbers.append(self.count)
        self.count += 1
        size = _PER_OBSERVATION
        for argument in arguments:
            if argument is not None:
                size += len(argument)
        waiting.size += size
        return len(observations) >= MOST_AT_ONCE or waiting.size >= self._most_bytes

    def take(self) -> dict[int, tuple[Any, ...]]:
        """Return shard → the arguments of a request with all that waits for it; empty: nothing waits.

        It does not wait any more then. Were it to wait until it is answered, an exception that cuts the call off, which
        may have been carried out, would have it sent again.
        """
        self._sent, self._waiting = self._waiting, {}
        return {shard: (waiting.observations,) for shard, waiting in self._sent.items()}

    def answered(self, outcomes: Mapping[int, Any]) -> None:
        """Take the answers to what was taken: shard → the plain answer, or the `SpexError` instead of one."""
        for shard, outcome in outcomes.items():
            numbers = self._sent[shard].numbers
            if isinstance(outcome, SpexError):
                outcome.add_note(_which(numbers[0], numbers[-1]))
                self.errors.append(outcome)
            elif outcome is not None:
                for place, plain in outcome:
                    error = error_of(plain)
                    error.add_note(_which(numbers[place], numbers[place]))
                    self.errors.append(error)

    def raise_errors(self) -> None:
        """Raise an `ExceptionGroup` of all errors, if there are any."""
        if self.errors:
            errors, self.errors = self.errors, []
            raise ExceptionGroup(f"{len(errors)} of {self.count} observations", errors)


def _which(first: int, last: int) -> str:
    return f"observation {first}" if first == last else f"the request with the observations {first} to {last}"


class Observing(Protocol):
    """A manager, as a pipeline uses it."""

    options: dict[str, Any]

    def request_of_transition(
        self, identifier: Any, action: Any, to_state: Any
    ) -> tuple[Transport, bytes, tuple[Any, ...]] | None:
        """Return a transition's transport, key and arguments; None: the mode wants it observed by itself."""

    def request_of_init(
        self, specification: Any, identifier: Any, meta: Any, initial_state: Any
    ) -> tuple[Transport, bytes, tuple[Any, ...]] | None:
        """Return the same of an initialisation."""

    def transition_nowait(self, identifier: Any, action: str, to_state: str) -> None:
        """See `InstanceManager`."""

    def init_instance_nowait(
        self, specification: type[Specification], identifier: Any, meta: Any = None, initial_state: Any = None
    ) -> None:
        """See `InstanceManager`."""

    def flush(self, timeout: float | None = None) -> None:
        """See `InstanceManager`."""


class Pipeline:
    """Observations that are gathered and sent many at a time; made by `InstanceManager.pipeline`.

    It takes three fifths of the processor time of calls that do not wait. The observations of a shard are applied
    in the order of the calls. They are sent, and waited for, when 512 are gathered for a shard, at `send`, and at the
    end of the ``with`` block, also if an exception ends it. Other calls of the manager do not know of what is gathered:
    observe what belongs together through one or the other. One thread at a time may use it. A forked child drops what
    its parent has gathered. A request that the exception of a signal handler cuts off is not sent again.

    In other modes than ``"enforce"``, and with sampling, each observation is sent by itself, as with
    `transition_nowait`.

    Args:
        manager: The manager.
    """

    def __init__(self, manager: Observing) -> None:
        self._manager = manager
        self._transport: Transport | None = None
        self._gathered: Gathered | None = None
        self._pid = os.getpid()

    def transition(self, identifier: Any, action: str, to_state: str) -> None:
        """Observe a transition; see `InstanceManager.transition`.

        Raises:
            TypeError, ValueError: An argument breaks its rule; nothing is observed by this call.
        """
        request = self._manager.request_of_transition(identifier, action, to_state)
        if request is None:
            self._manager.transition_nowait(identifier, action, to_state)
        else:
            self._add(ops.TRANSITION.code, *request)

    def init_instance(
        self,
        specification: type[Specification],
        identifier: Any,
        meta: dict[str, Any] | None = None,
        initial_state: str | None = None,
    ) -> None:
        """Create an instance; see `InstanceManager.init_instance`.

        Raises:
            TypeError, ValueError: An argument breaks its rule; nothing is observed by this call.
        """
        request = self._manager.request_of_init(specification, identifier, meta, initial_state)
        if request is None:
            self._manager.init_instance_nowait(specification, identifier, meta, initial_state)
        else:
            self._add(ops.INIT.code, *request)

    def send(self) -> None:
        """Send what is gathered, and wait until all is durable.

        Raises:
            ExceptionGroup: With ``"enforce"``: the errors of all observations since the last one, each a `SpexError`
                with a note that names the observation by its number, from 0. A request that failed as a whole
                (`ShardDown`, `CallTimeout`, `PoisonRequest`) is one error, whose ``context["maybe_executed"]`` says
                whether its observations may have been applied.
        """
        self._send_gathered()
        if self._gathered is not None:
            self._gathered.raise_errors()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.send()
            if self._gathered is None:
                self._manager.flush()
        elif isinstance(error, Exception):
            self._send_gathered()
            if self._gathered is not None and self._gathered.errors:
                error.add_note(f"{len(self._gathered.errors)} observations of the pipeline have failed as well")

    def _add(self, code: int, transport: Transport, key: bytes, arguments: tuple[Any, ...]) -> None:
        if self._pid != os.getpid():
            self._forget()
        gathered = self._gathered
        if gathered is None or transport is not self._transport:  # the manager was closed and started again
            self._send_gathered()
            self._transport = transport
            gathered = self._gathered = Gathered(transport.shard_of, self._manager.options["max_frame_bytes"])
        if gathered.add(key, code, arguments):
            self._send_gathered()

    def _send_gathered(self) -> None:
        if self._pid != os.getpid():
            self._forget()
        if self._gathered is not None and self._transport is not None:
            requests = self._gathered.take()
            if requests:
                self._gathered.answered(self._transport.call_shards(ops.MANY, requests))

    def _forget(self) -> None:
        """Drop what is gathered: this is a forked child, and its parent sends it."""
        self._gathered, self._pid = None, os.getpid()


def observed_many(gathered: Gathered, requests: Iterable[tuple[bytes, tuple[Any, ...]]]) -> Reading[None]:
    """Send transitions many at a time, given as keys and arguments.

    Raises:
        ExceptionGroup: The errors of single transitions; see `Pipeline.send`.
    """
    try:
        for key, arguments in requests:
            if gathered.add(key, ops.TRANSITION.code, arguments):
                gathered.answered((yield OfShards(ops.MANY, gathered.take())))
    finally:
        left = gathered.take()
        if left:
            gathered.answered((yield OfShards(ops.MANY, left)))
    gathered.raise_errors()


def entries_of(transitions: Iterable[tuple[Any, str, str]]) -> Iterator[tuple[Any, str, str]]:
    """Iterate over the argument of `transition_many`.

    Raises:
        TypeError: It is not iterable, or an entry is not three values; the text names it.
    """
    try:
        entries = iter(transitions)
    except TypeError:
        text = f"the transitions must be an iterable of (identifier, action, to_state), got: {show(transitions)}"
        raise TypeError(text) from None
    for number, entry in enumerate(entries):
        try:
            identifier, action, to_state = entry
        except (TypeError, ValueError):
            text = f"entry {number} of the transitions must be (identifier, action, to_state), got: {show(entry)}"
            raise TypeError(text) from None
        yield identifier, action, to_state
