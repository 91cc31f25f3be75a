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

from collections import deque
from typing import Any, Final

from . import codec, records
from .errors import ShardDown, StoreError, code_of, show
from .protocol import MUTATING, NOWAIT, PROTOCOL_VERSION, Kind, ProtocolError, Request

LENGTH: Final = 4
_NOT_KEPT: Final = code_of(StoreError)
"""The code of the error that a request gets whose batch was not kept."""
_Sent = tuple[int, bytes, bool, bool]
"""A request in the window: its number and frame, whether it changes something, whether its caller waits."""


def frame(plain: Any) -> bytes:
    """Return a plain value as a frame: its length in four bytes, big-endian, and its msgpack form."""
    payload = codec.pack(plain)
    return len(payload).to_bytes(LENGTH, "big") + payload


def frame_flat(plain: Any) -> bytes:
    """Return a plain value without dicts in it as a frame, faster."""
    payload = codec.pack_flat(plain)
    return len(payload).to_bytes(LENGTH, "big") + payload


class ClientSession:
    """The client's side, for one shard.

    Not thread-safe: its owner holds a lock.

    Attributes:
        acknowledged: Every request up to this number is answered.
        written: Requests up to this number were written to a channel, this one or an earlier one.
        failures: Entries of requests that nobody waits for and that could not be applied.
    """

    def __init__(self) -> None:
        self.acknowledged = 0
        self.written = 0
        self.failures: list[Any] = []
        self._window: deque[_Sent] = deque()
        self._waiting: set[int] = set()
        self._answers: dict[int, Any] = {}
        self._kept = False
        self._events_seen = self._reports_seen = 0

    @property
    def last(self) -> int:
        """The newest number."""
        return self._window[-1][0] if self._window else self.acknowledged

    @property
    def unacknowledged(self) -> int:
        """Requests in the window."""
        return len(self._window)

    def add(self, code: int, thread: int, arguments: tuple[Any, ...], *, waits: bool) -> tuple[int, bytes]:
        """Number a request and take it into the window; return its number and frame."""
        number = self.last + 1
        data = frame_flat((number, self.acknowledged, code, thread, *arguments))
        # One step takes the number and the place: an exception out of a signal comes before it or after it.
        self._window.append((number, data, code & ~NOWAIT in MUTATING, waits))
        if waits:
            self._waiting.add(number)
        return number, data

    def receive(self, reply: Any) -> None:
        """Take a reply.

        Raises:
            ProtocolError: It is malformed.
        """
        unkept = set()
        try:
            upto, entries = reply
            for entry in entries:
                number, ok, value, _ = entry
                if number in self._waiting:
                    self._answers[number] = entry
                elif not ok and self._is_posted(number):
                    self.failures.append(entry)
                if not ok and value[0] == _NOT_KEPT:
                    unkept.add(number)
        except (TypeError, ValueError, LookupError):
            raise ProtocolError(f"a malformed reply: {show(reply)}") from None
        if type(upto) is not int or not self.acknowledged <= upto <= self.last:
            raise ProtocolError(f"a reply up to {show(upto)}, where {self.acknowledged} to {self.last} was possible")
        self.acknowledged = upto
        window = self._window
        while window and window[0][0] <= upto:
            number, _, changes, _ = window.popleft()
            if changes and number not in unkept:
                self._kept = True

    def answer(self, number: int) -> Any:
        """Return the entry of an answered request that was waited for, or None for plain success."""
        self._waiting.discard(number)
        return self._answers.pop(number, None)

    def give_up(self, number: int) -> None:
        """Wait no longer for a request; it may be applied all the same."""
        self._waiting.discard(number)
        self._answers.pop(number, None)

    def hello(self, pid: int) -> bytes:
        """Return the frame that a new channel starts with.

        It tells whether the shard must have a row of this client (something that changes was kept), and whether
        requests follow that were written to an earlier channel; and which events and reports this client needs no more.
        """
        kept = self._kept
        again = self.acknowledged < self.written
        first, seen = self.acknowledged + 1, (self._events_seen, self._reports_seen)
        return frame((0, self.acknowledged, Kind.HELLO, pid, PROTOCOL_VERSION, first, kept, again, *seen))

    def is_new(self, number: int, *, report: bool) -> bool:
        """Take the number of an event, or of a report; return whether it was not here before."""
        if number <= (self._reports_seen if report else self._events_seen):
            return False
        if report:
            self._reports_seen = number
        else:
            self._events_seen = number
        return True

    def seen(self) -> bytes:
        """Return the frame that tells the shard which reports it may forget."""
        return frame((0, 0, Kind.SEEN, 0, self._reports_seen))

    def unanswered(self) -> bytes:
        """Return the frames of the whole window, in order, to be written to a new channel."""
        self.written = self.last
        return b"".join(data for number, data, _, _ in self._window if number > self.acknowledged)

    def take_back(self, number: int) -> None:
        """Undo the newest `add`: the request was not sent."""
        self._window.pop()
        self._waiting.discard(number)

    def refuse_all(self, error: Any) -> int:
        """Answer the whole window with an error, as the shard said; return how many requests that were.

        The shard has no row of this client, or knows no more what it says: the next channel starts anew.
        """
        count = len(self._window)
        self.failures += [[number, False, error, []] for number in self._answer_all(error)]
        self._kept = False
        return count

    def abandon(self, error: Any) -> list[int]:
        """Answer the whole window with an error: it will not be sent again; return the numbers sent without waiting."""
        return self._answer_all(error)

    def _answer_all(self, error: Any) -> list[int]:
        posted = []
        last = self.last
        for number, _, _, waits in self._window:
            if number in self._waiting:
                self._answers[number] = [number, False, error, []]
            elif not waits:
                posted.append(number)
        self.acknowledged = last
        self._window.clear()
        return posted

    def _is_posted(self, number: int) -> bool:
        """Whether a request in the window was sent without waiting; what a call gave up is nobody's failure."""
        if not self._window:
            return False
        place = number - self._window[0][0]
        return 0 <= place < len(self._window) and not self._window[place][3]


class ServerSession:
    """The shard's side, for one client.

    Args:
        row: The stored row of the client, or None.
        answers: The stored answers: number → entry.
    """

    def __init__(self, row: Any, answers: dict[int, Any]) -> None:
        known: tuple[int, int, int] = (0, 0, 0) if row is None else tuple(row)
        self.applied, self.events, self.gone = known
        self.stored = row is not None
        self.opened = False
        self._next = 0
        self._remembered = answers
        self._fresh: dict[int, Any] = {}
        self._refused: dict[int, Any] = {}
        self._dropped: list[int] = []

    def open(self, version: int, first: int, *, kept: bool, again: bool, events: int) -> None:
        """Take the hello of a new channel.

        Raises:
            ProtocolError: Another version, or a number that cannot be.
            ShardDown: The client's row is gone, so that it cannot be told what was applied.
        """
        if version != PROTOCOL_VERSION:
            raise ProtocolError(f"protocol version {version} where {PROTOCOL_VERSION} is spoken")
        if first < 1:
            raise ProtocolError(f"a channel must start at number 1 or later, got: {first}")
        if kept and again and not self.stored:
            text = "the shard has forgotten this client; what was sent again may have been applied before"
            raise ShardDown(text, maybe_executed=True)
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
        self._forget(request.acknowledged)
        return request.number > self.applied or request.kind not in MUTATING

    def put_back(self) -> None:
        """The newest request that `receive` took was not carried out, and will be given to it once more."""
        self._next -= 1

    def again(self, number: int) -> Any:
        """Return the remembered entry of a request that was carried out before, or None for plain success."""
        return self._remembered.get(number)

    def applied_now(self, number: int, entry: Any, *, remember: bool) -> None:
        """Note that a request was carried out in the current batch, and its entry (None: plain success)."""
        self.applied = max(self.applied, number)
        if remember and entry is not None:
            self._fresh[number] = entry

    def rows(self) -> tuple[bytes, dict[int, bytes], list[int]]:
        """Return what the batch must keep: the client's row, new answers, and the numbers of answers to delete."""
        row = records.seal_flat((self.applied, self.events, self.gone))
        entries = {**self._refused, **self._fresh}
        return row, {number: records.seal(entry) for number, entry in entries.items()}, self._dropped

    def committed(self) -> None:
        """The batch was kept."""
        self.stored = True
        self._refused.clear()
        if not self._fresh and not self._dropped:
            return
        for number, entry in self._fresh.items():
            self._remembered[number] = entry
        self._fresh.clear()
        self._dropped = []

    def forgotten(self) -> None:
        """The client has said its farewell, and the batch without its rows was kept: whatever comes needs a hello."""
        self.stored = self.opened = False
        self._remembered.clear()

    def failed(self) -> None:
        """The batch was not kept: nothing of it is remembered."""
        self._fresh.clear()

    def not_applied(self, number: int, entry: Any) -> None:
        """Remember the answer that a request of a failed batch got; it is kept with the first batch that can be."""
        self._remembered[number] = self._refused[number] = entry

    def _forget(self, upto: int) -> None:
        if self._remembered:
            done = [number for number in self._remembered if number <= upto]
            for number in done:
                del self._remembered[number]
                self._refused.pop(number, None)
            self._dropped += done
