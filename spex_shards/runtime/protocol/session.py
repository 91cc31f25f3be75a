"""The protocol between a client and a shard, as two state machines without input or output.

# Guarantees:
#
# * A client numbers its requests to a shard 1, 2, 3, … as long as it exists. An unanswered request stays in its window,
#   and is sent again, in order and under the same number, on the next channel. So no request is lost with a channel.
# * A channel begins with a hello that names the number of its first request; then numbers are contiguous. On a gap the
#   shard closes the channel. Otherwise it would raise its highest applied number past a request that it never had, and
#   would not apply that request when it is sent again.
# * For each client, the shard stores the highest number that it has applied, in the same commit as the changes. So a
#   request that changes something is applied exactly once, however often it is sent.
# * The shard also stores each answer that is more than plain success, until the client says that it has the answer. So
#   a request that is sent again gets the answer that it got the first time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Container
from itertools import dropwhile
from operator import attrgetter
from typing import Any, Final

from ...errors import ShardDown, StoreError, code_of
from . import codec, records
from .answers import NOT_ANSWERED, Answer, read_reply, refusal_of
from .requests import BYE, FORGOTTEN_AFTER, HELLO, OLDEST_PROTOCOL, PROTOCOL_VERSION, SEEN, ProtocolError, Request
from .sent import LENGTH, Sent

_NOT_KEPT: Final = code_of(StoreError)
"""The code of the error of a request whose batch could not be committed."""


def frame(plain: Any) -> bytes:
    """Return a plain value as a frame: the length in four bytes, big-endian, and the value as msgpack."""
    payload = codec.pack(plain)
    return len(payload).to_bytes(LENGTH, "big") + payload


class _Seen:
    """The numbers of the newest event and report that this client has received, and of the newest report logged."""

    __slots__ = ("events", "logged", "reports")

    def __init__(self) -> None:
        self.events = self.reports = self.logged = 0


class ClientSession:
    """The client's side of the protocol, for one shard.

    One thread at a time may call `add`, and one at a time `receive`, both at once.

    # Guarantees:
    #
    # * A session may be abandoned in the middle of any method, by an exception or by a call that interrupts it. Then
    #   `successor` returns one that continues. It has all requests whose `add` got as far as the window; a caller that
    #   does not find its request there adds it again.
    # * `receive` sets `acknowledged` before requests leave the window, and `successor` reads the window first. So a
    #   successor never has a window with a gap after `acknowledged`, and gives no number twice.

    Args:
        clock: Returns monotonic seconds.

    Attributes:
        acknowledged: All requests up to this number are answered.
        written: Requests up to this number were written to this channel or an earlier one.
        failures: Number → answer: of posts that could not be applied, and of all calls whose callers wait no more.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.acknowledged = 0
        self.written = 0
        self.failures: dict[int, Answer] = {}
        self._window: deque[Sent] = deque()
        self._last = 0
        self._kept = self._given_up = False
        self._unkept_since = 0.0
        self._seen = _Seen()

    @property
    def last(self) -> int:
        """The number of the newest request."""
        return self._last

    @property
    def unacknowledged(self) -> int:
        """How many requests are in the window."""
        return len(self._window)

    @property
    def newest(self) -> Sent | None:
        """The newest request in the window, or None."""
        try:
            return self._window[-1]
        except IndexError:
            return None

    @property
    def oldest(self) -> Sent | None:
        """The oldest request in the window, or None."""
        try:
            return self._window[0]
        except IndexError:
            return None

    def holds(self, sent: Sent) -> bool:
        """Return whether a request is in the window."""
        return sent in tuple(self._window)

    def add(self, sent: Sent) -> bytes:
        """Give a request the next number, put it into the window, and return its frame."""
        data = sent.numbered(self._last + 1, self.acknowledged)
        if not self._kept and not self._window:
            self._unkept_since = self._clock()
        # This step decides: if the session is abandoned from here on, its successor has the request.
        self._window.append(sent)
        self._last = sent.number
        return data

    def receive(self, reply: Any) -> list[Any] | None:
        """Apply a reply to the window; return the error with which the shard closes the channel instead, else None.

        Raises:
            ProtocolError: The reply is malformed; no request is done.
        """
        upto, answers = read_reply(reply)
        if upto == NOT_ANSWERED:
            return refusal_of(answers)
        if not self.acknowledged <= upto <= self._last:
            raise ProtocolError(f"a reply up to {upto}, where {self.acknowledged} to {self._last} was possible")
        if not answers and self._kept and not self._given_up:  # the fast path of posts: there are no answers to assign
            self.acknowledged = upto  # before any request leaves the window: see the guarantees
            window = self._window
            while window and window[0].number <= upto:
                window[0].done = True
                window.popleft()
            return None
        unkept = set()
        for answer in answers:
            sent = self._at(answer.number)
            if not answer.ok and answer.value[0] == _NOT_KEPT:
                unkept.add(answer.number)
            if sent is not None and not sent.given_up:
                sent.answer = answer
        self._answered(upto, unkept)
        return None

    def _at(self, number: int) -> Sent | None:
        window = self._window
        if not window:
            return None
        place = number - window[0].number
        return window[place] if 0 <= place < len(window) else None

    def _answered(self, upto: int, unkept: Container[int]) -> None:
        window = self._window
        # Before any request leaves the window: see the guarantees.
        self.acknowledged = max(upto, self.acknowledged)
        while window and window[0].number <= upto:
            sent = window[0]
            if not self._kept and sent.changes and sent.number not in unkept:
                self._kept = True
            # An abandoned session may be in the middle of this while its successor gets the same answer again. Only the
            # first counts the failure; the other finds the request done.
            if not sent.done and sent.answer is not None and not sent.waits and not sent.answer.ok:
                self.failures[sent.number] = sent.answer
            sent.done = True
            if sent.late and sent.answer is not None and sent.is_left():
                self.failures[sent.number] = sent.answer
            window.popleft()

    def successor(self) -> ClientSession:
        """Return a session that continues from this one, at any point of any of its methods."""
        fresh = ClientSession(self._clock)
        fresh._kept, fresh._given_up, fresh.written = self._kept, self._given_up, self.written
        fresh._unkept_since = self._unkept_since
        fresh.failures, fresh._seen = self.failures, self._seen
        window = tuple(self._window)
        # Requests become done from the oldest on. If one becomes done after this, it gets the same answer again.
        fresh._window.extend(dropwhile(attrgetter("done"), window))
        if fresh._window:
            fresh.acknowledged, fresh._last = fresh._window[0].number - 1, fresh._window[-1].number
        else:
            fresh.acknowledged = fresh._last = max(self.acknowledged, window[-1].number if window else 0)
        return fresh

    def hello(self, pid: int, version: int = PROTOCOL_VERSION) -> bytes:
        """Return the frame that a new channel begins with.

        It says whether the shard must have a row of this client, or else has forgotten it; whether some of the requests
        were written to an earlier channel; and which events and reports this client does not need any more.
        """
        again = self.acknowledged < self.written
        # Without any answer so far, the requests may still have been applied, so long ago that the shard has forgotten
        # this client since. Then it is as if they had been answered: the shard must have a row.
        kept = self._kept or (again and self._clock() - self._unkept_since > FORGOTTEN_AFTER / 2)
        seen = self._seen
        first = self.acknowledged + 1
        return frame((0, self.acknowledged, HELLO.code, pid, version, first, kept, again, seen.events, seen.logged))

    def is_new(self, number: int, *, report: bool) -> bool:
        """Note the number of an event or report; return whether it has not arrived before."""
        seen = self._seen
        if number <= (seen.reports if report else seen.events):
            return False
        if report:
            seen.reports = number
        else:
            seen.events = number
        return True

    def seen(self) -> bytes:
        """Return the frame that tells the shard which reports are logged, so that it may delete them."""
        return frame((0, 0, SEEN.code, 0, self._seen.logged))

    def logged(self, number: int) -> None:
        """Note that all reports up to a number are logged."""
        self._seen.logged = max(self._seen.logged, number)

    def goodbye(self) -> bytes:
        """Return the frame that tells the shard that this client sends nothing more, so that it may forget it."""
        return frame((0, 0, BYE.code, 0))

    def unanswered(self) -> bytes:
        """Return the frames of all requests in the window, in order, for a new channel."""
        self.written = self._last
        return b"".join(sent.data for sent in tuple(self._window))

    def refuse_all(self, error: list[Any]) -> int:
        """Answer all requests in the window with the shard's refusal; return how many there were.

        The shard has lost this client's row, so it cannot say which were applied. The next channel begins anew.
        """
        count = len(self._window)
        self._answer_all(error)
        self._kept = False
        return count

    def refuse_larger(self, limit: int, error: Callable[[Sent], list[Any]]) -> None:
        """Answer requests that are too large for the shard with an error, one by one.

        In place of each, a small question is sent under its number, because numbers must be contiguous. `limit` is in
        bytes; `error` returns the plain form of a request's error.
        """
        for sent in tuple(self._window):
            if sent.size > limit:
                sent.give_up(error(sent), self.acknowledged)
                self._given_up = True

    def abandon(self, error: list[Any]) -> list[int]:
        """Answer all requests in the window with an error: they are not sent again.

        Return the numbers of those that nobody waits for. They are not in `failures`: one error reports all of them.
        """
        posted = [sent.number for sent in tuple(self._window) if sent.late or not sent.waits]
        self._answer_all(error)
        for number in posted:
            self.failures.pop(number, None)
        return posted

    def _answer_all(self, error: list[Any]) -> None:
        window = tuple(self._window)
        for sent in window:
            sent.answer = Answer(sent.number, False, error)
        if window:
            self._answered(window[-1].number, frozenset(sent.number for sent in window))


class ServerSession:
    """The shard's side of the protocol, for one client.

    Args:
        row: The client's stored row, or None.
        answers: The client's stored answers, by number.
        lost: Whether the client had a row that cannot be read any more.

    Attributes:
        applied: The highest number that was applied.
        events: The number of the newest event.
        gone: The shard's age when the client left; 0: it is attached.
        stored, opened: Whether the client has a row; whether it has sent its hello on the present channel.
    """

    def __init__(self, row: Any, answers: dict[int, Answer], *, lost: bool = False) -> None:
        known: tuple[int, int, int] = (0, 0, 0) if row is None or lost else tuple(row)
        self._lost = lost
        self.applied, self.events, self.gone = known
        self.stored = row is not None
        self.opened = False
        self._next = 0
        self._remembered = answers
        self._fresh: dict[int, Answer] = {}
        self._refused: dict[int, Answer] = {}
        self._dropped: list[int] = []

    def open(self, version: int, first: int, *, kept: bool, again: bool, events: int) -> None:
        """Apply the hello of a new channel, whose first request has the number `first`.

        `kept` says that the client must have a row here, `again` that it wrote some of the requests that follow to an
        earlier channel, and `events` is the number of the newest event that it has received.

        Raises:
            ProtocolError: The version is not spoken here, or the number is not positive.
            ShardDown: Requests are sent again, and the client's row is lost: it is unknown which were applied.
        """
        if not OLDEST_PROTOCOL <= version <= PROTOCOL_VERSION:
            text = f"protocol version {version} where {OLDEST_PROTOCOL} to {PROTOCOL_VERSION} are spoken"
            raise ProtocolError(text)
        if first < 1:
            raise ProtocolError(f"a channel must start at number 1 or later, got: {first}")
        if again and (self._lost or (kept and not self.stored)):
            text = "the shard has forgotten this client; what was sent again may have been applied before"
            raise ShardDown(text, maybe_executed=True)
        self._lost = False
        self.applied = max(self.applied, first - 1)
        self.events = max(self.events, events)
        self._next = first
        self.gone = 0
        self.opened = True
        self._forget(first - 1)

    def receive(self, request: Request) -> bool:
        """Accept a numbered request; return whether it must be carried out (if not, `again` has its answer).

        Raises:
            ProtocolError: Its number is not the next one, or the hello is missing.
        """
        if not self.opened:
            raise ProtocolError("a request before the hello")
        if request.number != self._next:
            raise ProtocolError(f"request {request.number} where {self._next} should follow: something was lost")
        self._next += 1
        if request.acknowledged >= request.number:
            raise ProtocolError(f"request {request.number} says that it is answered already")
        if self._remembered:
            self._forget(request.acknowledged)
        return request.number > self.applied or not request.operation.changes

    def put_back(self) -> None:
        """Undo the last `receive`: the request was not carried out, and will be passed to `receive` again."""
        self._next -= 1

    def again(self, number: int) -> Answer | None:
        """Return the stored answer of a request that was applied before, or None for plain success."""
        return self._remembered.get(number)

    def applied_now(self, number: int, answer: Answer | None, *, remember: bool) -> None:
        """Note that a request was carried out in the current batch, and `remember` its answer (None: plain success)."""
        if number > self.applied:
            self.applied = number
        if remember and answer is not None:
            self._fresh[number] = answer

    def rows(self) -> tuple[tuple[int, int, int], dict[int, bytes], list[int]]:
        """Return what the batch must store: the client's row, new answers, and the numbers of answers to delete."""
        row = self.applied, self.events, self.gone
        answers: dict[int, bytes] = {}
        if self._fresh or self._refused:  # rarely: nearly all requests that change something are plain successes
            answers = {number: records.seal(answer) for number, answer in {**self._refused, **self._fresh}.items()}
        return row, answers, self._dropped

    def committed(self) -> None:
        """Note that the batch was committed."""
        self.stored = True
        self._refused.clear()
        if not self._fresh and not self._dropped:
            return
        for number, answer in self._fresh.items():
            self._remembered[number] = answer
        self._fresh.clear()
        self._dropped = []

    def forgotten(self) -> None:
        """Note that the client's rows are deleted, after its `BYE`: a further request needs a new hello."""
        self.stored = self.opened = False
        self._remembered.clear()

    def failed(self) -> None:
        """Note that the batch was rolled back: its answers are forgotten."""
        self._fresh.clear()

    def not_applied(self, number: int, answer: Answer) -> None:
        """Remember the error of a request whose batch could not be committed; it is stored with the next batch.

        The number counts as applied. Otherwise the request could be applied after its caller got the error.
        """
        self._remembered[number] = self._refused[number] = answer

    def _forget(self, upto: int) -> None:
        done = [number for number in self._remembered if number <= upto]
        for number in done:
            del self._remembered[number]
            self._refused.pop(number, None)
        self._dropped += done
