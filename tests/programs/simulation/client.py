"""A simulated application: it drives the real client session, and knows what every answer must be."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from spex_shards.messages import operations as ops
from spex_shards.messages.specifications import describe
from spex_shards.runtime.protocol.answers import LOG, MESSAGE, NOT_ANSWERED, REPORT
from spex_shards.runtime.protocol.operations import Operation as RequestKind
from spex_shards.runtime.protocol.records import decode_value, error_of
from spex_shards.runtime.protocol.requests import DECLARE, OLDEST_PROTOCOL, PROTOCOL_VERSION, SAYS_GOODBYE
from spex_shards.runtime.protocol.sent import Sent
from spex_shards.runtime.protocol.session import ClientSession, frame
from spex_shards.runtime.protocol.wire import FrameReader

from .disk import SimDisk
from .pipes import Net, Pipe
from .reference import NOT_KEPT, Operation, Reference, shown
from .specs import SPECIFICATIONS, Timed

REGISTER = b"".join(
    frame((0, 0, DECLARE.code, 0, stored.plain(), shipped)) for stored, shipped in map(describe, SPECIFICATIONS)
)


class SimClient:
    """One application process and its channel to the shard.

    Args:
        net: The network of its pipes.
        disk: The shard's disk: while it was full, a request may be refused.
        random: Decides its behaviour.
        name: A number of its own.
        reports: Records the reported timeouts.
        clock: The simulated clock.

    Attributes:
        version: The protocol version that it speaks.
        alive: Whether its process exists.
        ending: Whether it makes no more requests, and ends when it is idle.
        poison: The numbers of requests that kill the worker that carries them out.
        messages: The handlers' messages as they arrived.
        sent: The messages that they must have sent.
        refused: How many requests were refused because they could not be stored.
    """

    def __init__(
        self, net: Net, disk: SimDisk, random: Random, name: int, reports: dict[int, Any], clock: Callable[[], float]
    ) -> None:
        self._net = net
        self._disk = disk
        self._random = random
        self._clock = clock
        self.name = name
        self.id = random.randbytes(16)
        self.version = random.randint(OLDEST_PROTOCOL, PROTOCOL_VERSION)
        self.session = ClientSession(clock)
        self.alive, self.ending = True, False
        self.instances: list[Reference] = []
        self.poison: set[int] = set()
        self.messages: list[str] = []
        self.sent: list[str] = []
        self.reports = reports
        self.refused = 0
        self._unanswered: deque[tuple[Operation, Reference]] = deque()
        self._refused_posts: set[int] = set()
        self._count = self._channels = 0
        self._out = bytearray()
        self._ends: tuple[int, int, int] | None = None

    # ------------------------------------------------------------------ the channel

    @property
    def connected(self) -> bool:
        """Whether it has a channel."""
        return self._ends is not None

    @property
    def idle(self) -> bool:
        """Whether every request is answered and every answer checked."""
        return not self.session.unacknowledged and not self._unanswered

    def connect(self) -> tuple[list[Any], list[int]]:
        """Make a channel; return the message to the worker."""
        requests, replies, events = self._net.pipe(), self._net.pipe(), self._net.pipe()
        self._ends = requests[1], replies[0], events[0]
        self._channels += 1
        self._replies, self._events = FrameReader(1 << 30), FrameReader(1 << 30)
        self._out = bytearray(self.session.hello(self.name, self.version) + REGISTER + self.session.unanswered())
        return ["channel", self.id, self.name, self.name == 0], [requests[0], replies[1], events[1]]

    def disconnect(self) -> None:
        """Drop the channel with everything in it."""
        assert self._ends is not None
        if self.alive:
            while self._read_events():
                pass
        for descriptor in self._ends:
            self._net.close(descriptor)
        self._ends = None
        self._out.clear()

    def die(self) -> None:
        """Kill the application; the worker may still read what is in its pipe."""
        self.alive = False
        if self._ends is not None:
            self.disconnect()

    def end(self) -> Pipe | None:
        """End the application in order; return the pipe with its complete farewell, if it could send one."""
        said = None
        if self._ends is not None and self.version >= SAYS_GOODBYE and not self.session.unacknowledged:
            self._out += self.session.goodbye()
            with suppress(OSError):
                del self._out[: self._net.write(self._ends[0], self._out)]
            said = None if self._out else self._net.behind(self._ends[0])
        self.die()
        return said

    def turn(self) -> None:
        """Write something, or read something."""
        assert self._ends is not None
        choice = self._random.random()
        try:
            if self._out and choice < 0.6:
                size = self._random.choice([len(self._out), self._random.randint(1, len(self._out))])
                del self._out[: self._net.write(self._ends[0], self._out[:size])]
            elif choice < 0.8:
                self._read_events()
            else:
                self._read_replies()
        except OSError:
            self.disconnect()

    def read_rest(self) -> None:
        """Read all events that have arrived."""
        while self.connected and self._read_events():
            pass

    def _read_events(self) -> bool:
        assert self._ends is not None
        data = self._net.read(self._ends[2])
        if not data:
            return False
        reported = False
        for number, kind, payload in self._events.feed(data):
            reported = reported or kind == REPORT
            if not self.session.is_new(number, report=kind == REPORT):
                continue
            if kind == MESSAGE:
                self.messages.append(decode_value(payload))
            elif kind == REPORT:
                self.reports.setdefault(number, payload)
                self.session.logged(number)
            else:
                assert kind == LOG
        if reported:
            self._out += self.session.seen()
        return True

    def _read_replies(self) -> None:
        assert self._ends is not None
        data = self._net.read(self._ends[1])
        if data == b"":
            self.disconnect()
        for reply in self._replies.feed(data or b""):
            if reply[0] == NOT_ANSWERED:
                raise AssertionError(f"a channel was refused: {error_of(reply[1][0][2])}")
            self.session.receive(reply)
        self._look_at_answers()

    # ------------------------------------------------------------------ requests

    def issue(self) -> None:
        """Make a random request."""
        kinds = [self._init, self._step, self._step, self._step, self._step, self._delete, self._mock, self._get]
        if not self.instances or self._random.random() < 0.05:
            cls = self._random.choice(SPECIFICATIONS)
            self.instances.append(Reference((self.id.hex()[:8], len(self.instances)), cls))
        self._random.choice(kinds)(self._random.choice(self.instances))

    def _init(self, one: Reference) -> None:
        self._send(ops.INIT, (one.specification.name, one.key, None, "start"), one)

    def _step(self, one: Reference) -> None:
        self._count += 1
        target = f"c{self.name}s{self._count}"
        poison = self._random.random() < 0.01
        if poison:
            self.poison.add(self.session.last + 1)
        self._send(ops.TRANSITION, (one.key, "go", target), one, target=target, poison=poison)

    def _delete(self, one: Reference) -> None:
        if self._random.random() < 0.3:
            self._send(ops.DELETE, (one.key,), one)

    def _mock(self, one: Reference) -> None:
        if self._random.random() < 0.3 and one.specification is not Timed:
            self._send(ops.MOCK, (one.specification.name, one.key, None, "start"), one)

    def _get(self, one: Reference) -> None:
        self._send(ops.GET, (one.key, 10**6), one)

    def _send(
        self, kind: RequestKind, arguments: tuple[Any, ...], one: Reference, *, target: str = "", poison: bool = False
    ) -> None:
        posted = kind.posts and not poison and self._random.random() < 0.5
        sent = Sent(kind, 1, arguments, waits=not posted)
        data = self.session.add(sent)
        channel = self._channels if self.connected else self._channels + 1
        operation = Operation(kind, target, self._clock(), channel, poison, sent)
        self._unanswered.append((operation, one))
        one.unanswered.append(operation)
        if self.connected:
            self.session.written = sent.number
            self._out += data

    def _look_at_answers(self) -> None:
        while self._unanswered and self._unanswered[0][0].number <= self.session.acknowledged:
            operation, one = self._unanswered.popleft()
            message = one.answered(operation, self._channels, self.session.last)
            if message is not None:
                self.sent.append(message)
            if shown(operation.sent.answer) == NOT_KEPT:
                assert operation.issued <= self._disk.full_at, f"request {operation.number} was refused for nothing"
                self.refused += 1
                if operation.posted:
                    self._refused_posts.add(operation.number)
        assert self.session.failures.keys() == self._refused_posts, (
            f"observations were not applied: {self.session.failures}, and not kept: {self._refused_posts}"
        )
