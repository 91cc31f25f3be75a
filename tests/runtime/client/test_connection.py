"""The connection to a supervisor: when it is tried again, and when waiting callers get an error."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spex_shards.runtime.client import connection as module
from spex_shards.runtime.client.connection import Connection, Standing
from spex_shards.runtime.protocol.wire import socket_address
from spex_shards.runtime.system.wakeup import Wakeup


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Return the path of a socket that listens but never answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        with socket_address(tmp_path / "socket") as address:
            listener.bind(address)
        listener.listen(8)
        yield tmp_path / "socket"


@pytest.fixture
def connection(path: Path) -> Iterator[Connection]:
    """Return a connection of a process that owns no supervisor."""
    made = Connection(path, b"x" * 16, select.poll(), lambda _: None, None, -1)
    made.connect()
    yield made
    made.close()


def test_a_supervisor_that_goes_away_is_looked_for_at_once(connection: Connection) -> None:
    """It may already have a successor."""
    connection.attached()
    assert connection.standing is Standing.ATTACHED
    connection.lose()
    assert connection.standing is Standing.LOST
    assert connection.is_due
    assert connection.try_again() is None
    assert (connection.standing, connection.is_due) == (Standing.ASKING, False)


def test_a_supervisor_that_refuses_is_asked_again_at_leisure(connection: Connection) -> None:
    """It would refuse again at once."""
    assert "speaks protocol versions 7 to 8" in str(connection.refused(7, 8))
    connection.lose()
    assert not connection.is_due
    assert connection.next_look is not None
    assert connection.next_look > time.monotonic() + 0.2


def test_where_there_is_no_supervisor_who_waits_is_told_once(
    connection: Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error comes after a while; the attempts continue."""
    path.unlink()
    connection.lose()
    assert connection.try_again() is None
    monkeypatch.setattr(module, "CONNECT_WITHIN", -1.0)
    connection.lose()
    assert "no process serves" in str(connection.try_again())
    assert connection.try_again() is None
    assert connection.next_look is not None


def test_what_has_ended_is_not_tried_again(connection: Connection) -> None:
    """This happens when the directory's number of shards has changed."""
    connection.end()
    connection.lose()
    assert (connection.standing, connection.next_look) == (Standing.ENDED, None)


def test_a_wakeup_that_is_closed_while_it_is_used_is_left_alone() -> None:
    """A signal handler may close the manager between the look at the descriptor and its use: found by injection."""
    closed_meanwhile = iter([7, -1])

    class Interrupted(Wakeup):
        @property
        def descriptor(self) -> int:
            return next(closed_meanwhile)

        @descriptor.setter
        def descriptor(self, number: int) -> None:
            pass

    Interrupted.__new__(Interrupted).wake()
    assert next(closed_meanwhile, None) is None


def test_a_wakeup_ends_a_wait_and_does_nothing_once_it_is_closed() -> None:
    """Waking again and again is like waking once."""
    wakeup, poll = Wakeup(), select.poll()
    poll.register(wakeup.descriptor, select.POLLIN)
    assert poll.poll(0) == []
    wakeup.wake()
    wakeup.wake()
    assert poll.poll(0) == [(wakeup.descriptor, select.POLLIN)]
    wakeup.clear()
    assert poll.poll(0) == []
    wakeup.close()
    wakeup.close()
    wakeup.wake()
    assert wakeup.descriptor == -1
