"""The protocol's two state machines, driven against each other without any input or output."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spex_shards.errors import ShardDown
from spex_shards.messages import operations as ops
from spex_shards.runtime.protocol import codec
from spex_shards.runtime.protocol.answers import Answer
from spex_shards.runtime.protocol.requests import ProtocolError, read_request
from spex_shards.runtime.protocol.session import ClientSession, ServerSession
from spex_shards.runtime.protocol.wire import FrameReader
from tests.support.asking import OPERATIONS, ask

STEP = (b"\x01", "go", "on")


def unframed(data: bytes) -> list[Any]:
    """Return the requests of frames."""
    return [read_request(plain, OPERATIONS) for plain in FrameReader(1 << 20).feed(data)]


class Shard:
    """A shard that keeps what a commit keeps, and loses the rest when it dies."""

    def __init__(self) -> None:
        self.row: Any = None
        self.answers: dict[int, Any] = {}
        self.applied: list[int] = []
        self.session = ServerSession(None, {})

    def die(self) -> None:
        """Lose everything in memory."""
        self.session = ServerSession(self.row, dict(self.answers))

    def hello(self, data: bytes) -> None:
        """Open a channel."""
        [hello] = unframed(data)
        version, first, kept, again, events, _ = hello.arguments
        self.session.open(version, first, kept=kept, again=again, events=events)

    def run(self, data: bytes, *, commits: bool = True) -> tuple[int, list[Any]]:
        """Carry out requests in one batch, and return the reply. Every third request has a value as its answer."""
        reply: list[Any] = []
        number = 0
        fresh: list[int] = []
        for request in unframed(data):
            number = request.number
            if self.session.receive(request):
                answer = Answer(number, True, number * 10, []) if number % 3 == 0 else None
                self.session.applied_now(number, answer, remember=True)
                fresh.append(number)
            else:
                answer = self.session.again(number)
            if answer is not None:
                reply.append(answer[:4])
        if commits:
            self.commit(fresh)
        return number, reply

    def commit(self, fresh: list[int]) -> None:
        """Commit the batch."""
        row, answers, dropped = self.session.rows()
        self.row = list(row)
        self.answers.update({number: Answer.stored(codec.unpack(row[:-4])) for number, row in answers.items()})
        for gone in dropped:
            self.answers.pop(gone, None)
        self.session.committed()
        self.applied += fresh


def test_a_request_sent_again_after_its_answer_was_lost_is_answered_from_memory() -> None:
    """The shard commits and dies before the reply is sent; its successor sends the stored answer."""
    client, shard = ClientSession(), Shard()
    shard.hello(client.hello(1))
    sent = [ask(client, ops.TRANSITION, 1, STEP, waits=True) for _ in range(3)]
    data = b"".join(one.data for one in sent)
    shard.run(data)
    shard.die()
    shard.hello(client.hello(1))
    client.receive(shard.run(client.unanswered()))

    assert shard.applied == [1, 2, 3]
    assert [one.answer for one in sent] == [None, None, Answer(3, True, 30, [])]


def test_a_request_whose_batch_was_not_kept_is_carried_out_when_it_is_sent_again() -> None:
    """A request that was lost before its commit had no effect, and is applied now."""
    client, shard = ClientSession(), Shard()
    shard.hello(client.hello(1))
    data = ask(client, ops.TRANSITION, 1, STEP, waits=True).data
    shard.run(data, commits=False)
    shard.die()
    shard.hello(client.hello(1))
    client.receive(shard.run(client.unanswered()))
    assert shard.applied == [1]


def test_a_gap_in_the_numbers_closes_the_channel() -> None:
    """A number that does not follow means a loss: it is never answered as applied."""
    client, shard = ClientSession(), Shard()
    shard.hello(client.hello(1))
    ask(client, ops.TRANSITION, 1, STEP, waits=True)
    second = ask(client, ops.TRANSITION, 1, STEP, waits=True).data
    with pytest.raises(ProtocolError, match="request 2 where 1 should follow"):
        shard.run(second)


def test_a_client_that_was_forgotten_is_told_that_its_requests_may_have_been_applied() -> None:
    """Requests that a client without a row sends again are refused."""
    client, shard = ClientSession(), Shard()
    shard.hello(client.hello(1))
    client.receive(shard.run(ask(client, ops.TRANSITION, 1, STEP, waits=True).data))
    client.written = ask(client, ops.TRANSITION, 1, STEP, waits=True).number
    forgetful = Shard()
    with pytest.raises(ShardDown) as caught:
        forgetful.hello(client.hello(1))
    assert caught.value.maybe_executed


def test_a_client_that_only_read_needs_no_row() -> None:
    """Reads are numbered but never stored; a shard without a row accepts the channel all the same."""
    client, shard = ClientSession(), Shard()
    shard.hello(client.hello(1))
    client.receive(shard.run(ask(client, ops.GET, 1, (b"\x01", 1), waits=True).data, commits=False))
    ask(client, ops.GET, 1, (b"\x01", 1), waits=True)
    fresh = Shard()
    fresh.hello(client.hello(1))
    assert fresh.run(client.unanswered())[0] == 2


def test_answers_are_forgotten_when_the_client_says_that_it_has_them() -> None:
    """Each request says up to which number the client has all answers."""
    client, shard = ClientSession(), Shard()
    shard.hello(client.hello(1))
    for _ in range(3):
        client.receive(shard.run(ask(client, ops.TRANSITION, 1, STEP, waits=True).data))
    assert set(shard.answers) == {3}
    client.receive(shard.run(ask(client, ops.TRANSITION, 1, STEP, waits=True).data))
    assert not shard.answers


def test_a_failure_is_counted_once_though_an_abandoned_session_and_its_successor_both_get_the_answer() -> None:
    """The one before is in the middle of a reply when it is abandoned; the other sends the requests again."""
    client = ClientSession()
    for _ in range(3):
        ask(client, ops.TRANSITION, 1, STEP, waits=False)
    successor = client.successor()
    error = ["StoreError", "full", {}, None]
    client.receive([2, [[1, False, error, []], [2, False, error, []]]])
    assert sorted(client.failures) == [1, 2]
    client.failures.clear()  # as when they are counted
    successor.receive([3, [[number, False, error, []] for number in (1, 2, 3)]])
    assert sorted(successor.failures) == [3]
    assert successor.oldest is None


def test_a_failure_that_nobody_waits_for_is_kept_for_the_next_flush() -> None:
    """A failed request that was sent without waiting is raised later."""
    client = ClientSession()
    ask(client, ops.TRANSITION, 1, STEP, waits=False)
    client.receive([1, [[1, False, ["StoreError", "full", {}, None], []]]])
    assert list(client.failures) == [1]


@pytest.mark.parametrize("reply", [5, [], [1], ["x", []], [7, []], [-1, []], [1, [3]], [1, [[]]]])
def test_a_malformed_reply_is_a_protocol_error(reply: Any) -> None:
    """The client's state does not change."""
    client = ClientSession()
    ask(client, ops.TRANSITION, 1, STEP, waits=True)
    with pytest.raises(ProtocolError):
        client.receive(reply)
    assert client.acknowledged == 0


@given(st.lists(st.sampled_from(["send", "run", "lose", "die before commit", "die after commit"]), max_size=60))
@settings(max_examples=300, deadline=None)
def test_whatever_happens_every_request_is_applied_once_and_in_order(steps: list[str]) -> None:
    """Any sequence of sending, batches, lost replies and deaths ends with each request applied exactly once."""
    client, shard = ClientSession(), Shard()
    shard.hello(client.hello(1))
    wire, asked = b"", []
    for step in steps:
        if step == "send":
            asked.append(ask(client, ops.TRANSITION, 1, STEP, waits=True))
            wire += asked[-1].data
            continue
        if wire:
            reply = shard.run(wire, commits=step != "die before commit")
            wire = b""
            if step == "run":
                client.receive(reply)
        if step != "run":
            shard.die()
            shard.hello(client.hello(1))
            wire = client.unanswered()
    if wire:
        client.receive(shard.run(wire))
    assert shard.applied == list(range(1, client.last + 1))
    for number, sent in enumerate(asked, 1):
        assert sent.done
        assert (sent.answer[2] if sent.answer else None) == (number * 10 if number % 3 == 0 else None)


@given(st.binary(max_size=200), st.integers(1, 50))
@settings(max_examples=200, deadline=None)
def test_garbage_on_a_pipe_is_a_protocol_error_or_waits_for_more(data: bytes, size: int) -> None:
    """The frame reader never crashes, and never holds more than one frame's worth."""
    reader = FrameReader(64)
    try:
        for start in range(0, len(data), size):
            for plain in reader.feed(data[start : start + size]):
                request = read_request(plain, OPERATIONS)
                request.operation.check(request.arguments)
    except ValueError:
        return
    assert len(reader._buffer) <= 64 + 4


@given(
    st.lists(st.recursive(st.none() | st.integers(-5, 1 << 40) | st.text(max_size=9), st.lists, max_leaves=9)),
    st.data(),
)
@settings(max_examples=100, deadline=None)
def test_frames_arrive_as_they_were_sent_however_they_are_cut(values: list[Any], data: st.DataObject) -> None:
    """Any cut of the stream gives the same frames."""
    from spex_shards.runtime.protocol.session import frame

    stream = b"".join(frame(value) for value in values)
    reader, got = FrameReader(1 << 20), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        got += reader.feed(stream[:size])
        stream = stream[size:]
    assert got == values


def test_a_frame_that_is_too_long_is_refused_before_it_has_arrived() -> None:
    """Its four bytes of length are enough."""
    with pytest.raises(ProtocolError, match="a frame of 1000 bytes where at most 64 are allowed"):
        FrameReader(64).feed((1000).to_bytes(4, "big"))
