"""Reports of a shard in a cluster: a client whose connection broke may come back and say that it has logged them."""

from __future__ import annotations

from spex_shards.runtime.protocol.session import ServerSession
from spex_shards.runtime.store import Batch
from spex_shards.runtime.store.memory import MemoryStore
from spex_shards.runtime.system.stream import Descriptor
from spex_shards.runtime.worker.outbox import Outbox
from spex_shards.runtime.worker.peers import Peer
from tests.support.asking import OPERATIONS


class Case:
    """An outbox with a record, a clock, and two clients."""

    def __init__(self, patience: float) -> None:
        self.now = 100.0
        self.outbox = Outbox(Batch(MemoryStore()), lambda: self.now, patience)
        self.outbox.take([["a record"]])
        self.first, self.other = client(b"first"), client(b"other")

    def deliver(self, *peers: Peer) -> Peer | None:
        """Deliver if there is something to do, as the worker's loop does; return who got it."""
        return self.outbox.deliver(peers) if self.outbox.waiting else None


def client(name: bytes) -> Peer:
    """Return a connection of a client that has said hello."""
    peer = Peer(name, 1, False, ServerSession(None, {}), [Descriptor(-1)] * 3, 1 << 20, OPERATIONS)
    peer.session.opened = True
    return peer


def test_on_one_machine_a_client_that_is_gone_is_not_waited_for() -> None:
    """Its connection ends only with its process."""
    case = Case(0.0)
    assert case.deliver(case.first, case.other) is case.first
    case.first.closed = True
    assert case.deliver(case.other) is case.other


def test_a_client_that_comes_back_in_time_confirms_what_it_has_logged() -> None:
    """Nobody else gets it."""
    case = Case(10.0)
    assert case.deliver(case.first, case.other) is case.first
    case.first.closed = True
    assert case.deliver(case.other) is None
    assert case.outbox.next_look == 110.0
    case.outbox.seen(client(b"first"), 1)
    assert not case.outbox.reports
    assert case.outbox.next_look == float("inf")


def test_a_client_that_comes_back_without_it_gets_it_again() -> None:
    """It may have been lost on its way."""
    case = Case(10.0)
    case.deliver(case.first)
    case.first.closed = True
    case.first.session.opened = False  # as its session is while a new connection of the client has not said hello
    assert case.deliver(case.other) is None
    back = client(b"first")
    case.outbox.seen(back, 0)
    back.stalled = True
    assert case.deliver(case.other, back) is None, (
        "it may have read it and not logged it yet: another would log it, too"
    )
    back.stalled = False
    assert case.deliver(case.other, back) is back


def test_a_client_that_came_back_and_is_gone_again_is_not_waited_for_twice() -> None:
    """It has got nothing since; nor is one that says its farewell."""
    for farewell in (False, True):
        case = Case(10.0)
        case.deliver(case.first)
        case.first.closed = True
        case.first.session.opened = False
        back = client(b"first")
        case.outbox.seen(back, 0)
        if farewell:
            case.outbox.left(back)
        else:
            back.closed = True
        assert case.deliver(case.other, back) is case.other


def test_after_a_while_another_client_gets_it() -> None:
    """At once if the first one has said its farewell."""
    case = Case(10.0)
    case.deliver(case.first)
    case.first.closed = True
    assert case.deliver(case.other) is None
    case.now += 10
    assert case.deliver(case.other) is case.other
    case.outbox.left(case.other)
    case.other.closed, case.other.session.opened = True, False
    third = client(b"third")
    assert case.deliver(third) is third
