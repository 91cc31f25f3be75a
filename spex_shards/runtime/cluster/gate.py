"""A gate: lets clients of other machines in over TCP, and gives them channels to the shards of one supervisor.

::

    client ─ control ─▶ gate ─ AF_UNIX ─▶ supervisor      messages, passed on as they are
    client ─ requests, replies, events ─▶ gate            three connections, which name the ticket of the control one
                                          └─ "open" with their descriptors ─▶ supervisor ─▶ worker

Once a channel is open, its bytes go between client and worker without the gate: a connected socket serves a worker as
well as a pipe does. Only with TLS the gate stays in between, because the worker cannot take over a TLS connection.

# Guarantees:
#
# * Nobody gets further than the handshake without a proof of the token. Until then, a connection costs a bounded number
#   of bytes and seconds; without TLS, there is a bounded number of them.
# * The gate runs on a thread of its own, and calls no code of the application.
# * A forked child has none of its connections: the other side sees the end of each when the parent closes it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import ssl
import threading
from collections.abc import Coroutine
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from ...errors import DataDirError, ShardDown, words
from ...log_fields import about
from ..client.attaching import reach
from ..protocol.requests import ProtocolError
from ..protocol.session import frame
from ..protocol.wire import FrameReader
from ..system.threads import Helper
from . import handshake
from .address import Address
from .passage import Passage, abort
from .tcp import set_up

_HELLO_WITHIN: Final = 5.0
_START_WITHIN: Final = 30.0
_MOST_UNPROVED: Final = 256
"""The most connections in the middle of the handshake; the process's descriptors are the application's as well."""
_CHUNK: Final = 65536
_TURNS: Final = 4
"""So many turns of its loop does asyncio need at most to set up an encrypted connection, or to close an aborted one."""
logger = logging.getLogger("spex_shards")
_gates: WeakSet[Gate] = WeakSet()


class Gate:
    """Listens at an address for the clients of one supervisor.

    Args:
        address: Where to listen; port 0: any free port.
        supervisor: The path of the supervisor's socket.
        token: What clients must have.
        tls: How to encrypt; None: not at all.

    Attributes:
        address: Where it listens.

    Raises:
        DataDirError: Nobody can listen at that address.
    """

    def __init__(self, address: Address, supervisor: Path, token: bytes, tls: ssl.SSLContext | None) -> None:
        self._supervisor = supervisor
        self._token = token
        self._tls = tls
        self._passages: dict[bytes, Passage] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: WeakSet[asyncio.StreamWriter] = WeakSet()
        self._unproved = 0
        try:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            self._listener = socket.create_server((address.host, address.port), family=family, backlog=256)
        except OSError as error:
            raise DataDirError(f"the gate cannot listen at {address}: {error}", address=str(address)) from error
        self.address = Address(address.host, self._listener.getsockname()[1])
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self._thread = Helper(self._run, "spex-shards-gate")
        self._ready = threading.Event()
        self._closing = self._inherited = False
        self._failure: Exception | None = None
        _gates.add(self)

    def start(self) -> None:
        """Start to let clients in.

        Raises:
            DataDirError: The system does not let it.
        """
        try:
            self._thread.start()
        except RuntimeError as error:  # the system gives no thread
            self._failure = error
        else:
            if not self._ready.wait(_START_WITHIN):
                self._failure = TimeoutError(f"its thread has not started within {_START_WITHIN:g} s")
        if self._failure is not None:
            text = f"the gate at {self.address} can let nobody in: {self._failure}"
            raise DataDirError(text, address=str(self.address)) from self._failure

    def close(self) -> None:
        """Let nobody in any more, and close all connections but those that a worker has. It may be called again.

        In a forked child it does nothing: the gate is the parent's.
        """
        if self._inherited:
            return
        # The thread sets its loop and then looks at the flag; so one of the two sides sees what the other has set.
        self._closing = True
        if self._thread.is_running:
            loop = self._loop
            with suppress(RuntimeError):  # the loop has just ended
                if loop is not None:
                    loop.call_soon_threadsafe(self._stopped.set)
            self._thread.wait()
        self._listener.close()

    def forget(self) -> None:
        """In a forked child: let go of the parent's descriptors, without touching what its loop watches."""
        self._inherited = True
        self._listener.close()
        for passage in list(self._passages.values()):
            passage.forget()
        with Path(os.devnull).open("rb") as nothing:
            for writer in list(self._writers):
                # Asyncio has the descriptor in several objects, one of which may close it later: so it stays in use.
                with suppress(OSError):
                    os.dup2(nothing.fileno(), writer.get_extra_info("socket").fileno(), inheritable=False)

    # ------------------------------------------------------------------ on the gate's thread

    def _run(self) -> None:
        try:
            # Not the application's kind of loop: how it stops accepting connections must be known (see below).
            self._loop = loop = asyncio.SelectorEventLoop()
            with closing(loop):
                loop.run_until_complete(self._serve())
        except Exception as error:  # no descriptor is left, for example
            if self._ready.is_set():
                logger.error("the gate lets nobody in any more: %s", words(error), extra=about("gate_failed"))
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        if self._closing:
            return
        server = await asyncio.start_server(
            self._accept, sock=self._listener, limit=_CHUNK,
            ssl=self._tls, ssl_handshake_timeout=None if self._tls is None else _HELLO_WITHIN,
        )  # fmt: skip
        self._ready.set()
        await self._stopped.wait()
        # A connection that asyncio has accepted and not set up yet stays open for ever if the server is closed first.
        asyncio.get_running_loop().remove_reader(self._listener)
        await _turns()
        for passage in list(self._passages.values()):
            passage.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}  # also asyncio's own, in the middle of a TLS handshake
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in list(self._writers):
            abort(writer)
        server.close()
        await _turns()

    def know(self, writer: asyncio.StreamWriter) -> None:
        """Have a connection closed at the latest when the gate is."""
        self._writers.add(writer)

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the background until it ends or the gate is closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the gate lost a client: %s", words(error), exc_info=error, extra=about("gate_failed"))

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine: asyncio's own callback of such a task logs a traceback when the closing gate cancels it.
        self.keep(self._come_in(reader, writer))

    async def _come_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.know(writer)
        if self._unproved >= _MOST_UNPROVED:
            abort(writer)
            return
        self._unproved += 1
        try:
            set_up(writer.get_extra_info("socket"))
            async with asyncio.timeout(_HELLO_WITHIN):
                said = await self._greeted(reader, writer)
        except (handshake.Refusal, ProtocolError, ShardDown) as error:
            writer.write(frame(handshake.sorry(str(error))))
            writer.close()
        except (OSError, EOFError, TimeoutError):
            abort(writer)
        else:
            if isinstance(said, Passage):
                self.keep(said.serve())
        finally:
            self._unproved -= 1

    async def _greeted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Passage | None:
        """Shake hands with a client; return its passage if this is its control connection."""
        challenge = handshake.challenge()
        writer.write(frame(handshake.plain(challenge)))
        header = await reader.readexactly(4)
        size = int.from_bytes(header, "big")
        if size > handshake.LONGEST:
            raise handshake.Refusal("a malformed hello")
        [given] = FrameReader(handshake.LONGEST).feed(header + await reader.readexactly(size))
        hello = handshake.checked_hello(self._token, challenge, given)
        if hello.purpose != handshake.CONTROL:
            passage = self._passages.get(hello.ticket)
            if passage is None or passage.shard != hello.shard or hello.purpose in passage.streams:
                raise handshake.Refusal("its ticket is not known here")
            passage.streams[hello.purpose] = reader, writer
            writer.write(frame(handshake.plain(handshake.welcome(self._token, challenge, hello))))
            return None
        ticket = secrets.token_bytes(16)
        passage = Passage(self, hello.shard, reader, writer, reach(self._supervisor))
        self._passages[ticket] = passage
        passage.ended = lambda: self._passages.pop(ticket, None)
        writer.write(frame(handshake.plain(handshake.welcome(self._token, challenge, hello, ticket))))
        return passage

    @property
    def encrypts(self) -> bool:
        """Whether connections are encrypted, so that their bytes must pass through the gate."""
        return self._tls is not None


def _after_fork_in_child() -> None:
    for gate in list(_gates):
        gate.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)


async def _turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def refused_address(address: Address, token: bytes, tls: ssl.SSLContext | None) -> str | None:
    """Return why a gate must not listen at an address, or None.

    Whoever reaches a gate can change what is stored. So one that other machines can reach needs a token, or TLS with
    client certificates.
    """
    if token or address.is_local or (tls is not None and tls.verify_mode == ssl.CERT_REQUIRED):
        return None
    return f"a gate at {address} can be reached from other machines: give a token file, or TLS with client certificates"
