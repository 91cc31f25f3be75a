"""The protocol between a client and a shard as two state machines without input or output.

The client, the worker and the simulator drive the same ones: numbers, the window, re-sending, remembered answers.

* A client numbers its requests to a shard 1, 2, 3, … for as long as it lives. What is not answered stays in its
  window, and is sent again, in order, on the next channel.
* A channel starts with a hello that names the first number it will carry; from there numbers are contiguous. A gap
  means that something was lost, and closes the channel.
* The shard keeps, per client, the highest number applied, and every answer that is not plain success until the client
  says that it has it. So a request that changes something is applied once, however often it is sent.
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
"""The code of the error that a request gets whose batch was not kept."""


def frame(plain: Any) -> bytes:
    """Return a plain value as a frame: its length in four bytes, big-endian, and its msgpack form."""
    payload = codec.pack(plain)
    return len(payload).to_bytes(LENGTH, "big") + payload


def frame_flat(plain: Any) -> bytes:
    """Return a plain value without dicts in it as a frame, faster."""
    payload = codec.pack_flat(plain)
    return len(payload).to_bytes(LENGTH, "big") + payload


class _Seen:
    """The newest event and the newest report that this client has taken, and the newest report that is logged."""

    __slots__ = ("events", "logged", "reports")

    def __init__(self) -> None:
        self.events = self.reports = self.logged = 0


class ClientSession:
    """The client's side, for one shard.

    One thread at a time adds, and one at a time receives; both at once is allowed. It can be left in the middle of any
    method, by an exception or for another call that interrupts it: then `successor` goes on where it stopped, and
    whoever finds that a request of its own is not held there adds it anew.

    Args:
        clock: Seconds on a clock that nobody sets.

    Attributes:
        acknowledged: Every request up to this number is answered.
        written: Requests up to this number were written to a channel, this one or an earlier one.
        failures: Number → answer of requests that nobody waits for and that could not be applied.
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
        """The newest number."""
        return self._last

    @property
    def unacknowledged(self) -> int:
        """Requests in the window."""
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
        """Number a request and take it into the window; return its frame."""
        data = sent.numbered(self._last + 1, self.acknowledged)
        if not self._kept and not self._window:
            self._unkept_since = self._clock()
        # From here on it is on its way: what is left behind now is sent by the successor.
        self._window.append(sent)
        self._last = sent.number
        return data

    def receive(self, reply: Any) -> list[Any] | None:
        """Take a reply; return the error that stands in its place where the channel is closed, else None.

        Raises:
            ProtocolError: It is malformed; nothing of it was taken.
        """
        upto, answers = read_reply(reply)
        if upto == NOT_ANSWERED:
            return refusal_of(answers)
        if not self.acknowledged <= upto <= self._last:
            raise ProtocolError(f"a reply up to {upto}, where {self.acknowledged} to {self._last} was possible")
        if not answers and self._kept and not self._given_up:  # a stream of posts: nothing has to be looked at
            self.acknowledged = upto  # before anything leaves the window; a successor looks at the window first
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
        # Before anything leaves the window; a successor looks at the window first.
        self.acknowledged = max(upto, self.acknowledged)
        while window and window[0].number <= upto:
            sent = window[0]
            if not self._kept and sent.changes and sent.number not in unkept:
                self._kept = True
            if sent.answer is not None and not sent.waits and not sent.answer.ok:
                self.failures[sent.number] = sent.answer
            sent.done = True
            window.popleft()

    def successor(self) -> ClientSession:
        """Return a session that goes on where this one is, in the middle of whatever it is."""
        fresh = ClientSession(self._clock)
        fresh._kept, fresh._given_up, fresh.written = self._kept, self._given_up, self.written
        fresh._unkept_since = self._unkept_since
        fresh.failures, fresh._seen = self.failures, self._seen
        window = tuple(self._window)
        # Requests are done from the oldest on. One that is done meanwhile is answered once more, and the same.
        fresh._window.extend(dropwhile(attrgetter("done"), window))
        if fresh._window:
            fresh.acknowledged, fresh._last = fresh._window[0].number - 1, fresh._window[-1].number
        else:
            fresh.acknowledged = fresh._last = max(self.acknowledged, window[-1].number if window else 0)
        return fresh

    def hello(self, pid: int, version: int = PROTOCOL_VERSION) -> bytes:
        """Return the frame that a new channel starts with.

        It tells whether a shard without a row of this client must have forgotten it, and whether requests follow that
        were written to an earlier channel; and which events and reports this client needs no more.
        """
        again = self.acknowledged < self.written
        # What was sent may have been kept without an answer, so long ago that the shard has forgotten it by now.
        kept = self._kept or (again and self._clock() - self._unkept_since > FORGOTTEN_AFTER / 2)
        seen = self._seen
        first = self.acknowledged + 1
        return frame((0, self.acknowledged, HELLO.code, pid, version, first, kept, again, seen.events, seen.logged))

    def is_new(self, number: int, *, report: bool) -> bool:
        """Take the number of an event, or of a report; return whether it was not here before."""
        seen = self._seen
        if number <= (seen.reports if report else seen.events):
            return False
        if report:
            seen.reports = number
        else:
            seen.events = number
        return True

    def seen(self) -> bytes:
        """Return the frame that tells the shard which reports it may forget: those that are logged."""
        return frame((0, 0, SEEN.code, 0, self._seen.logged))

    def logged(self, number: int) -> None:
        """Every report up to this number is logged."""
        self._seen.logged = max(self._seen.logged, number)

    def goodbye(self) -> bytes:
        """Return the frame that tells the shard that this client is gone for good."""
        return frame((0, 0, BYE.code, 0))

    def unanswered(self) -> bytes:
        """Return the frames of the whole window, in order, to be written to a new channel."""
        self.written = self._last
        return b"".join(sent.data for sent in tuple(self._window))

    def refuse_all(self, error: list[Any]) -> int:
        """Answer the whole window with an error, as the shard said; return how many requests that were.

        The shard has no row of this client, or knows no more what it says: the next channel starts anew.
        """
        count = len(self._window)
        self._answer_all(error)
        self._kept = False
        return count

    def refuse_larger(self, limit: int, error: Callable[[Sent], list[Any]]) -> None:
        """Have requests that a shard would not take answered alone, with an error; their numbers are used up.

        Args:
            limit: Most bytes that it takes.
            error: Returns the plain error of a request.
        """
        for sent in tuple(self._window):
            if sent.size > limit:
                sent.give_up(error(sent), self.acknowledged)
                self._given_up = True

    def abandon(self, error: list[Any]) -> list[int]:
        """Answer the whole window with an error: it will not be sent again; return the numbers sent without waiting.

        Those are no failures of their own: whoever abandons them says it once for all.
        """
        posted = [sent.number for sent in tuple(self._window) if not sent.waits]
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
    """The shard's side, for one client.

    Args:
        row: The stored row of the client, or None.
        answers: The stored answers, by number.
        lost: Whether there was a row, which cannot be read any more.
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
        """Take the hello of a new channel.

        Raises:
            ProtocolError: Another version, or a number that cannot be.
            ShardDown: The client's row is gone, so that it cannot be told what was applied.
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
        """Take a numbered request; return whether it must be carried out (else it was already: see `again`).

        Raises:
            ProtocolError: Its number does not follow.
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
        """The newest request that `receive` took was not carried out, and will be given to it once more."""
        self._next -= 1

    def again(self, number: int) -> Answer | None:
        """Return the remembered answer of a request that was carried out before, or None for plain success."""
        return self._remembered.get(number)

    def applied_now(self, number: int, answer: Answer | None, *, remember: bool) -> None:
        """Note that a request was carried out in the current batch, and its answer (None: plain success)."""
        self.applied = max(self.applied, number)
        if remember and answer is not None:
            self._fresh[number] = answer

    def rows(self) -> tuple[bytes, dict[int, bytes], list[int]]:
        """Return what the batch must keep: the client's row, new answers, and the numbers of answers to delete."""
        row = records.seal_flat((self.applied, self.events, self.gone))
        answers: dict[int, bytes] = {}
        if self._fresh or self._refused:  # else every request succeeded and has nothing to say, as nearly always
            answers = {number: records.seal(answer) for number, answer in {**self._refused, **self._fresh}.items()}
        return row, answers, self._dropped

    def committed(self) -> None:
        """The batch was kept."""
        self.stored = True
        self._refused.clear()
        if not self._fresh and not self._dropped:
            return
        for number, answer in self._fresh.items():
            self._remembered[number] = answer
        self._fresh.clear()
        self._dropped = []

    def forgotten(self) -> None:
        """The client has said its farewell, and the batch without its rows was kept: whatever comes needs a hello."""
        self.stored = self.opened = False
        self._remembered.clear()

    def failed(self) -> None:
        """The batch was not kept: nothing of it is remembered."""
        self._fresh.clear()

    def not_applied(self, number: int, answer: Answer) -> None:
        """Remember the answer that a request of a failed batch got; it is kept with the first batch that can be."""
        self._remembered[number] = self._refused[number] = answer

    def _forget(self, upto: int) -> None:
        done = [number for number in self._remembered if number <= upto]
        for number in done:
            del self._remembered[number]
            self._refused.pop(number, None)
        self._dropped += done
