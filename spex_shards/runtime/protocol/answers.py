"""The messages of a shard to a client: replies with answers, and events.

A reply on the wire is ``[up to, answers]``: every request up to that number is answered. A request without an answer in
the list has succeeded, with nothing to say. An answer is ``[number, ok, value or error, log records]``. Instead of a
reply, a shard may send the error because of which it closes the channel:
``[NOT_ANSWERED, [[NOT_ANSWERED, False, error, []]]]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ...errors import show
from .requests import ProtocolError

NOT_ANSWERED: Final = -1
"""The number in a reply that refuses or closes the channel; its answer holds the reason."""
MESSAGE, LOG, REPORT = 0, 1, 2
"""The kinds of events: a message of the service, a log record of a request, and a log record from the outbox."""


class Event(NamedTuple):
    """A message that a shard sends without a request.

    Attributes:
        number: Counts the events of the client; or, for reports, the records of the shard's outbox.
        kind: `MESSAGE`, `LOG` or `REPORT`.
        payload: The bytes of the message, or the log record.
    """

    number: int
    kind: int
    payload: Any


class Answer(NamedTuple):
    """The answer to a request.

    Attributes:
        number: The request's number.
        ok: Whether it succeeded.
        value: Its value, or the plain form of its error.
        logs: The records that were logged while it was carried out; the caller logs them.
        events: The events that belong to it. They are sent before the answer, on a pipe of their own, and stored with
            it until the client has the answer.
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
            ValueError: The row is not an answer.
        """
        try:
            number, ok, value, logs, events = plain
            return cls(number, ok, value, logs, [Event._make(event) for event in events])
        except TypeError:
            raise ValueError(f"a malformed answer: {show(plain)}") from None


def read_reply(plain: Any) -> tuple[int, Sequence[Answer]]:
    """Return a reply's content: the number up to which requests are answered, and the answers.

    Raises:
        ProtocolError: The reply is malformed.
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
    """Return the error in a reply up to `NOT_ANSWERED`, because of which the channel is closed.

    Raises:
        ProtocolError: The reply has no error.
    """
    if len(answers) != 1 or answers[0].ok:
        raise ProtocolError("a channel is closed without a reason")
    error: list[Any] = answers[0].value
    return error


def read_event(plain: Any) -> Event:
    """Return the event of a plain value.

    Raises:
        ProtocolError: The value is malformed.
    """
    try:
        event = Event._make(plain)
    except TypeError:
        raise ProtocolError(f"a malformed event: {show(plain)}") from None
    if type(event.number) is not int or type(event.kind) is not int:
        raise ProtocolError(f"a malformed event: {show(plain)}")
    return event
