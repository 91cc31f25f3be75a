"""The reference for a shard's answers and content: each client's operations in order, without the refused ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from spex_shards.domain.transition import INITIALISATION
from spex_shards.messages import operations as ops
from spex_shards.runtime.protocol import codec
from spex_shards.runtime.protocol.answers import Answer
from spex_shards.runtime.protocol.operations import Operation as RequestKind
from spex_shards.runtime.protocol.records import error_of
from spex_shards.runtime.protocol.sent import Sent

from .specs import Noisy

MISSING = "instance_identifier_not_found"
USED = "instance_identifier_already_in_use"
POISONOUS = "poison_request"
NOT_KEPT = "store_error"
History = tuple[tuple[str, str], ...]
ELSEWHERE: History = (("", ""),)
"""A history that cannot become the one that is looked for."""


@dataclass(frozen=True, slots=True)
class State:
    """An instance at one moment."""

    exists: bool = False
    history: History = ()

    def towards(self, goal: State) -> State:
        """Return this state, or one that stands for all states whose history is not a prefix of the goal's."""
        return self if goal.history[: len(self.history)] == self.history else State(self.exists, ELSEWHERE)


@dataclass(slots=True)
class Operation:
    """One request about an instance.

    Attributes:
        kind: The kind of request.
        target: The target state, if any; no other operation has the same.
        issued: When it was requested, on the simulated clock.
        channel: The first channel of its client that carried it.
        poison: Whether it kills the worker that carries it out.
        sent: The request itself with its number and, in the end, its answer.
    """

    kind: RequestKind
    target: str
    issued: float
    channel: int
    poison: bool
    sent: Sent

    @property
    def number(self) -> int:
        """Its number among the requests of its client."""
        return self.sent.number

    @property
    def changes(self) -> bool:
        """Whether it changes something."""
        return self.kind.changes

    @property
    def posted(self) -> bool:
        """Whether no caller waits for its answer."""
        return not self.sent.waits

    def on(self, state: State, *, noisy: bool) -> tuple[State, Any]:
        """Return the state after it, and its answer: None stands for success without a value."""
        if self.poison:
            return state, POISONOUS
        return _EFFECTS[self.kind](self, state, noisy)

    def _init(self, state: State, noisy: bool) -> tuple[State, Any]:
        return (state, None if noisy else USED) if state.exists else (State(True, ((INITIALISATION, "start"),)), None)

    def _step(self, state: State, _noisy: bool) -> tuple[State, Any]:
        return (State(True, (*state.history, ("go", self.target))), None) if state.exists else (state, MISSING)

    def _delete(self, _state: State, _noisy: bool) -> tuple[State, Any]:
        return State(), None

    def _mock(self, _state: State, _noisy: bool) -> tuple[State, Any]:
        return State(True), None

    def _get(self, state: State, _noisy: bool) -> tuple[State, Any]:
        return state, state.history if state.exists else MISSING


_EFFECTS: dict[RequestKind, Callable[[Operation, State, bool], tuple[State, Any]]] = {
    ops.INIT: Operation._init,
    ops.TRANSITION: Operation._step,
    ops.DELETE: Operation._delete,
    ops.MOCK: Operation._mock,
    ops.GET: Operation._get,
}


class Reference:
    """The expected state of one instance of one client.

    Attributes:
        state: The state after everything that is answered.
        unanswered: The other requests, in order.
        refused: The targets of requests that could not be stored.
    """

    def __init__(self, identifier: Any, specification: Any) -> None:
        self.identifier = identifier
        self.key = codec.canonical(identifier)
        self.specification = specification
        self.noisy = specification is Noisy
        self.state = State()
        self.unanswered: list[Operation] = []
        self.refused: list[str] = []
        self._early: list[tuple[Any, int]] = []

    def answered(self, operation: Operation, channel: int, last: int) -> str | None:
        """Compare the answer to the oldest operation with the expected one; return its message, if it has one.

        Args:
            operation: The oldest operation, with its answer.
            channel: The channel that brought the answer.
            last: The newest number that had been requested when the answer came.

        Raises:
            AssertionError: The answer is a different one.
        """
        assert self.unanswered.pop(0) is operation
        found = shown(operation.sent.answer)
        if found == NOT_KEPT and operation.changes:
            self.refused.append(operation.target)
            return None
        before = self.state
        self.state, must = operation.on(before, noisy=self.noisy)
        if operation.changes:
            self._look_back(operation.number)
        if not operation.changes and found != must:
            # A question that is sent again may see the effect of later requests; its answer must match one of them.
            text = f"question {operation.number} was answered {found}, not {must}"
            assert operation.channel < channel, text
            self._early.append((found, last))
        else:
            assert found == (None if operation.posted else must), (
                f"request {operation.number} was answered {found}, not {must}"
            )
        moved = self.state is not before and operation.kind is ops.TRANSITION
        return operation.target if moved and self.noisy else None

    def _look_back(self, number: int) -> None:
        now = self.state.history if self.state.exists else MISSING
        self._early = [(found, last) for found, last in self._early if found != now]
        assert all(number < last for _, last in self._early), f"a question was answered {self._early}, as it never was"

    def settled(self) -> None:
        """Compare all answers with each other, when no more will come."""
        assert not self._early, f"a question was answered {self._early}, as it never was"

    def may_be(self, goal: State, upto: int, *, full_at: float) -> bool:
        """Return whether the client may have left the instance in this state.

        Args:
            goal: The stored instance.
            upto: Everything up to this number was applied, unless it was refused.
            full_at: When the disk was last full: earlier requests may have been refused.
        """
        states = {self.state.towards(goal)}
        for operation in self.unanswered:
            applied = {operation.on(state, noisy=self.noisy)[0].towards(goal) for state in states}
            if operation.issued <= full_at:
                states |= applied
            elif operation.number <= upto:
                states = applied
        return goal in states


def cuts(instances: list[Reference], acknowledged: int) -> Iterator[int]:
    """Yield the numbers up to which a dead client's requests may have been applied."""
    yield acknowledged
    yield from sorted(operation.number for one in instances for operation in one.unanswered if operation.changes)


def shown(answer: Answer | None) -> Any:
    """Return an answer in the reference's form: None, the reason of an error, or a history."""
    if answer is None:
        return None
    value = answer.value
    if not answer.ok:
        return error_of(value).reason
    return value if value is None else tuple((action, state) for _, action, state in value[2][4])
