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
from ..protocol.control import TO_SUPERVISOR, Open
from ..protocol.requests import ProtocolError
from ..protocol.session import frame
from ..protocol.wire import MAX_MESSAGE, FrameReader, receive_message, send_message
from ..system.threads import Helper
from . import handshake
from .address import Address
from .tcp import set_up

_HELLO_WITHIN: Final = 5.0
_START_WITHIN: Final = 30.0
_MOST_UNPROVED: Final = 256
"""The most connections in the middle of the handshake; the process's descriptors are the application's as well."""
_CHUNK: Final = 65536
_FULL: Final = 0.01
"""Seconds before another attempt to send to a supervisor whose socket is full."""
_TURNS: Final = 4
"""So many turns of its loop does asyncio need at most to set up an encrypted connection, or to close an aborted one."""
logger = logging.getLogger("spex_shards")
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
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
        self._sessions: dict[bytes, _Session] = {}
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
        for session in list(self._sessions.values()):
            session.forget()
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
        for session in list(self._sessions.values()):
            session.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}  # also asyncio's own, in the middle of a TLS handshake
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in list(self._writers):
            _abort(writer)
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
            _abort(writer)
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
            _abort(writer)
        else:
            if isinstance(said, _Session):
                self.keep(said.serve())
        finally:
            self._unproved -= 1

    async def _greeted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Session | None:
        """Shake hands with a client; return its session if this is its control connection."""
        challenge = handshake.challenge()
        writer.write(frame(handshake.plain(challenge)))
        header = await reader.readexactly(4)
        size = int.from_bytes(header, "big")
        if size > handshake.LONGEST:
            raise handshake.Refusal("a malformed hello")
        [given] = FrameReader(handshake.LONGEST).feed(header + await reader.readexactly(size))
        hello = handshake.checked_hello(self._token, challenge, given)
        if hello.purpose != handshake.CONTROL:
            session = self._sessions.get(hello.ticket)
            if session is None or session.shard != hello.shard or hello.purpose in session.streams:
                raise handshake.Refusal("its ticket is not known here")
            session.streams[hello.purpose] = reader, writer
            writer.write(frame(handshake.plain(handshake.welcome(self._token, challenge, hello))))
            return None
        ticket = secrets.token_bytes(16)
        session = _Session(self, hello.shard, reader, writer, reach(self._supervisor))
        self._sessions[ticket] = session
        session.ended = lambda: self._sessions.pop(ticket, None)
        writer.write(frame(handshake.plain(handshake.welcome(self._token, challenge, hello, ticket))))
        return session

    @property
    def encrypts(self) -> bool:
        """Whether connections are encrypted, so that their bytes must pass through the gate."""
        return self._tls is not None


class _Session:
    """A client's control connection for one shard, with the streams of its channel until that is open.

    Args:
        gate: The gate.
        shard: The shard.
        reader, writer: The control connection.
        supervisor: The connection to the supervisor.
    """

    def __init__(
        self,
        gate: Gate,
        shard: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        supervisor: socket.socket,
    ) -> None:
        self._gate, self.shard = gate, shard
        self._reader, self._writer = reader, writer
        self._supervisor = supervisor
        self.streams: dict[str, _Streams] = {}
        self.ended: Any = lambda: None

    async def serve(self) -> None:
        """Pass messages on in both directions until one side is gone."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._supervisor, self._from_supervisor)
        frames = FrameReader(MAX_MESSAGE)
        try:
            while data := await self._reader.read(_CHUNK):
                for plain in frames.feed(data):
                    await self._to_supervisor(plain)
        except (OSError, EOFError, ProtocolError):
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Close both connections, and the streams that no worker has taken over. It may be called again."""
        if self._supervisor.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._supervisor)
            self._supervisor.close()
        for _, writer in self.streams.values():
            _abort(writer)
        self.streams.clear()
        self._writer.close()
        self.ended()

    def forget(self) -> None:
        """In a forked child: close the connection to the supervisor; those of asyncio are the gate's to let go of."""
        self._supervisor.close()

    async def _to_supervisor(self, plain: Any) -> None:
        if type(plain) is not list or not plain or not TO_SUPERVISOR.knows(plain):
            raise ProtocolError("a malformed message")
        descriptors: tuple[int, ...] = ()
        if isinstance(TO_SUPERVISOR.read(plain), Open):
            if len(self.streams) != len(handshake.STREAMS):
                raise ProtocolError("a channel without its streams")
            descriptors = tuple(await self._ends())
        try:
            while not send_message(self._supervisor, plain, descriptors):
                await asyncio.sleep(_FULL)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    async def _ends(self) -> list[int]:
        """Return the worker's ends of the channel, which are the gate's to close."""
        ends: list[int] = []
        try:
            # A stream stays in `streams`, where it is closed with the session, until its end is made.
            for purpose in handshake.STREAMS:
                stream = self.streams[purpose]
                if self._gate.encrypts:
                    await self._relayed(stream, ends)
                else:
                    ends.append(_taken_over(stream[1]))
                self.streams.pop(purpose, None)  # the session may have been closed meanwhile
        except BaseException:
            for end in ends:
                os.close(end)
            raise
        return ends

    async def _relayed(self, stream: _Streams, ends: list[int]) -> None:
        """Pass a stream's bytes on to the worker, whose end is added to `ends`."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        ends.append(theirs.detach())
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            raise
        self._gate.know(writer)
        self._gate.keep(_relay(stream, (reader, writer)))

    def _from_supervisor(self) -> None:
        try:
            while (received := receive_message(self._supervisor)) is not None:
                plain, descriptors = received
                for descriptor in descriptors:
                    os.close(descriptor)
                self._writer.write(frame(plain))
        except (OSError, EOFError, ProtocolError):
            self.close()


def _after_fork_in_child() -> None:
    for gate in list(_gates):
        gate.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)


async def _turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close a connection at once."""
    with suppress(AttributeError):  # from Python 3.11.2, for a TLS connection that was closed twice
        writer.transport.abort()


def _taken_over(writer: asyncio.StreamWriter) -> int:
    """Return a connection's descriptor, which asyncio does not use any more."""
    descriptor = os.dup(writer.get_extra_info("socket").fileno())
    _abort(writer)  # closes asyncio's own copy; the connection lives on in the duplicate
    return descriptor


async def _relay(one: _Streams, other: _Streams) -> None:
    """Pass bytes on between two connections in both directions until either ends; close both then."""

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()

    ways = [asyncio.ensure_future(pass_on(one[0], other[1])), asyncio.ensure_future(pass_on(other[0], one[1]))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for _, writer in (one, other):
            writer.close()


def refused_address(address: Address, token: bytes, tls: ssl.SSLContext | None) -> str | None:
    """Return why a gate must not listen at an address, or None.

    Whoever reaches a gate can change what is stored. So one that other machines can reach needs a token, or TLS with
    client certificates.
    """
    if token or address.is_local or (tls is not None and tls.verify_mode == ssl.CERT_REQUIRED):
        return None
    return f"a gate at {address} can be reached from other machines: give a token file, or TLS with client certificates"
