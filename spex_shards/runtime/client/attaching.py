"""Connects to a supervisor, and checks whether an owner's supervisor gives signs of life."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path
from typing import Any

from ...errors import DataDirError, ShardDown
from ..protocol.control import TO_SUPERVISOR, Attach
from ..protocol.requests import OLDEST_PROTOCOL, PROTOCOL_VERSION
from ..protocol.wire import check_peer, send_message, socket_address
from ..system.descriptors import lifted_socket, take_standard_ones
from ..system.hang import HangWatch


def attach_to(path: Path, client_id: bytes, *, oldest_only: bool) -> socket.socket:
    """Return a connection to a supervisor, after asking it to attach this process.

    Args:
        path: The supervisor's socket.
        client_id: 16 random bytes.
        oldest_only: Whether to offer the oldest protocol version alone, as before versions were negotiated.

    Raises:
        ShardDown: There is no supervisor, or it is another user's.
    """
    # A supervisor from before versions were negotiated accepts only two fields.
    whole = TO_SUPERVISOR.plain(Attach(PROTOCOL_VERSION, client_id, OLDEST_PROTOCOL))
    return reach(path, ["attach", OLDEST_PROTOCOL, client_id] if oldest_only else whole)


def reach(path: Path, first: list[Any] | None = None) -> socket.socket:
    """Return a non-blocking connection to a supervisor, over which a first message was sent.

    Args:
        path: The supervisor's socket.
        first: The message; None: none.

    Raises:
        ShardDown: There is no supervisor, or it is another user's.
    """
    connection: socket.socket | None = None
    try:
        take_standard_ones()
        connection = lifted_socket(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        connection.setblocking(False)  # connecting to a stopped supervisor must not block
        with socket_address(path) as address:
            connection.connect(address)
        check_peer(connection, path)
        if first is not None:
            send_message(connection, first)
    except (OSError, DataDirError) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
            folder = path.parent.parent
            text = f"no process serves {folder}: start one, for example by spex-shards serve --data-dir {folder}"
        else:
            text = f"there is no supervisor at {path}: {error}"
        raise ShardDown(text, maybe_executed=False) from error
    return connection


def no_common_version(path: Path, oldest: int, newest: int) -> ShardDown:
    """Return the error that the supervisor and this process have no protocol version in common."""
    return ShardDown(
        f"the supervisor at {path} speaks protocol versions {oldest} to {newest}, and this process "
        f"{OLDEST_PROTOCOL} to {PROTOCOL_VERSION}: use the same version of spex_shards on both sides",
        maybe_executed=False,
    )


class SupervisorWatch:
    """Checks whether an owner's supervisor gives signs of life, and kills one that does not.

    Attributes:
        hang_timeout: Seconds without a sign of life; None: never.
    """

    def __init__(self) -> None:
        self.hang_timeout: float | None = None
        self._watch = HangWatch(None)
        self._heard = 0

    @property
    def next_look(self) -> float | None:
        """Monotonic time of the next `look`, or None."""
        return self._watch.next_look

    def start(self) -> None:
        """Start watching: there is a connection to the supervisor."""
        self._watch = HangWatch(self.hang_timeout)
        self._watch.start(time.monotonic())

    def stop(self) -> None:
        """Stop watching: there is no connection."""
        self._watch.stop()

    def heard(self) -> None:
        """Note that the supervisor has sent a message."""
        self._heard += 1
        self._watch.answered(time.monotonic())

    def look(self, pidfd: int) -> str | None:
        """Check for signs of life; return "ping" to ask for one, "ended" after killing the supervisor, or None."""
        word = self._watch.look(time.monotonic(), self._heard, waits_for_disk=False)
        if word != "hung" or pidfd < 0:
            return word
        self._watch.stop()
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has just ended
        return "ended"
