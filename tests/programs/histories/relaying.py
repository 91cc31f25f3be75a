"""The network between the clients and a member: passes bytes on over TCP, until it is told to freeze or to cut.

``python -m tests.programs.histories.relaying PORT`` listens at a free port, prints it, and passes connections on to
PORT of this machine. It reads orders from its standard input: ``freeze`` (nothing passes, and nobody is told),
``thaw``, and ``cut`` (all connections are reset). It answers each with the number of connections that it has cut.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
import sys
from contextlib import suppress

from tests.support.places import ROOT

_CHUNK = 1 << 16


class Relay:
    """A relay in another process.

    Args:
        port: Where it leads.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
        )  # fmt: skip
        self.port = self._answer()

    def order(self, word: str) -> int:
        """Give an order; return how many connections have been cut."""
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._answer()

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


class _Passing:
    """The connections that a relay passes on."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._cuts = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass a connection's bytes on in both directions."""
        await self._thawed.wait()
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.close()
            return
        self._open |= {writer, back}
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        self._open -= {writer, back}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._thawed.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    def obey(self, word: str) -> int:
        """Carry out an order; return how many connections have been cut."""
        if word == "freeze":
            self._thawed.clear()
        elif word == "thaw":
            self._thawed.set()
        else:
            for writer in self._open:
                self._cuts += 1
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET,
                    socket.SO_LINGER,
                    struct.pack("ii", 1, 0),  # so that it is a reset
                )
                writer.transport.abort()
            self._open.clear()
        return self._cuts


async def main(port: int) -> None:
    """Pass connections on, until there are no more orders."""
    passing = _Passing(port)
    server = await asyncio.start_server(passing.take, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(passing.obey(line.strip()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
