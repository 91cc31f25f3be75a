"""The introducer, in front of a gate that says exactly what a test wants."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from spex_shards.runtime.client import ClientOptions
from spex_shards.runtime.client.core import Client
from spex_shards.runtime.client.mailbox import Mailbox
from spex_shards.runtime.cluster import handshake
from spex_shards.runtime.cluster.address import Address
from spex_shards.runtime.cluster.connecting import Access
from spex_shards.runtime.cluster.introducer import Patience, by_directory
from spex_shards.runtime.protocol import control as say
from spex_shards.runtime.protocol.session import frame
from spex_shards.runtime.protocol.wire import FrameReader, receive_frame
from tests.support.processes import wait_until

pytestmark = pytest.mark.process
ROW = [0, 7, "READY", 0, None]


class ScriptedGate:
    """Lets everybody in, and answers control messages as it is told to; also the directory that says where it is.

    Attributes:
        heard: How often it has heard each kind of message.
        to_open: What it answers to a wish for a channel; None: nothing.
        row: The row of its shard.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._address = Address("127.0.0.1", self._listener.getsockname()[1])
        self._connections: list[socket.socket] = []
        self._controls: list[socket.socket] = []
        self.heard: Counter[str] = Counter()
        self.to_open: say.Message | None = None
        self.row = ROW
        threading.Thread(target=self._accept, daemon=True).start()

    def find(self, _shard: int) -> Address | None:
        """Return where it listens."""
        return self._address

    def say(self, message: say.Message) -> None:
        """Say something on the newest control connection."""
        self._controls[-1].sendall(frame(say.TO_CLIENT.plain(message)))

    def close(self) -> None:
        """Go away, and close all connections."""
        for one in (self._listener, *self._connections):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, EOFError):
            challenge = handshake.challenge()
            connection.sendall(frame(handshake.plain(challenge)))
            hello = handshake.checked_hello(b"", challenge, receive_frame(connection, handshake.LONGEST))
            ticket = b"t" * 16 if hello.purpose == handshake.CONTROL else b""
            connection.sendall(frame(handshake.plain(handshake.welcome(b"", challenge, hello, ticket))))
            if hello.purpose == handshake.CONTROL:
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        self._controls.append(connection)
        reader = FrameReader(1 << 16)
        while data := connection.recv(1 << 16):
            for kind, *_ in reader.feed(data):
                if kind == "attach":
                    self.say(say.Attached(1, 1, 2))
                elif kind == "open" and self.to_open is not None:
                    self.say(self.to_open)
                elif kind == "status":
                    self.say(say.Status([self.row]))
                self.heard[kind] += 1


@pytest.fixture
def gate() -> Iterator[ScriptedGate]:
    """Return a gate."""
    one = ScriptedGate()
    yield one
    one.close()


@pytest.fixture
def client(gate: ScriptedGate) -> Iterator[Callable[[Patience], Client]]:
    """Return a function that starts a client of the gate."""
    made: list[Client] = []

    def start(patience: Patience) -> Client:
        options = ClientOptions(1, 5.0, 100, 1 << 20, 0.0)
        one = Client(by_directory(gate, Access(b"", None, 2.0), patience), options, Mailbox(None), None)
        made.append(one)
        one.start()
        return one

    yield start
    for one in made:
        one.close(0.1)


def test_a_shard_that_was_given_up_is_connected_with_again_when_it_comes_back(
    gate: ScriptedGate, client: Callable[[Patience], Client]
) -> None:
    """The supervisor has forgotten the wish for a channel, and the gate has given the streams away."""
    gate.to_open = say.Failed(0, 7, "signal 9")
    lines = client(Patience(ping=0.5)).channels[0].lines
    wait_until(lambda: lines.failure is not None, "the shard is given up")
    before = gate.heard["open"]
    gate.to_open = None
    gate.say(say.Up(0))
    wait_until(lambda: gate.heard["open"] > before, "a channel is asked for again")
    assert lines.failure is None


def test_callers_are_told_of_a_machine_that_dies_after_the_time_for_a_takeover_has_passed(
    gate: ScriptedGate, client: Callable[[Patience], Client]
) -> None:
    """While the shard boots, and its supervisor answers, they wait; when that one is gone, they have waited enough."""
    lines = client(Patience(ping=1.0, takeover=0.1)).channels[0].lines
    wait_until(lambda: gate.heard["status"] > 1, "the supervisor has given signs of life for longer than that")
    assert lines.failure is None
    gate.close()
    wait_until(lambda: lines.failure is not None, "callers are told")
    assert "could not be reached for 0.1 s" in str(lines.failure)


@pytest.mark.parametrize("row", [None, [], [0, 7, "ASLEEP", 0, None], [0, "7", "READY", 0, None]])
def test_a_supervisor_that_says_what_cannot_be_is_left(
    row: object, gate: ScriptedGate, client: Callable[[Patience], Client]
) -> None:
    """And connected with anew: the introducer's thread goes on."""
    gate.row = row  # type: ignore[assignment]  # that is the point
    client(Patience(ping=1.0))
    wait_until(lambda: gate.heard["attach"] > 1, "it is connected with again")
