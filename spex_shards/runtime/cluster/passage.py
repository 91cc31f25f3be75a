"""A client's passage through a gate: its control connection for one shard, and the streams of its channel."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ..protocol.control import TO_SUPERVISOR, Open
from ..protocol.requests import ProtocolError
from ..protocol.session import frame
from ..protocol.wire import MAX_MESSAGE, FrameReader, receive_message, send_message
from . import handshake

if TYPE_CHECKING:
    from .gate import Gate

_CHUNK: Final = 65536
_FULL: Final = 0.01
"""Seconds before another attempt to send to a supervisor whose socket is full."""
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Passage:
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
        self.streams: dict[str, Streams] = {}
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
            abort(writer)
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
            # A stream stays in `streams`, where it is closed with the passage, until its end is made.
            for purpose in handshake.STREAMS:
                stream = self.streams[purpose]
                if self._gate.encrypts:
                    await self._relayed(stream, ends)
                else:
                    ends.append(_taken_over(stream[1]))
                self.streams.pop(purpose, None)  # the passage may have been closed meanwhile
        except BaseException:
            for end in ends:
                os.close(end)
            raise
        return ends

    async def _relayed(self, stream: Streams, ends: list[int]) -> None:
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


def abort(writer: asyncio.StreamWriter) -> None:
    """Close a connection at once."""
    with suppress(AttributeError):  # from Python 3.11.2, for a TLS connection that was closed twice
        writer.transport.abort()


def _taken_over(writer: asyncio.StreamWriter) -> int:
    """Return a connection's descriptor, which asyncio does not use any more."""
    descriptor = os.dup(writer.get_extra_info("socket").fileno())
    abort(writer)  # closes asyncio's own copy; the connection lives on in the duplicate
    return descriptor


async def _relay(one: Streams, other: Streams) -> None:
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
