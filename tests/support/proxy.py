"""A proxy between a client and a PostgreSQL server that cuts the connection at a chosen statement."""

from __future__ import annotations

import select
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

WHEN: Final = ("before", "during", "after")
"""Before a statement reaches the server; as soon as it is there; or when its answer has come, which is kept back."""
_SYNC: Final = b"S"
_READY: Final = b"Z"


class Messages:
    """Splits a stream of PostgreSQL's messages.

    Args:
        untyped: Whether the first message has no type, as a client's has.
    """

    def __init__(self, *, untyped: bool) -> None:
        self._untyped = untyped
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return the complete messages: type and all bytes."""
        self._rest += data
        found = []
        while True:
            head = 0 if self._untyped else 1
            if len(self._rest) < head + 4:
                return found
            length = head + struct.unpack_from(">I", self._rest, head)[0]
            if len(self._rest) < length:
                return found
            message, self._rest = self._rest[:length], self._rest[length:]
            found.append((message[:1] if head else b"", message))
            self._untyped = False


class Proxy:
    """Listens on a socket in a folder, and passes connections on to a server's socket.

    Args:
        folder: The folder for its socket.
        server: The server's socket.

    Attributes:
        statements: How many statements clients have sent.
        cuts: How many connections were cut.
    """

    def __init__(self, folder: Path, server: Path) -> None:
        self._server = server
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / ".s.PGSQL.5432"))
        self._listening.listen()
        self._at: int | None = None
        self._when = ""
        self._refuses = False
        self.statements = self.cuts = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def cut(self, at: int, when: str) -> None:
        """Cut the connection that sends the statement with this number, counted from now (0: the next one)."""
        self._when = when
        self._at = self.statements + at

    def refuse(self) -> None:
        """End each new connection at once, until `accept`."""
        self._refuses = True

    def accept(self) -> None:
        """Pass new connections on again."""
        self._refuses = False

    def close(self) -> None:
        """Accept no more connections."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self._refuses:
                client.close()
                continue
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with client, server:
            server.connect(str(self._server))
            sent, answered = Messages(untyped=True), Messages(untyped=False)
            cut = ""
            while True:
                for one in select.select([client, server], [], [])[0]:
                    data = one.recv(1 << 16)
                    if not data:
                        return
                    if one is client:
                        for kind, message in sent.feed(data):
                            cut = self._cut_at(kind) or cut
                            if cut == "before":
                                return
                            server.sendall(message)
                            if cut == "during":
                                return
                    else:
                        for kind, message in answered.feed(data):
                            if cut == "after" and kind == _READY:
                                return
                            if not cut:
                                client.sendall(message)

    def _cut_at(self, kind: bytes) -> str:
        if kind != _SYNC:
            return ""
        number, self.statements = self.statements, self.statements + 1
        if number != self._at:
            return ""
        self._at = None
        self.cuts += 1
        return self._when
