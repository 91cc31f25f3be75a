"""The gate's connections, without a supervisor behind it."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme

import spex_shards as spex
from spex_shards.runtime.cluster import gate, handshake, passage
from spex_shards.runtime.cluster.address import Address
from spex_shards.runtime.cluster.gate import Gate
from spex_shards.runtime.cluster.passage import Passage
from tests.support.processes import wait_until


def test_a_tls_connection_that_was_closed_twice_can_be_aborted() -> None:
    """Asyncio has let go of it then; in Python 3.11.2 that raised AttributeError, and ended the gate's thread."""
    authority = trustme.CA()
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(served)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def main() -> None:
        arrived: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        server = await asyncio.start_server(lambda _, writer: arrived.put_nowait(writer), "127.0.0.1", 0, ssl=served)
        address = server.sockets[0].getsockname()
        _, client = await asyncio.open_connection(*address, ssl=trusting, server_hostname="127.0.0.1")
        writer = await arrived.get()
        writer.close()
        writer.close()
        passage.abort(writer)
        client.close()
        server.close()

    asyncio.run(main())


def has_ipv6() -> bool:
    """Return whether this machine has IPv6, at least for itself."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def opened(**places: Any) -> Gate:
    """Return a gate on this machine that is not started, with no supervisor behind it."""
    return Gate(Address(places.get("host", "127.0.0.1"), 0), Path("/nowhere"), b"", None)


def connected(one: Gate) -> socket.socket:
    """Return a connection to a gate."""
    return socket.create_connection((one.address.host, one.address.port), timeout=20)


def test_a_gate_that_is_closed_while_it_starts_ends() -> None:
    """Its thread may not have a loop yet, as when a signal handler raises in `start`."""
    for _ in range(50):
        one = opened()
        one._thread.start()
        closing = threading.Thread(target=one.close, daemon=True)
        closing.start()
        closing.join(20)
        assert not closing.is_alive()


def test_a_gate_that_cannot_start_says_so() -> None:
    """Clients would otherwise wait for it without a reason."""
    one = opened()
    one._listener.close()
    with pytest.raises(spex.DataDirError, match=r"the gate at 127\.0\.0\.1:\d+ can let nobody in: "):
        one.start()
    one.close()


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_a_gate_listens_at_an_address_of_ipv6() -> None:
    """As the option allows."""
    one = opened(host="::1")
    one.start()
    with connected(one) as client:
        assert client.recv(4)
    one.close()


def test_connections_that_prove_nothing_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than the bound is closed at once; when another has gone, there is room again."""
    monkeypatch.setattr(gate, "_MOST_UNPROVED", 2)
    one = opened()
    one.start()
    first, second = connected(one), connected(one)
    assert first.recv(4)
    assert second.recv(4)
    with connected(one) as third:
        assert third.recv(4) == b""
    first.close()

    def lets_in() -> bool:
        with connected(one) as another:
            return another.recv(4) != b""

    wait_until(lets_in, "there is room again")
    second.close()
    one.close()


def descriptors() -> int:
    """Return how many descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_ends_of_a_channel_that_cannot_all_be_made_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when no descriptor is left: each attempt would otherwise cost some more."""

    async def main() -> None:
        pairs = [socket.socketpair()]
        one = opened()
        way = Passage(one, 0, *await asyncio.open_connection(sock=pairs[0][0]), pairs[0][1])
        for purpose in handshake.STREAMS:
            ours, theirs = socket.socketpair()
            way.streams[purpose] = await asyncio.open_connection(sock=ours)
            pairs.append((ours, theirs))
        before = descriptors()
        made = iter([passage._taken_over])

        def fails(writer: asyncio.StreamWriter) -> int:
            for make in made:
                return make(writer)
            raise OSError(errno.EMFILE, "no descriptor is left")

        monkeypatch.setattr(passage, "_taken_over", fails)
        with pytest.raises(OSError, match="no descriptor"):
            await way._ends()
        await asyncio.sleep(0)
        assert descriptors() < before
        way.close()
        one.close()
        assert way.streams == {}
        for pair in pairs:
            for end in pair:
                end.close()

    asyncio.run(main())


FORKS = """
import os, socket, sys
from pathlib import Path
from spex_shards.runtime.cluster.address import Address
from spex_shards.runtime.cluster.gate import Gate
from spex_shards.runtime.cluster.passage import Passage

gate = Gate(Address("127.0.0.1", 0), Path("/nowhere"), b"", None)
gate.start()
client = socket.create_connection((gate.address.host, gate.address.port), timeout=20)
client.recv(4)
ours, theirs = socket.socketpair()
pid = os.fork()
if not pid:
    gate.close()
    client.close()
    theirs.sendall(b"closed")
    theirs.recv(1)
    os._exit(0)
print(ours.recv(10).decode())
gate.close()
while client.recv(4096):
    pass
print("the client sees the end")
socket.create_server((gate.address.host, gate.address.port)).close()
print("the port is free")
ours.sendall(b"x")
print(os.waitpid(pid, 0)[1])
"""


@pytest.mark.process
def test_a_forked_child_has_nothing_of_the_gate() -> None:
    """It can close it, and while it lives on, the parent's closing is seen by clients, and frees the port."""
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60, check=False)
    expected = "closed\nthe client sees the end\nthe port is free\n0\n"
    assert (done.stdout, done.stderr) == (expected, "")
