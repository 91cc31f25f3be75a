"""What a shard says to a client: answers to its requests, and events that nobody asked for.

A reply on the wire is ``[up to, answers]``: every request up to that number is answered, and those that have no answer
of their own succeeded and have nothing to say. An answer is ``[number, ok, value or error, log records]``. In place of
a reply a shard may say why it closes the channel: ``[NOT_ANSWERED, [[NOT_ANSWERED, False, error, []]]]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ...errors import show
from .requests import ProtocolError

NOT_ANSWERED: Final = -1
"""In a reply's place for the number: the channel is refused or closed, and the answer says why."""
MESSAGE, LOG, REPORT = 0, 1, 2
"""Kinds of events: a message of a service, a log record of a request, a log record of none (see the outbox)."""


class Event(NamedTuple):
    """What a shard sends unasked.

    `number` counts the events of a client, or, for reports, those of the shard; `payload` is bytes or a log record.
    """

    number: int
    kind: int
    payload: Any


class Answer(NamedTuple):
    """The answer to a request: its value, or the plain form of its error.

    `logs` are what was logged meanwhile, as the caller's own. `events` leave before the answer, by a pipe of their own;
    the shard keeps them with it until the client has the answer.
    """

    number: int
    ok: bool
    value: Any
    logs: Sequence[Any] = ()
    events: Sequence[Event] = ()

    @classmethod
    def stored(cls, plain: Any) -> Answer:
        """Return the answer of a stored row.

        Raises:
            ValueError: It is none.
        """
        try:
            number, ok, value, logs, events = plain
            return cls(number, ok, value, logs, [Event._make(event) for event in events])
        except TypeError:
            raise ValueError(f"a malformed answer: {show(plain)}") from None


def read_reply(plain: Any) -> tuple[int, Sequence[Answer]]:
    """Read a reply; return the number up to which requests are answered, and the answers.

    Raises:
        ProtocolError: It is malformed.
    """
    try:
        upto, plain_answers = plain
        if type(upto) is int and plain_answers == []:
            return upto, ()
        answers = [Answer(number, ok, value, logs) for number, ok, value, logs in plain_answers]
    except (TypeError, ValueError):
        raise ProtocolError(f"a malformed reply: {show(plain)}") from None
    if type(upto) is not int or not all(map(_is_whole, answers)):
        raise ProtocolError(f"a malformed reply: {show(plain)}")
    return upto, answers


def _is_whole(answer: Answer) -> bool:
    return type(answer.number) is int and (answer.ok is True or (type(answer.value) is list and len(answer.value) == 4))


def refusal_of(answers: Sequence[Answer]) -> list[Any]:
    """Return the error of a reply up to `NOT_ANSWERED`: why the channel is closed.

    Raises:
        ProtocolError: There is none.
    """
    if len(answers) != 1 or answers[0].ok:
        raise ProtocolError("a channel is closed without a reason")
    error: list[Any] = answers[0].value
    return error


def read_event(plain: Any) -> Event:
    """Read an event.

    Raises:
        ProtocolError: It is malformed.
    """
    try:
        event = Event._make(plain)
    except TypeError:
        raise ProtocolError(f"a malformed event: {show(plain)}") from None
    if type(event.number) is not int or type(event.kind) is not int:
        raise ProtocolError(f"a malformed event: {show(plain)}")
    return event
