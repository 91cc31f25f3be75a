"""The one daemon thread of a manager's process: whatever is not on a call's path.

It holds the connection to the supervisor, opens channels when they are wanted, hears of deaths, reads what shards
send unasked (messages, log records), and, for an owner, waits for the supervisor's own death and starts a successor.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ..errors import ShardDown, ShardFailed, SpexError
from ..protocol import MAX_REPLY_BYTES, PROTOCOL_VERSION, ProtocolError
from ..wire import FrameReader, read_available, receive_message, send_message, socket_address
from .channel import Channel
from .state import State

_CONNECT_WITHIN: Final = 10.0
"""Seconds that callers wait for a supervisor to be followed by another; later ones are told that there is none."""
_SOON, _LATER, _REVIVE_AT_MOST = 0.05, 0.5, 5.0
logger = logging.getLogger("spex_shards")


class Courier:
    """Connects the channels of one process with the supervisor of a data directory.

    Args:
        path: The supervisor's socket.
        client_id: 16 random bytes.
        channels: The channels, by shard.
        on_events: Called with events of a shard, in order: (shard, pid, events).
        revive: For an owner: starts another supervisor and returns its pidfd; None: nobody here does.
        supervisor_pidfd: The supervisor's, for an owner; else -1.
    """

    def __init__(
        self,
        path: Any,
        client_id: bytes,
        channels: list[Channel],
        on_events: Callable[[int, int, list[Any]], None],
        revive: Callable[[], int] | None,
        supervisor_pidfd: int,
    ) -> None:
        self._path = path
        self._client_id = client_id
        self._channels = channels
        self._on_events = on_events
        self._revive = revive
        self._pidfd = supervisor_pidfd
        self._dead = False
        self._connect_at: float | None = None
        self._give_up_at: float | None = None
        self._pause = _SOON
        self._wanted: deque[int] = deque()
        self._asked: set[int] = set()
        self._revivals: deque[int] = deque()
        self._status: deque[Any] = deque()
        self._status_ready = threading.Event()
        self._ask_status = False
        self._stop = False
        self._given_up = False
        self._socket: socket.socket | None = None
        self._events: dict[int, tuple[int, int, FrameReader]] = {}
        self._blocked: deque[int] = deque()
        self._pumping: set[int] = set()
        self._watched: list[int] = []
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._wake_fd, select.POLLIN)
        if supervisor_pidfd >= 0:
            self._poll.register(supervisor_pidfd, select.POLLIN)
        self._thread: threading.Thread | None = None
        self._status_lock = threading.Lock()
        self._revive_lock = threading.Lock()
        self._revived = threading.Event()

    def start(self) -> None:
        """Connect, and start the thread.

        Raises:
            ShardDown: There is no supervisor.
        """
        self._connect()
        self._thread = threading.Thread(target=self._run, name="spex-shards-courier", daemon=True)
        self._thread.start()

    def want(self, shard: int) -> None:
        """Have a channel opened; never blocks."""
        self._wanted.append(shard)
        self._wake()

    def blocked(self, shard: int) -> None:
        """Have written what a channel could not write at once; never blocks."""
        self._blocked.append(shard)
        if threading.current_thread() is not self._thread:
            self._wake()

    def revive(self, shard: int, timeout: float) -> None:
        """Have a shard that was given up started again; returns when the supervisor has taken the order.

        What it says of that shard from then on is of its next life.

        Raises:
            ShardDown: It did not say anything in time.
        """
        with self._revive_lock:
            self._revived.clear()
            self._revivals.append(shard)
            self._wake()
            if not self._revived.wait(timeout):
                raise ShardDown(f"the supervisor did not answer within {timeout} s", shard=shard, maybe_executed=True)

    def status(self, timeout: float) -> list[Any]:
        """Return what the supervisor says of its shards.

        Raises:
            ShardDown: It did not say anything in time.
        """
        with self._status_lock:
            self._status.clear()
            self._status_ready.clear()
            self._ask_status = True
            self._wake()
            if not self._status_ready.wait(timeout):
                raise ShardDown(f"the supervisor did not answer within {timeout} s", maybe_executed=False)
            return list(self._status[-1])

    def stop(self) -> None:
        """End the thread, take what has arrived, and close everything."""
        self._stop = True
        self._wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
            for descriptor in list(self._events):
                while self._read_events(descriptor):
                    pass  # whoever has an answer has the events that left before it
        self.forget()

    def forget(self) -> None:
        """Close this process's descriptors without a word, as a forked child does."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        for descriptor in self._events:
            os.close(descriptor)
        self._events.clear()
        if self._wake_fd >= 0:
            os.close(self._wake_fd)
            self._wake_fd = -1

    def _wake(self) -> None:
        if self._wake_fd >= 0:
            os.eventfd_write(self._wake_fd, 1)

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stop:
            ready = self._poll.poll(self._timeout())
            self._unwatch()
            for descriptor, _ in ready:
                if not self._ready(descriptor):
                    break  # the others may be of what is closed by now, and their numbers another's
            self._connect_again()
            self._pump()
            self._send_wishes()

    def _timeout(self) -> float | None:
        return None if self._connect_at is None else max(0.0, self._connect_at - time.monotonic()) * 1000

    def _ready(self, descriptor: int) -> bool:
        """Do what a descriptor is ready for; return whether the connection is what it was before."""
        if descriptor == self._wake_fd:
            os.eventfd_read(self._wake_fd)
        elif descriptor in self._events:
            self._read_events(descriptor)
        elif descriptor == self._pidfd:
            self._supervisor_died()
            return False
        elif self._socket is not None and descriptor == self._socket.fileno():
            self._hear()
            return self._socket is not None
        return True

    def _pump(self) -> None:
        # What a caller left to be written must not wait for the next call.
        while self._blocked:
            self._pumping.add(self._blocked.popleft())
        for shard in list(self._pumping):
            wanted = self._channels[shard].pump()
            if not wanted:
                self._pumping.discard(shard)
            for descriptor, events in wanted:
                self._poll.register(descriptor, events)
                self._watched.append(descriptor)

    def _unwatch(self) -> None:
        # Before anything is closed: only this thread closes the ends of a channel that is in use.
        for descriptor in self._watched:
            self._poll.unregister(descriptor)
        self._watched.clear()

    def _send_wishes(self) -> None:
        connection = self._socket
        if connection is None:
            return
        try:
            if self._ask_status:
                self._ask_status = False
                send_message(connection, ["status"])
            while self._revivals:
                send_message(connection, ["revive", self._revivals.popleft()])
            while self._wanted:
                shard = self._wanted[0]
                # A wish may be older than the channel: whoever asks twice is given two, and the second ends the first.
                if self._channels[shard].state is State.OPENING and shard not in self._asked:
                    if not send_message(connection, ["open", shard]):
                        return
                    self._asked.add(shard)
                self._wanted.popleft()
        except OSError:
            self._lost()

    def _hear(self) -> None:
        while self._socket is not None:
            try:
                received = receive_message(self._socket)
            except (EOFError, ProtocolError, OSError):
                self._lost()
                return
            if received is None:
                return
            self._take(*received)

    def _take(self, message: list[Any], descriptors: list[int]) -> None:
        if message[0] == "attached" and message[1] != len(self._channels):
            self._give_up(message[1])
        elif message[0] == "channel" and len(descriptors) == 3:
            _, shard, generation, pid = message
            self._asked.discard(shard)
            self._events[descriptors[2]] = (shard, pid, FrameReader(MAX_REPLY_BYTES))
            self._poll.register(descriptors[2], select.POLLIN)
            self._channels[shard].install(generation, pid, *descriptors[:2])
        elif message[0] == "down":
            _, shard, generation, _, exit_text = message
            self._channels[shard].break_if(generation, exit_text)
        elif message[0] == "failed":
            _, shard, pid, exit_text = message
            self._asked.discard(shard)
            self._channels[shard].fail(_failed(shard, pid, exit_text, self._channels[shard].last_request))
        elif message[0] == "up":
            self._channels[message[1]].revive()
        elif message[0] == "revived":
            self._channels[message[1]].revive()
            self._revived.set()
        elif message[0] == "status":
            self._status.append(message[1])
            self._status_ready.set()

    def _give_up(self, shards: int) -> None:
        """Never use shards of another number: identifiers are routed by the number that there was."""
        self._given_up = True
        error = ShardDown(
            f"the data directory was changed from {len(self._channels)} to {shards} shards; make a new manager",
            maybe_executed=True,
        )
        self._lost()
        for channel in self._channels:
            channel.fail(error)

    def _read_events(self, descriptor: int) -> bool:
        """Read once; return whether there may be more."""
        shard, pid, reader = self._events[descriptor]
        try:
            data = read_available(descriptor)
            if data:
                self._on_events(shard, pid, reader.feed(data))
        except (ProtocolError, OSError):
            data = b""
        if data == b"":
            self._poll.unregister(descriptor)
            os.close(descriptor)
            del self._events[descriptor]
        return bool(data)

    # ------------------------------------------------------------------ the supervisor

    def _connect(self) -> None:
        connection: socket.socket | None = None
        try:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with socket_address(self._path) as address:
                connection.connect(address)
            send_message(connection, ["attach", PROTOCOL_VERSION, self._client_id])
        except OSError as error:
            if connection is not None:
                connection.close()
            raise ShardDown(f"there is no supervisor at {self._path}: {error}", maybe_executed=False) from error
        self._socket = connection
        self._poll.register(connection, select.POLLIN)

    def _lost(self) -> None:
        if self._socket is not None:
            self._poll.unregister(self._socket)
            self._socket.close()
            self._socket = None
        self._wanted.clear()
        self._revivals.clear()
        self._revived.set()  # whoever follows starts all shards
        self._asked.clear()
        for channel in self._channels:
            channel.lose()
        if not self._stop and not self._given_up:
            now = time.monotonic()
            self._connect_at, self._give_up_at, self._pause = now, now + _CONNECT_WITHIN, _SOON

    def _supervisor_died(self) -> None:
        self._poll.unregister(self._pidfd)
        self._dead = True
        self._lost()

    def _connect_again(self) -> None:
        """Connect, when it is time to: to the same supervisor, or to another that follows it at once or much later."""
        if self._connect_at is None or self._stop or time.monotonic() < self._connect_at:
            return
        try:
            if self._dead and self._revive is not None:
                self._pidfd = self._revive()
                self._poll.register(self._pidfd, select.POLLIN)
                self._dead = False
            self._connect()
        except (SpexError, OSError) as error:
            self._not_connected(error)
            return
        self._connect_at = None
        for channel in self._channels:
            channel.revive()

    def _not_connected(self, error: Exception) -> None:
        text = f"the supervisor died and has no successor: {error}" if self._dead else str(error)
        if self._dead and self._pause == _SOON:
            logger.error("%s", text)
        now = time.monotonic()
        if self._give_up_at is not None and now > self._give_up_at:
            self._give_up_at = None
            for channel in self._channels:
                channel.fail(ShardDown(text, maybe_executed=True))
        if self._dead:
            self._pause = min(2 * self._pause, _REVIVE_AT_MOST)  # a process is started each time
        elif self._give_up_at is None:
            self._pause = _LATER
        self._connect_at = now + self._pause


def _failed(shard: int, pid: int | None, exit_text: str | None, last: str) -> ShardFailed:
    return ShardFailed(
        f"shard {shard} died too often and was given up (last process: pid {pid}, {exit_text}; last request: {last}); "
        f"mend the cause, then call revive({shard}) or restart the manager",
        shard=shard,
        pid=pid,
        exit=exit_text,
        last_request=last,
        maybe_executed=False,
    )
