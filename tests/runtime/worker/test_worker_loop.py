"""The worker's loop, run turn by turn over a store in memory: reports, failing commits, damaged rows."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.engine import Engine, EngineOptions, ModelSource
from spex_shards.engine.service import SpexService
from spex_shards.messages import operations as ops
from spex_shards.messages.specifications import describe_for_shipping
from spex_shards.runtime.protocol import records
from spex_shards.runtime.protocol.answers import NOT_ANSWERED, Event
from spex_shards.runtime.protocol.codec import canonical
from spex_shards.runtime.protocol.operations import Operation
from spex_shards.runtime.protocol.requests import BYE, DECLARE
from spex_shards.runtime.protocol.sent import Sent
from spex_shards.runtime.protocol.session import ClientSession, frame
from spex_shards.runtime.protocol.wire import FrameReader, pipe
from spex_shards.runtime.service import Deferred
from spex_shards.runtime.shard import Shard as RunningShard
from spex_shards.runtime.store import Batch, MemoryStore
from spex_shards.runtime.system.stream import Descriptor
from spex_shards.runtime.worker import loop, outbox
from spex_shards.runtime.worker.control import SocketControl
from spex_shards.runtime.worker.logs import LogCapture
from spex_shards.runtime.worker.outbox import AT_ONCE
from spex_shards.runtime.worker.sessions import EXPIRES_AFTER, PORTION
from spex_shards.runtime.worker.surroundings import Surroundings
from tests.support.asking import ask
from tests.support.processes import wait_until

LIMIT = 1 << 28


class Impatient(spex.Specification):
    """Its instances time out at once."""

    name = "tests.Impatient"
    transitions = [("a", "go", "b")]
    transition_timeout = 0.000_001


class Patient(spex.Specification):
    """Its instances never time out."""

    name = "tests.Patient"
    transitions = [("a", "go", "b")]


class FailingStore(MemoryStore):
    """A store that refuses every batch while `failing`."""

    failing = False

    def apply(self, changes: Any) -> None:
        """Apply, or fail."""
        if self.failing:
            raise spex.StoreError("the disk is full")
        super().apply(changes)


class Shard:
    """A worker over a store; `turn` is one turn of its loop."""

    def __init__(self, store: FailingStore) -> None:
        self.store = store
        self.time_ns = time.time_ns
        logger = logging.getLogger("spex_shards")
        logger.handlers, logger.propagate = [], False
        self._start()

    def _start(self) -> None:
        self.capture = LogCapture(logging.WARNING)
        logging.getLogger("spex_shards").handlers[:] = [self.capture]
        engine = Engine(Batch(self.store), ModelSource(learning_mode=True), EngineOptions(), time.time_ns() // 1000)
        engine.batch.commit()
        self.engine = engine
        self.supervisor, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control = control
        self.worker = loop.Worker(
            RunningShard(self.store, engine.batch, SpexService(engine)),
            SocketControl(control),
            loop.WorkerOptions(0, 1 << 20, logging.WARNING, surroundings=Surroundings(time_ns=lambda: self.time_ns())),
            self.capture,
        )

    def turn(self, rounds: int = 3) -> None:
        """Handle what is ready."""
        for _ in range(rounds):
            self.worker.turn(0)  # it does not wait for what is not there yet

    def retry_now(self) -> None:
        """Let the time pass after which a failed commit is tried again."""
        self.worker._not_before = self.worker._next_due = 0

    def age(self, seconds: float) -> None:
        """Let the shard become older at once, so that a sweep is due."""
        self.worker.sessions._age_before += int(seconds * 1_000_000)
        self.worker.sessions.next_sweep = 0

    def restart(self) -> None:
        """Die, and be replaced by a successor over the same store."""
        self.close()
        self._start()

    def close(self) -> None:
        """Die: close every descriptor."""
        for peer in self.worker.clients.all():
            peer.close()
        self.worker._epoll.close()
        self.supervisor.close()
        self.control.close()


class Client:
    """An application's side of a channel: it reads and confirms only when told to."""

    def __init__(self, shard: Shard, name: bytes = b"c") -> None:
        self.session = ClientSession()
        self._asked: dict[int, Sent] = {}
        self.id = name * 16
        self.shard = shard
        self.events: list[Any] = []
        self.refusal: Any = None
        self._ends: list[int] = []
        self.attach()

    def attach(self) -> None:
        """Open a channel with the hello of a real client."""
        self.leave()
        requests, replies, events = pipe(), pipe(), pipe()
        self._requests, self._replies, self._events = requests[1], replies[0], events[0]
        self._ends = [requests[1], replies[0], events[0]]
        self.shard.worker.clients.attach(
            self.id, os.getpid(), True, [Descriptor(e) for e in (requests[0], replies[1], events[1])]
        )
        self._reply_reader, self._event_reader = FrameReader(LIMIT), FrameReader(LIMIT)
        notices = [
            frame((0, 0, DECLARE.code, 0, stored.plain(), shipped))
            for stored, shipped in map(describe_for_shipping, (Impatient, Patient))
        ]
        try:
            os.write(self._requests, b"".join([self.session.hello(1), *notices, self.session.unanswered()]))
        except BrokenPipeError:
            pass  # it was refused already

    def send(self, operation: Operation, *arguments: Any) -> int:
        """Send a request; return its number."""
        sent = ask(self.session, operation, 1, arguments, waits=True)
        number, data = sent.number, sent.data
        self._asked[number] = sent
        self.session.written = number
        os.write(self._requests, data)
        return number

    def init(self, cls: type[spex.Specification], identifier: Any) -> int:
        """Send the request that creates an instance."""
        return self.send(ops.INIT, cls.name, canonical(identifier), None, None)

    def take_replies(self) -> None:
        """Read the replies that have arrived."""
        for reply in self._reply_reader.feed(Descriptor(self._replies).read() or b""):
            if reply[0] == NOT_ANSWERED:
                self.refusal = reply[1][0][2]
            else:
                self.session.receive(reply)

    def answer(self, number: int) -> Any:
        """Let the shard work; return [ok, value] of a request's answer, or None for success without a value."""
        self.shard.turn()
        self.take_replies()
        assert self.session.acknowledged >= number, "it is not answered"
        entry = self._asked.pop(number).answer
        return None if entry is None else list(entry[1:3])

    def take_reports(self, *, confirm: bool = True) -> list[Any]:
        """Read the events that have arrived as the courier does; return the texts of the new ones."""
        texts = []
        for number, _, record in self._event_reader.feed(Descriptor(self._events).read() or b""):
            if self.session.is_new(number, report=True):
                self.session.logged(number)
                texts.append(record[2])
        if confirm:
            os.write(self._requests, self.session.seen())
        return texts

    def leave(self) -> None:
        """Close the channel."""
        for descriptor in self._ends:
            os.close(descriptor)
        self._ends = []


@pytest.fixture
def shard() -> Iterator[Shard]:
    """Return a worker over a store that accepts everything."""
    logger = logging.getLogger("spex_shards")
    before = logger.handlers[:], logger.propagate
    made = Shard(FailingStore())
    yield made
    made.close()
    logger.handlers[:], logger.propagate = before


@pytest.fixture
def connect(shard: Shard) -> Iterator[Callable[..., Client]]:
    """Return a function that attaches a client."""
    made: list[Client] = []

    def attach(name: bytes = b"c") -> Client:
        made.append(Client(shard, name))
        return made[-1]

    yield attach
    for client in made:
        client.leave()


def waiting(shard: Shard) -> int:
    """Return how many reports are in the store."""
    return len(shard.store.tables["outbox"])


def standing(shard: Shard) -> str:
    """Return what decides whether records are captured and work is due, for the message of a wait that was in vain."""
    worker, log = shard.worker, logging.getLogger("spex_shards")
    return (
        f"rows {waiting(shard)}, captured {len(worker._capture.outside)}, timers {worker._service.next_due()}, "
        f"due {worker._next_due}, not before {worker._not_before}, now {time.time_ns() // 1000}, {time.monotonic()}, "
        f"tables { {name: len(rows) for name, rows in shard.store.tables.items()} }, complaint {worker._complaint!r}, "
        f"log: {log.disabled, log.level, log.handlers, log.filters, log.isEnabledFor(logging.WARNING), shard.capture}, "
        f"full {worker.outbox.full}, threads {[thread.name for thread in threading.enumerate()]}"
    )


def with_reports(shard: Shard, client: Client, count: int) -> None:
    """Let `count` timeouts be reported that no client has received; no client is attached afterwards."""
    numbers = [client.init(Impatient, number) for number in range(count)]
    assert client.answer(numbers[-1]) is None
    client.leave()
    wait_until(lambda: shard.turn() or waiting(shard) >= count, lambda: f"all are reported; {standing(shard)}")


def damage(rows: dict[bytes, bytes], key: bytes) -> None:
    """Change a row so that its checksum does not match."""
    rows[key] = bytes([rows[key][0] ^ 0xFF]) + rows[key][1:]


def test_reports_leave_in_portions_and_are_kept_until_they_are_confirmed(shard: Shard, connect: Any) -> None:
    """A slow client gets one pipe's worth; rows are deleted when it has logged them."""
    with_reports(shard, connect(), 1000)
    client = connect(b"d")
    shard.turn()
    first = client.take_reports(confirm=False)
    shard.turn()
    assert client.take_reports(confirm=False) == []
    assert waiting(shard) == 1000
    assert 0 < len(first) < 1000
    got = first
    while waiting(shard):
        got += client.take_reports()
        shard.turn()
    assert len(got) == len(set(got)) == 1000


@pytest.mark.pure
@pytest.mark.parametrize(("limit", "most"), [("MOST_KEPT", 300), ("MOST_BYTES", 64_000)])
def test_no_timeout_is_taken_that_could_not_be_reported_and_all_are_reported_in_the_end(
    shard: Shard, connect: Any, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    """Their rows stay while the outbox is full; the loop sleeps meanwhile, and serves requests."""
    monkeypatch.setattr(outbox, limit, most)
    first = connect()
    for start in range(0, 2000, 500):  # a pipe takes no more at once
        numbers = [first.init(Impatient, number) for number in range(start, start + 500)]
        assert first.answer(numbers[-1]) is None
    first.leave()
    wait_until(lambda: shard.turn() or shard.worker.outbox.full, "the outbox is full")
    full = waiting(shard)
    shard.turn(10)
    assert 100 < waiting(shard) == full < 300 + 256
    assert shard.worker._timeout() > 1
    client = connect(b"d")
    assert client.answer(client.init(Patient, "x")) is None
    got: list[str] = []
    wait_until(lambda: got.extend(client.take_reports()) or shard.turn() or len(got) >= 2000, "all are reported")
    assert len(got) == len(set(got)) == 2000
    assert waiting(shard) == shard.worker.outbox.size == 0


@pytest.mark.pure
def test_records_that_there_is_no_room_for_are_counted_and_the_count_is_reported(
    shard: Shard, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds if the worker dies meanwhile or a batch fails; one record has the number."""
    monkeypatch.setattr(outbox, "MOST_KEPT", 10)
    monkeypatch.setattr(outbox, "_SPARE", 5)
    for number in range(100):
        logging.getLogger("spex_shards").warning("record %d", number)
        if number == 50:
            shard.turn()
    shard.store.failing = True
    shard.turn()
    shard.store.failing = False
    shard.retry_now()
    shard.turn()
    assert waiting(shard) == 15
    shard.restart()
    client = connect(b"d")
    got: list[str] = []
    wait_until(lambda: shard.turn() or got.extend(client.take_reports()) or len(got) >= 16, "all are reported")
    assert got[:15] == [f"record {number}" for number in range(15)]
    lost = 100 - 15 + 1  # what could not be kept for once was said as well
    assert [int(text.split()[0]) for text in got[15:]] in ([lost], [lost - 1])
    assert "log records of this shard were lost" in got[15]


def test_a_call_is_answered_though_nobody_reads_the_reports(shard: Shard, connect: Any) -> None:
    """Reports fit into their pipe, so that no reply waits for them."""
    with_reports(shard, connect(), 1000)
    client = connect(b"d")
    shard.turn()
    assert client.answer(client.init(Patient, "x")) is None
    [peer] = shard.worker.clients.all()
    assert not peer.events
    assert not peer.stalled
    assert AT_ONCE <= 65536


def test_reports_that_a_client_took_to_its_grave_are_given_to_the_next(shard: Shard, connect: Any) -> None:
    """Reports that were sent but never confirmed are delivered again, from the first one on."""
    with_reports(shard, connect(), 600)
    dying = connect(b"d")
    shard.turn()
    confirmed = dying.take_reports()
    shard.turn()
    dying.leave()
    shard.turn()
    client = connect(b"e")
    got = []
    while waiting(shard):
        shard.turn()
        got += client.take_reports()
        shard.turn()
    assert len({*confirmed, *got}) == len(confirmed) + len(got) == 600


def test_a_client_that_attaches_anew_is_not_told_again_what_it_has_logged(shard: Shard, connect: Any) -> None:
    """The hello says which reports it has seen, also to a successor of the worker."""
    with_reports(shard, connect(), 5)
    client = connect(b"d")
    shard.turn()
    assert len(client.take_reports(confirm=False)) == 5
    shard.restart()
    assert waiting(shard) == 5
    client.attach()
    shard.turn()
    assert waiting(shard) == 0
    assert client.take_reports() == []


def test_reports_pass_by_a_client_that_reads_nothing(shard: Shard, connect: Any) -> None:
    """A stalled client is skipped, and the next one gets them."""
    with_reports(shard, connect(), 3)
    stalled = connect(b"d")
    shard.turn(0)
    shard.worker.clients.all()[0].stalled = True
    shard.turn()
    client = connect(b"e")
    shard.turn()
    assert stalled.take_reports(confirm=False) == []
    assert len(client.take_reports()) == 3


def test_a_report_whose_commit_failed_leaves_once_when_the_store_works_again(shard: Shard, connect: Any) -> None:
    """Nothing of a failed batch is delivered, and its numbers are used by the batch that is committed."""
    client = connect()
    shard.worker._next_due = shard.worker._not_before = time.time_ns()  # timers wait
    assert client.answer(client.init(Impatient, 1)) is None
    shard.store.failing = True
    for _ in range(3):
        shard.retry_now()
        shard.turn()
        assert client.take_reports() == []
    shard.store.failing = False
    shard.retry_now()
    shard.turn()
    complaint, report = sorted(client.take_reports(), key=lambda text: "instance" in text)
    assert "the disk is full" in complaint
    assert "longer than its transition timeout" in report
    assert shard.worker.outbox._next == 3


def test_a_request_answered_from_memory_keeps_its_answer_when_the_batch_fails(shard: Shard, connect: Any) -> None:
    """It was applied before: only requests that the failed batch carried out get its error."""
    client = connect()
    applied = client.init(Patient, 1)
    shard.turn()  # and the reply is lost
    shard.restart()
    client.attach()
    fresh = client.init(Patient, 2)
    shard.store.failing = True
    assert client.answer(fresh) == [False, ["StoreError", "the disk is full", {}, None]]
    assert client._asked[applied].done
    assert client._asked[applied].answer is None


def test_the_answer_to_a_request_of_a_failed_batch_outlives_the_worker(shard: Shard, connect: Any) -> None:
    """The next committed batch moves the client's row past it: sent again, it must not count as applied."""
    client = connect()
    shard.store.failing = True
    failed = client.init(Patient, 1)
    shard.turn()
    shard.store.failing = False
    client.init(Patient, 2)
    shard.retry_now()
    shard.turn()  # and both replies are lost
    shard.restart()
    client.attach()
    assert client.answer(failed) == [False, ["StoreError", "the disk is full", {}, None]]
    client.answer(client.init(Patient, 3))
    assert not shard.store.tables["answers"]


def test_a_damaged_instance_keeps_no_other_timeout_from_being_reported(shard: Shard, connect: Any) -> None:
    """Its own deadline is dropped with one error; each of the others is reported once."""
    client = connect()
    shard.worker._next_due = shard.worker._not_before = time.time_ns()
    numbers = [client.init(Impatient, number) for number in range(20)]
    assert client.answer(numbers[-1]) is None
    damage(shard.store.tables["instances"], sorted(shard.store.tables["deadlines"].items())[7][1])
    shard.engine._instances._cache.clear()
    got: list[str] = []
    for _ in range(5):
        shard.retry_now()
        shard.turn()
        got += client.take_reports()
    assert sum("longer than its transition timeout" in text for text in got) == 19
    assert sum("its timeout is not reported: a damaged row" in text for text in got) == 1
    assert len(got) == 20
    assert not shard.store.tables["deadlines"]


@pytest.mark.pure
def test_what_a_portion_logged_is_dropped_when_it_is_rolled_back(
    shard: Shard, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unreadable store ends the portion; it is done again, and its reports are sent once."""
    client = connect()
    shard.worker._next_due = shard.worker._not_before = time.time_ns()
    assert client.answer(client.init(Impatient, 1)) is None
    timers = shard.engine.timers
    real = timers.next_due

    def unreadable() -> Any:
        raise spex.StoreError("the store could not read")

    with monkeypatch.context() as patch:
        for _ in range(3):
            shard.retry_now()
            patch.setattr(timers, "next_due", unreadable)  # the last thing that a portion asks for
            shard.worker._tick(time.time_ns() // 1000)
            patch.setattr(timers, "next_due", real)
    shard.retry_now()
    shard.turn()
    texts = client.take_reports()
    assert sum("longer than its transition timeout" in text for text in texts) == 1
    assert sum("due work failed, and will be tried again" in text for text in texts) == 1


def test_a_damaged_report_is_left_out_and_said_to_be_lost(shard: Shard, connect: Any) -> None:
    """The worker starts, and the other reports are delivered."""
    with_reports(shard, connect(), 3)
    damage(shard.store.tables["outbox"], min(shard.store.tables["outbox"]))
    shard.restart()
    client = connect(b"d")
    shard.turn()
    texts = client.take_reports()
    assert sum("longer than its transition timeout" in text for text in texts) == 2
    assert sum("a log record that waited is lost" in text for text in texts) == 1
    shard.turn()
    assert waiting(shard) == 0


def test_a_client_whose_row_is_damaged_is_one_that_was_forgotten(shard: Shard, connect: Any) -> None:
    """It is told that its requests may have been applied, and continues from there."""
    client = connect()
    assert client.answer(client.init(Patient, 1)) is None
    client.init(Patient, 2)
    damage(shard.store.tables["clients"], client.id)
    shard.restart()
    client.attach()
    shard.turn()
    client.take_replies()
    assert client.refusal[0] == "ShardDown"
    assert "forgotten" in client.refusal[1]
    client.session.refuse_all(client.refusal)
    client.attach()
    assert client.answer(client.init(Patient, 3)) is None


def test_a_client_whose_damaged_row_was_found_by_a_sweep_is_told(shard: Shard, connect: Any) -> None:
    """Requests that it sends again are refused, even before any answer; after a day the row is deleted."""
    client, other = connect(), connect(b"d")
    number = client.init(Patient, 1)
    shard.turn()
    other.leave()
    client.leave()
    shard.turn()
    damage(shard.store.tables["clients"], client.id)
    shard.restart()
    shard.age(0)
    shard.turn()
    assert shard.worker._not_before < 0
    client.attach()
    shard.turn()
    client.take_replies()
    assert client.refusal[0] == "ShardDown"
    assert "forgotten" in client.refusal[1]
    client.leave()
    for _ in range(2):
        shard.restart()
        shard.age(EXPIRES_AFTER / 1_000_000 + 1)
        shard.turn()
    assert not clients(shard)
    assert client.session.last == number


def test_a_client_that_came_back_after_a_damage_goes_on_anew(shard: Shard, connect: Any) -> None:
    """It is told once, and then its row is like all others."""
    client = connect()
    assert client.answer(client.init(Patient, 1)) is None
    damage(shard.store.tables["clients"], client.id)
    shard.restart()
    client.attach()
    assert client.answer(client.init(Patient, 2)) is None
    shard.restart()
    client.attach()
    assert client.answer(client.init(Patient, 3)) is None


def test_absence_is_counted_by_no_clock_that_can_be_set(shard: Shard, connect: Any) -> None:
    """The wall clock jumps by a month, but a client that was gone for a moment is still known, and gets its answer."""
    client = connect()
    client.init(Patient, 1)
    shard.turn()
    client.leave()
    shard.turn()
    shard.time_ns = lambda: time.time_ns() + 30 * 86400 * 10**9
    shard.age(3600)
    shard.turn()
    shard.restart()
    shard.age(3600)
    shard.turn()
    client.attach()
    shard.turn()
    client.take_replies()
    assert (client.refusal, client.session.acknowledged) == (None, 1)


def test_the_age_of_a_shard_goes_on_in_the_next_process(shard: Shard, connect: Any) -> None:
    """A client is forgotten after a day of the shard's age, however many workers that took."""
    client = connect()
    assert client.answer(client.init(Patient, 1)) is None
    client.leave()
    shard.turn()
    for hour in range(26):
        assert clients(shard) == (hour < 24)
        shard.age(3601)
        shard.turn()
        shard.restart()


def test_what_an_older_version_wrote_expires_a_day_from_now(shard: Shard) -> None:
    """That version stored the time of the wall clock."""
    shard.store.tables["clients"][b"o" * 16] = records.seal([1, 0, time.time_ns() // 1000])
    shard.restart()
    shard.age(0)
    shard.turn()
    assert clients(shard) == 1
    shard.age(EXPIRES_AFTER / 1_000_000 + 1)
    shard.turn()
    assert clients(shard) == 0


def test_a_client_that_had_no_answer_for_a_day_is_told_that_it_may_be_forgotten(shard: Shard, connect: Any) -> None:
    """It cannot know whether its requests were stored; so those that it sends again are not carried out twice."""
    client = connect()
    clock = [0.0]
    client.session = ClientSession(lambda: clock[0])
    client.attach()
    client.init(Patient, 1)
    shard.turn()
    client.leave()
    shard.turn()
    shard.age(EXPIRES_AFTER / 1_000_000 + 1)
    shard.turn()
    assert clients(shard) == 0
    clock[0] += EXPIRES_AFTER / 1_000_000 + 2
    client.session.written = client.session.last
    client.attach()
    shard.turn()
    client.take_replies()
    assert "forgotten" in client.refusal[1]


@pytest.mark.pure
def test_a_store_that_cannot_be_read_refuses_a_client_and_nobody_else(
    shard: Shard, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that attaches gets the reason; the others are served."""
    first = connect()
    assert first.answer(first.init(Patient, 1)) is None

    def unreadable(*_: Any) -> Any:
        raise spex.StoreError("the store could not read")

    with monkeypatch.context() as patch:
        patch.setattr(shard.worker.sessions, "_answers", unreadable)
        second = connect(b"d")
        second.take_replies()
    assert second.refusal[:2] == ["StoreError", "the store could not read"]
    with monkeypatch.context() as patch:
        patch.setattr(shard.engine, "register", unreadable)
        third = connect(b"e")
        shard.turn()
        third.take_replies()
    assert third.refusal[:2] == ["StoreError", "the store could not read"]
    assert first.answer(first.init(Patient, 2)) is None


def test_what_was_declared_in_a_batch_that_was_not_kept_is_known_all_the_same(shard: Shard, connect: Any) -> None:
    """Its client sends a declaration once per channel; it is stored with the next batch that can be stored."""
    shard.store.failing = True
    client = connect()
    assert client.answer(client.init(Patient, 1))[1][0] == "StoreError"
    shard.turn()
    shard.store.failing = False
    assert client.answer(client.init(Patient, 2)) is None
    shard.restart()
    assert shard.engine.knows(Patient.name) is not None


@pytest.mark.pure
def test_a_suspect_of_a_client_that_is_seen_to_be_gone_is_left_alone(
    shard: Shard, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answers before a suspect are written first, which shows that its client has closed its ends."""
    client, other = connect(), connect(b"d")
    execute, watch = shard.worker._dispatcher.execute, shard.worker._watch
    executed = []

    def executing(peer: Any, request: Any, now: int) -> Any:
        executed.append(request.number)
        if peer.client_id == client.id and request.number == 2:
            raise Deferred(b"key", lambda: "")
        return execute(peer, request, now)

    monkeypatch.setattr(shard.worker._dispatcher, "execute", executing)
    monkeypatch.setattr(watch, "suspicious", True)
    monkeypatch.setattr(watch, "is_suspect", lambda who, number: (who, number) == (client.id, 2))
    client.init(Patient, 1)
    client.init(Patient, 2)
    client.leave()
    shard.turn()
    assert executed == [1]
    assert other.answer(other.init(Patient, 3)) is None


def test_a_client_that_was_forgotten_numbers_its_events_on(shard: Shard, connect: Any) -> None:
    """The hello says which events it has seen: a shard without its row does not start at one again."""
    client = connect()
    client.session.is_new(700, report=False)
    client.attach()
    shard.turn()
    [peer] = shard.worker.clients.all()
    assert peer.event(0, b"") == Event(701, 0, b"")


def clients(shard: Shard) -> int:
    """Return how many clients the store has."""
    return len(shard.store.tables["clients"])


def test_a_client_that_says_its_farewell_leaves_no_row(shard: Shard, connect: Any) -> None:
    """Short-lived processes would each leave a row for a day; its answers are deleted too, also at a second try."""
    client = connect()
    assert client.answer(client.init(Patient, 1)) is None
    number = client.init(Patient, 1)
    shard.turn()
    client.take_replies()
    assert client.session.acknowledged == number
    assert (clients(shard), len(shard.store.tables["answers"])) == (1, 1)
    os.write(client._requests, frame((0, 0, BYE.code, 0)))
    shard.store.failing = True
    shard.turn()
    client.leave()
    shard.turn()
    assert clients(shard) == 1
    shard.store.failing = False
    shard.retry_now()
    shard.turn()
    assert (clients(shard), len(shard.store.tables["answers"])) == (0, 0)
    assert not shard.worker.sessions._sessions


def test_a_request_and_a_farewell_in_one_batch_leave_no_row(shard: Shard, connect: Any) -> None:
    """The request is carried out; everything after the farewell is refused."""
    client = connect()
    number = client.init(Patient, 1)
    os.write(client._requests, frame((0, 0, BYE.code, 0)))
    assert client.answer(number) is None
    assert clients(shard) == 0
    client.init(Patient, 2)
    shard.turn()
    client.take_replies()
    assert "before the hello" in client.refusal[1]
    client.leave()
    other = connect(b"d")
    shard.turn()
    assert other.answer(other.send(ops.GET, canonical(1), 1))[0]
    other.leave()
    shard.turn()
    assert clients(shard) == 0


def test_a_sweep_is_done_in_portions_that_requests_come_between(shard: Shard, connect: Any) -> None:
    """Each portion looks at a bounded number of clients; clients gone for a day are forgotten in the end."""
    many = 5 * PORTION + 7
    shard.age(2 * EXPIRES_AFTER / 1_000_000)
    now = shard.worker.sessions.age
    for number in range(many):
        row = records.seal([1, 0, now - EXPIRES_AFTER - 1 if number % 2 else now])
        shard.store.tables["clients"][number.to_bytes(16, "big")] = row
    client = connect(b"\xff")
    sessions = shard.worker.sessions
    before, rounds = clients(shard), 0
    while sessions.next_sweep < time.monotonic() + 60:
        shard.worker._next_due = shard.engine.timers.next_due()
        shard.turn(1)
        left = clients(shard)
        assert before - left <= PORTION
        assert client.answer(client.init(Patient, rounds)) is None
        before, rounds = clients(shard), rounds + 1
        assert rounds < 20
    assert rounds >= 2
    assert clients(shard) == many - many // 2 + 1


def test_a_portion_of_a_sweep_that_was_not_kept_is_done_again(shard: Shard, connect: Any) -> None:
    """The next one begins at the same place."""
    shard.age(2 * EXPIRES_AFTER / 1_000_000)
    for number in range(2 * PORTION):
        row = records.seal([1, 0, shard.worker.sessions.age - EXPIRES_AFTER - 1])
        shard.store.tables["clients"][number.to_bytes(16, "big")] = row
    shard.store.failing = True
    shard.worker._next_due = 0
    shard.turn()
    assert clients(shard) == 2 * PORTION
    shard.store.failing = False
    shard.retry_now()
    wait_until(lambda: shard.turn() or clients(shard) == 0, "all are forgotten")


def test_a_clock_that_is_set_back_by_a_month_neither_ends_the_loop_nor_holds_it_up(shard: Shard, connect: Any) -> None:
    """No wait is longer than a system call accepts; failed work is tried again after a second."""
    client = connect()
    assert client.answer(client.init(Patient, 1)) is None
    shard.store.failing = True
    logging.getLogger("spex_shards").warning("a record")
    shard.turn()
    shard.store.failing = False
    shard.time_ns = lambda: time.time_ns() - 30 * 86400 * 10**9
    for _ in range(2):
        assert 0 <= shard.worker._timeout() <= loop.LONGEST_WAIT

    def kept() -> bool:  # a thread that another test has left may log something as well
        rows = b"".join(shard.store.tables["outbox"].values())
        return b"a record" in rows and b"due work could not be committed" in rows

    wait_until(lambda: shard.turn() or kept(), lambda: f"both records are kept; {standing(shard)}")
    assert client.answer(client.init(Patient, 2)) is None
