"""A simulated application: it drives the real client session, and knows what every answer must be."""

from __future__ import annotations

from random import Random
from typing import Any

from spex_shards.domain.transition import INITIALISATION
from spex_shards.messages.specifications import describe
from spex_shards.runtime.protocol import codec
from spex_shards.runtime.protocol.records import decode_value, error_of
from spex_shards.runtime.protocol.requests import NOT_ANSWERED, NOWAIT, Kind
from spex_shards.runtime.protocol.sent import Sent
from spex_shards.runtime.protocol.session import ClientSession, frame
from spex_shards.runtime.protocol.wire import FrameReader
from spex_shards.runtime.worker.peers import LOG, MESSAGE, REPORT

from .pipes import Net
from .specs import SPECIFICATIONS, Noisy, Timed

REGISTER = b"".join(
    frame((0, 0, Kind.REGISTER, 0, stored.plain(), shipped)) for stored, shipped in map(describe, SPECIFICATIONS)
)
NO_ANSWER = object()
MISSING = "instance_identifier_not_found"
USED = "instance_identifier_already_in_use"


class SimInstance:
    """An instance of one client, as it must be when everything that was issued is applied."""

    def __init__(self, identifier: Any, specification: Any) -> None:
        self.identifier = identifier
        self.key = codec.canonical(identifier)
        self.specification = specification
        self.exists = False
        self.history: list[tuple[str, str]] = []
        self.steps: list[tuple[bool, list[tuple[str, str]]]] = [(False, [])]
        """Whether it exists, and its history, after each change that was issued, poison left out."""
        self.acknowledged = 0

    def change(self, *, exists: bool, history: list[tuple[str, str]]) -> None:
        """A change was issued."""
        self.exists, self.history = exists, history
        self.steps.append((exists, list(history)))


class SimClient:
    """One application process and its channel to the shard."""

    def __init__(self, net: Net, random: Random, name: int, reports: dict[int, Any]) -> None:
        self._net = net
        self._random = random
        self.name = name
        self.id = random.randbytes(16)
        self.session = ClientSession()
        self.alive = True
        self.instances: list[SimInstance] = []
        self.poison: set[int] = set()
        self.expected: dict[int, Any] = {}
        self._sent: dict[int, Sent] = {}
        self.changes: list[tuple[int, SimInstance, int]] = []
        self.messages: list[str] = []
        self.sent: list[str] = []
        self.reports = reports
        self._count = 0
        self._out = bytearray()
        self._ends: tuple[int, int, int] | None = None

    # ------------------------------------------------------------------ the channel

    @property
    def connected(self) -> bool:
        """Whether it has a channel."""
        return self._ends is not None

    @property
    def idle(self) -> bool:
        """Whether everything is answered and looked at."""
        return not self.session.unacknowledged and not self.expected

    def connect(self) -> tuple[list[Any], list[int]]:
        """Make a channel; return what the worker is told."""
        requests, replies, events = self._net.pipe(), self._net.pipe(), self._net.pipe()
        self._ends = requests[1], replies[0], events[0]
        self._replies, self._events = FrameReader(1 << 30), FrameReader(1 << 30)
        self._out = bytearray(self.session.hello(self.name) + REGISTER + self.session.unanswered())
        return ["channel", self.id, self.name, self.name == 0], [requests[0], replies[1], events[1]]

    def disconnect(self) -> None:
        """Let go of the channel, with what was left in it."""
        assert self._ends is not None
        if self.alive:
            while self._read_events():
                pass
        for descriptor in self._ends:
            self._net.close(descriptor)
        self._ends = None
        self._out.clear()

    def die(self) -> None:
        """The application is killed; what is in its pipe may still be read."""
        self.alive = False
        if self._ends is not None:
            self.disconnect()

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
        """Ask for something at random."""
        kinds = [self._init, self._step, self._step, self._step, self._step, self._delete, self._mock, self._get]
        if not self.instances or self._random.random() < 0.05:
            cls = self._random.choice(SPECIFICATIONS)
            self.instances.append(SimInstance((self.id.hex()[:8], len(self.instances)), cls))
        self._random.choice(kinds)(self._random.choice(self.instances))

    def _init(self, one: SimInstance) -> None:
        used = one.exists
        if not used:
            one.change(exists=True, history=[(INITIALISATION, "start")])
        arguments = (one.specification.name, one.key, None, "start")
        self._send(Kind.INIT, arguments, one, USED if used and one.specification is not Noisy else None)

    def _step(self, one: SimInstance) -> None:
        self._count += 1
        target = f"c{self.name}s{self._count}"
        number = self.session.last + 1
        if not one.exists:
            self._send(Kind.TRANSITION, (one.key, "go", target), one, MISSING)
            return
        if self._random.random() < 0.01:
            self.poison.add(number)
            self._send(Kind.TRANSITION, (one.key, "go", target), one, "poison_request", may_nowait=False)
            return
        one.change(exists=True, history=[*one.history, ("go", target)])
        if one.specification is Noisy:
            self.sent.append(target)
        self._send(Kind.TRANSITION, (one.key, "go", target), one, None)

    def _delete(self, one: SimInstance) -> None:
        if self._random.random() < 0.3:
            one.change(exists=False, history=[])
            self._send(Kind.DELETE, (one.key,), one, None, may_nowait=False)

    def _mock(self, one: SimInstance) -> None:
        if self._random.random() < 0.3 and one.specification is not Timed:
            one.change(exists=True, history=[])
            self._send(Kind.MOCK, (one.specification.name, one.key, None, "start"), one, None, may_nowait=False)

    def _get(self, one: SimInstance) -> None:
        # A question that is sent again after a crash may see what was asked for behind it.
        self._send(Kind.GET, (one.key, 10**6), one, (one, len(one.steps) - 1), may_nowait=False)

    def _send(
        self, kind: Kind, arguments: tuple[Any, ...], one: SimInstance, expected: Any, *, may_nowait: bool = True
    ) -> None:
        nowait = may_nowait and self._random.random() < 0.5
        code = kind | NOWAIT if nowait else kind
        sent = Sent(code, 1, arguments, waits=not nowait)
        data, number = self.session.add(sent), sent.number
        self._sent[number] = sent
        self.expected[number] = NO_ANSWER if nowait else expected
        if one.steps:
            self.changes.append((number, one, len(one.steps) - 1))
        if self.connected:
            self.session.written = number
            self._out += data

    def _look_at_answers(self) -> None:
        done = self.session.acknowledged
        for number in [number for number in self.expected if number <= done]:
            expected = self.expected.pop(number)
            entry = self._sent.pop(number).answer
            if type(expected) is tuple:
                one, step = expected
                possible = [history if exists else MISSING for exists, history in one.steps[step:]]
                assert shown(entry) in possible, f"question {number} was answered {shown(entry)}, not one of {possible}"
            elif expected is not NO_ANSWER:
                assert shown(entry) == expected, f"request {number} was answered {shown(entry)}, not {expected}"
        assert not self.session.failures, f"an observation was not applied: {self.session.failures}"
        while self.changes and self.changes[0][0] <= done:
            _, one, step = self.changes.pop(0)
            one.acknowledged = max(one.acknowledged, step)


def shown(entry: Any) -> Any:
    """Return an answer as a reference says it: None, the reason of an error, or a history."""
    if entry is None:
        return None
    _, ok, value, _ = entry
    if not ok:
        return error_of(value).reason
    return value if value is None else [(action, state) for _, action, state in value[2][4]]
