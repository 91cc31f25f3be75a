"""The socket that clients attach to, and the channels that they get.

A client sends ``attach`` with its id, then ``open`` for each shard that it needs. It gets three pipe ends per shard,
and the worker gets the other three. The supervisor closes its own copies as soon as they are sent, so that when either
side dies, the other reads an end of file. A gate, which lets clients of other machines in, brings the worker's three
ends of each channel itself.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ...errors import DataDirError
from ..protocol.control import TO_CLIENT, TO_SUPERVISOR, TO_WORKER, Attach, Ends, Message, Open, Serve
from ..protocol.requests import OLDEST_PROTOCOL, PROTOCOL_VERSION, ProtocolError
from ..protocol.wire import peer, pipe, receive_message, send_message, socket_address

ENDS: Final = 3
"""The number of streams of a channel, and so of its ends on one side."""


@dataclass(slots=True, eq=False)
class Guest:
    """A client's connection.

    Attributes:
        wanted: The shards that it still wants channels to.
        opened: When it last got a channel to each shard.
        brought: The worker's ends of a channel that it has made itself, by shard.
    """

    connection: socket.socket
    pid: int
    client_id: bytes = b""
    wanted: set[int] = field(default_factory=set)
    opened: dict[int, float] = field(default_factory=dict)
    brought: dict[int, list[int]] = field(default_factory=dict)

    def tell(self, message: Message, descriptors: tuple[int, ...] = ()) -> bool:
        """Send a message; return False when the client is gone or its socket is full."""
        try:
            return send_message(self.connection, TO_CLIENT.plain(message), descriptors)
        except OSError:
            return False

    def bring(self, shard: int, descriptors: list[int]) -> None:
        """Take the worker's ends of a channel from the client, in place of those that it has brought before."""
        self.drop(shard)
        self.brought[shard] = descriptors

    def drop(self, shard: int) -> None:
        """Close the ends that the client has brought for a channel to a shard."""
        for descriptor in self.brought.pop(shard, ()):
            os.close(descriptor)


class Door:
    """The listening socket, and the clients that have connected to it.

    Args:
        path: The path of the socket.

    Attributes:
        clients: Descriptor → client.
        full: Whether the last client could not connect because this process has no descriptor left.

    Raises:
        DataDirError: The socket cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.clients: dict[int, Guest] = {}
        self.full = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            path.unlink(missing_ok=True)  # this process holds the lock, so an existing socket is stale
            with socket_address(path) as address:
                self._listener.bind(address)
            path.chmod(0o600)
            self._inode = path.lstat().st_ino
            self._listener.listen(256)
            self._listener.setblocking(False)
        except OSError as error:
            raise DataDirError(f"the socket for clients cannot be made: {path}: {error}", path=str(path)) from error

    def fileno(self) -> int:
        """Return the listening descriptor."""
        return self._listener.fileno()

    def let_in(self) -> Guest | None:
        """Accept a client of this user; return None if there is none, or refuse one of another user and return None."""
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            self.full = error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
            return None
        pid, uid = peer(connection)
        if uid != os.geteuid():
            connection.close()
            return None
        guest = self.clients[connection.fileno()] = Guest(connection, pid)
        return guest

    def listen_to(self, client: Guest) -> Message | None:
        """Return the client's next message, or None if it has not arrived yet.

        Raises:
            EOFError: The client is gone, or its message is malformed.
        """
        try:
            received = receive_message(client.connection)
            if received is None:
                return None
            plain, descriptors = received
            try:
                message: Message = TO_SUPERVISOR.read(plain)
                if isinstance(message, Open) and len(descriptors) == ENDS:
                    client.bring(message.shard, descriptors[:])
                    descriptors.clear()
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
        except ProtocolError as error:
            raise EOFError from error
        return message

    def tell_all(self, message: Message) -> None:
        """Send a message to every client; disconnect those that are gone or whose socket is full."""
        for client in list(self.clients.values()):
            if not client.tell(message):
                self.show_out(client)

    def show_out(self, client: Guest) -> None:
        """Close a client's connection."""
        self.clients.pop(client.connection.fileno(), None)
        client.connection.close()
        for shard in list(client.brought):
            client.drop(shard)

    def close(self) -> None:
        """Close the listening socket and all connections, and remove the socket's file."""
        for client in list(self.clients.values()):
            self.show_out(client)
        with suppress(OSError):
            if self._path.lstat().st_ino == self._inode:  # else another owner's, in a directory that was made anew
                self._path.unlink()
        self._listener.close()


class NoCommonVersion(Exception):
    """A client and this supervisor have no protocol version in common."""


def agree(offer: Attach) -> int:
    """Return the newest protocol version that both sides speak.

    Raises:
        NoCommonVersion: There is none.
        EOFError: The client's id does not have 16 bytes.
    """
    if len(offer.client_id) != 16:
        raise EOFError
    version = min(offer.newest, PROTOCOL_VERSION)
    # A client that does not name its oldest version speaks only one.
    if version < max(offer.newest if offer.oldest is None else offer.oldest, OLDEST_PROTOCOL):
        raise NoCommonVersion
    return version


def connect(client: Guest, worker: socket.socket, shard: int, generation: int, pid: int, *, owner: bool) -> bool:
    """Create a channel between a client and a worker; return False if the worker's control socket is full.

    If the client has brought the worker's ends itself, those are used.

    Raises:
        EOFError: The client is gone or its socket is full.
        OSError: The system gives no pipes, or the worker is gone.
    """
    made: list[int] = []
    brought = shard in client.brought
    try:
        for _ in range(0 if brought else ENDS):
            made += pipe()
        theirs = client.brought[shard] if brought else [made[0], made[3], made[5]]
        hers = TO_WORKER.plain(Serve(client.client_id, client.pid, owner))
        if not send_message(worker, hers, tuple(theirs)):
            return False
        client.drop(shard)
        if not client.tell(Ends(shard, generation, pid), () if brought else (made[1], made[2], made[4])):
            raise EOFError
        return True
    finally:
        for descriptor in made:
            os.close(descriptor)
