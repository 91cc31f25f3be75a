"""Spex as a service of a shard: maps each operation to the engine's method, and plain values to its types and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ..checking.conformance import Verdict
from ..domain.instance import Deviation
from ..errors import OperationFailed, SpexError
from ..messages import operations as ops
from ..messages.specifications import StoredSpecification
from ..messages.values import Item, PlainDeviation, PlainModel
from ..runtime.call import Call
from ..runtime.protocol.operations import Operation
from ..runtime.protocol.records import encode_value
from ..runtime.protocol.shipping import unship
from .core import Engine
from .many import observe_many
from .stepping import step

_IDENTIFIER_AT: Final = {
    ops.INIT: 1, ops.TRANSITION: 0, ops.STEP: 1, ops.MOCK: 1, ops.DELETE: 0, ops.GET: 0, ops.TRANSITION_IF_KNOWN: 0,
}  # fmt: skip
"""Operation → which of its arguments is the identifier of the instance that it is about."""


def _add_identifier(identifiers: list[bytes], operation: Operation, arguments: Sequence[Any]) -> None:
    place = _IDENTIFIER_AT.get(operation)
    if place is not None and len(arguments) > place and type(arguments[place]) is bytes:
        identifiers.append(arguments[place])


_NO_CODE: Final = "and these shards take no code from clients (allow_shipped_code)"


class SpexService:
    """The service of each shard of Spex.

    Args:
        engine: Carries out the operations.
        takes_code: Whether clients may send handlers and predicates as code.
    """

    next_due: Callable[[], int | None]
    """Returns when `tick` has work: microseconds since the epoch (0: at once), or None if there is none."""

    def __init__(self, engine: Engine, *, takes_code: bool = True) -> None:
        self.engine = engine
        self._takes_code = takes_code
        self.next_due = engine.timers.next_due
        self.operations: Mapping[Operation, Callable[..., Any]] = {
            ops.INIT: self._init,
            ops.TRANSITION: self._transition,
            ops.STEP: self._step,
            ops.MOCK: self._mock,
            ops.DELETE: self._delete,
            ops.DELETE_WHERE: self._delete_where,
            ops.GET: self._get,
            ops.HISTORY: self._history,
            ops.PAGE: self._page,
            ops.MODELS: self._models,
            ops.DEVIATIONS: self._deviations,
            ops.SPECIFICATION: self._specification,
            ops.SIGHTINGS: self._sightings,
            ops.TRANSITION_IF_KNOWN: self._transition_if_known,
            ops.MANY: self._many,
        }

    @property
    def held(self) -> bool:
        """Whether timeouts must wait, because the outbox for their log records is full."""
        return self.engine.timers.held

    @held.setter
    def held(self, hold: bool) -> None:
        self.engine.timers.held = hold

    @property
    def defers(self) -> bool:
        """Whether large checks raise `Deferred`."""
        return self.engine.checks.elsewhere

    @defers.setter
    def defers(self, defers: bool) -> None:
        self.engine.checks.elsewhere = defers

    def declare(self, arguments: list[Any]) -> None:
        """Register a specification that a client declares.

        Raises:
            ValueError: The declaration is malformed.
            StoreError: It cannot be stored.
        """
        try:
            ops.check_declaration(arguments)
            stored = StoredSpecification.of(arguments[0])
        except (ValueError, TypeError) as error:
            raise ValueError(f"a malformed specification: {error}") from None
        if arguments[1] is not None and not self._takes_code:
            raise ValueError(f"the handler of {stored.declaration.name} came as code, {_NO_CODE}")
        self.engine.register(stored, arguments[1])

    def foresee(self, requests: Sequence[tuple[Operation, list[Any]]]) -> Mapping[str, Sequence[bytes]]:
        """Return the rows of the instances that these requests are about."""
        identifiers: list[bytes] = []
        for operation, arguments in requests:
            if operation is ops.MANY:
                for one in arguments[0] if arguments and type(arguments[0]) is list else ():
                    if type(one) in (list, tuple) and one and type(one[0]) is int and one[0] in ops.IN_MANY:
                        _add_identifier(identifiers, ops.IN_MANY[one[0]], one[1:])
            else:
                _add_identifier(identifiers, operation, arguments)
        return {"instances": self.engine.keys_to_read(identifiers)}

    def done(self, key: bytes, result: str) -> None:
        """Remember the verdict of a deferred check."""
        self.engine.checks.found(key, Verdict(result))

    def tick(self, now: int) -> None:
        """Do a portion of the work that is due."""
        self.engine.timers.tick(now)

    def stats(self) -> dict[str, Any]:
        """Return how many deviations and timeouts there were since the start."""
        return {"deviations": self.engine.deviations_seen, "timeouts": self.engine.timers.timeouts_seen}

    # ------------------------------------------------------------------ operations

    def _init(
        self, name: str, identifier: bytes, meta: bytes | None, initial_state: str | None, *, call: Call
    ) -> SpexError | None:
        return self.engine.init_instance(name, identifier, meta, initial_state, call.now, call)

    def _transition(self, identifier: bytes, action: str, to_state: str, *, call: Call) -> SpexError | None:
        return self.engine.transition(identifier, action, to_state, call.now, call)

    def _step(
        self,
        name: str,
        identifier: bytes,
        initial_state: str | None,
        action: str | None,
        to_state: str | None,
        *,
        call: Call,
    ) -> SpexError | None:
        return step(self.engine, name, identifier, initial_state, action, to_state, call)

    def _many(self, observations: Sequence[Any], *, call: Call) -> list[list[Any]] | None:
        return observe_many(self.engine, observations, call)

    def _transition_if_known(self, identifier: bytes, action: str, to_state: str, *, call: Call) -> SpexError | None:
        return self._transition(identifier, action, to_state, call=call) if self.engine.owner(identifier) else None

    def _mock(self, name: str, identifier: bytes, meta: bytes | None, state: str, *, call: Call) -> None:
        self.engine.mock_instance(name, identifier, meta, state, call.now)

    def _delete(self, identifier: bytes, *, call: Call) -> None:  # noqa: ARG002 - each operation's function takes it
        self.engine.delete_instance(identifier)

    def _delete_where(self, predicate: Any, *, call: Call) -> int:  # noqa: ARG002
        # A manager in the same process passes the function itself, not its bytes.
        if type(predicate) is bytes and not self._takes_code:
            raise OperationFailed(f"the predicate came as code, {_NO_CODE}", operation="delete_instances")
        return self.engine.delete_instances(unship(predicate) if type(predicate) is bytes else predicate)

    def _get(self, identifier: bytes, newest: int, *, call: Call) -> Item:  # noqa: ARG002
        return self.engine.get_instance(identifier, newest)

    def _history(self, identifier: bytes, number: int, start: int, stop: int, *, call: Call) -> Any:  # noqa: ARG002
        return self.engine.history(identifier, number, start, stop)

    def _page(
        self,
        name: str | None,
        after: bytes | None,
        newest: int,
        *,
        call: Call,  # noqa: ARG002
    ) -> tuple[list[Item], bytes | None]:
        return self.engine.page(name, after, newest)

    def _models(self, *, call: Call) -> list[PlainModel]:  # noqa: ARG002
        models = self.engine.impl_models()
        return [PlainModel(m.specification, [list(t) for t in m.transitions], m.learning_mode) for m in models]

    def _deviations(self, name: str | None, *, call: Call) -> list[PlainDeviation]:  # noqa: ARG002
        return [_deviation_plain(deviation) for deviation in self.engine.deviations(name)]

    def _specification(self, name: str, *, call: Call) -> list[Any] | None:  # noqa: ARG002
        stored = self.engine.knows(name)
        return None if stored is None else stored.plain()

    def _sightings(self, *, call: Call) -> tuple[list[list[Any]], list[bytes]]:  # noqa: ARG002
        steps, created = self.engine.take_sightings()
        return [[name, list(transition)] for name, transition in steps], created


def _deviation_plain(d: Deviation) -> PlainDeviation:
    times = encode_value(d.first_seen), encode_value(d.last_seen)
    return PlainDeviation(d.specification, list(d.transition), d.verdict.value, d.accepted, d.count, *times)
