"""Threads that wait for one another on a channel: they look for a stuck thread only where nothing moves on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest

from spex_shards.runtime.client import channel as channels
from spex_shards.runtime.client.channel import Channel
from spex_shards.runtime.client.followers import Followers
from spex_shards.runtime.client.pipes import Pipes
from spex_shards.runtime.protocol.operations import STATS
from spex_shards.runtime.protocol.sent import Sent
from spex_shards.runtime.protocol.wire import pipe
from spex_shards.runtime.system.stream import Descriptor
from spex_shards.runtime.system.turns import Turn


class NoClient:
    """A client that nobody listens to."""

    def __init__(self) -> None:
        self.notices: list[bytes] = []

    def want(self, shard: int) -> None: ...
    def blocked(self, shard: int) -> None: ...
    def changed(self, shard: int) -> None: ...
    def say(self, text: str, event: str, **fields: Any) -> None: ...
    def log(self, shard: int, pid: int | None, records: Sequence[Any]) -> None: ...
    def greeting(self) -> bytes:
        return b""


def question() -> Sent:
    """Return a request."""
    return Sent(STATS, 1, (), waits=True)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Turn]:
    """Return a list that gets each turn that is asked whether its holder is stuck; none is."""
    found: list[Turn] = []

    def is_stuck(turn: Turn) -> bool:
        found.append(turn)
        return False

    monkeypatch.setattr(Turn, "is_stuck", is_stuck)
    return found


@pytest.mark.parametrize("moves", [True, False])
def test_a_sender_looks_for_a_stuck_holder_only_if_nobody_has_sent_anything_meanwhile(
    monkeypatch: pytest.MonkeyPatch, asked: list[Turn], moves: bool
) -> None:
    """To look at the stacks of 64 threads takes a millisecond, and all of them would do it."""
    channel = Channel(0, NoClient(), 8192, 1 << 20, 0.0)
    line = channel.lines.current
    assert line.turn.take()
    waits: list[float] = []

    def wait(turn: Turn, seconds: float) -> bool:
        waits.append(seconds)
        if moves:
            line.session.add(question())  # as the holder, or another after it
        if len(waits) == 3:
            turn.give()
        return False

    monkeypatch.setattr(Turn, "wait", wait)

    channel.start(STATS, ())

    assert len(waits) == 3
    assert asked == ([] if moves else [line.turn, line.turn])


@pytest.mark.parametrize("moves", [True, False])
def test_a_follower_looks_for_a_stuck_leader_only_if_no_answer_has_come_meanwhile(
    monkeypatch: pytest.MonkeyPatch, asked: list[Turn], moves: bool
) -> None:
    """A leader that hands answers out is alive."""
    channel = Channel(0, NoClient(), 8192, 1 << 20, 0.0)
    (theirs, requests), (replies, other) = pipe(), pipe()
    line = channel.lines.current
    line.pipes = Pipes(Descriptor(requests), Descriptor(replies))
    assert line.reading.take()

    class Gate:
        def acquire(self, timeout: float) -> bool:
            if moves:
                line.session.acknowledged += 1
            return False

    monkeypatch.setattr(Followers, "join", lambda followers, sent: Gate())

    pause = channel._follow(line, question(), None, channels._FIRST_LOOK)
    line.pipes.close()
    os.close(theirs)
    os.close(other)

    assert pause == 2 * channels._FIRST_LOOK
    assert asked == ([] if moves else [line.reading])
