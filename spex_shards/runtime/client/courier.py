"""The one daemon thread of a manager's process that is on no call's path and runs nothing of the application's.

It holds the connection to the supervisor, opens channels when they are wanted, hears of deaths, takes what shards send
unasked (messages, log records), and, for an owner, waits for the supervisor's own death and starts a successor.

# Guarantees:
#
# * It waits for nothing but its descriptors: no lock that a caller may hold, no log handler, no full queue.
# * What callers ask of it goes through deques and a descriptor that wakes it; so it may be asked by a signal handler
#   that interrupts another question of the same thread.
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
from contextlib import suppress
from typing import Any, Final

from ...errors import ShardDown, SpexError
from ..protocol.requests import OLDEST_PROTOCOL, ProtocolError
from ..protocol.wire import receive_message, send_message
from ..system.descriptors import lifted
from ..system.threads import Helper
from ..system.waits import capped, milliseconds
from .attaching import SupervisorWatch, attach_to, no_common_version
from .channel import Channel
from .events import EventPipes, Listener
from .lines import given_up
from .pipes import Pipes
from .questions import Questions

_CONNECT_WITHIN: Final = 10.0
"""Seconds that callers wait for a supervisor to be followed by another; later ones are told that there is none."""
_SOON, _LATER, _REVIVE_AT_MOST = 0.05, 0.5, 5.0
_AGAIN: Final = 0.01
"""Seconds after which a channel is looked at again in which another thread was inside."""
logger = logging.getLogger("spex_shards")


class Courier:
    """Connects the channels of one process with the supervisor of a data directory.

    Args:
        path: The supervisor's socket.
        client_id: 16 random bytes.
        channels: The channels, by shard.
        listener: Takes events, in order per shard.
        revive: For an owner: starts another supervisor and returns its pidfd; None: nobody here does.
        supervisor_pidfd: The supervisor's, for an owner; else -1.

    Attributes:
        watch: For an owner: whether the supervisor gives signs of life.
    """

    def __init__(
        self,
        path: Any,
        client_id: bytes,
        channels: list[Channel],
        listener: Listener,
        revive: Callable[[], int] | None,
        supervisor_pidfd: int,
    ) -> None:
        self._path, self._client_id = path, client_id
        self._channels = channels
        self._listener, self._revive = listener, revive
        self._pidfd, self._dead = supervisor_pidfd, False
        self._connect_at: float | None = None
        self._give_up_at: float | None = None
        self._pause = _SOON
        self._wanted: deque[int] = deque()
        self._asked: set[int] = set()
        self._questions = Questions()
        self._stop = self._given_up = self._oldest = False
        self._socket: socket.socket | None = None
        self._attached = threading.Event()
        self._refusal: ShardDown | None = None
        self.watch = SupervisorWatch()
        self._blocked, self._pumping = deque[int](), set[int]()
        self._pump_at: float | None = None
        self._watched: list[tuple[int, Pipes | None]] = []
        self._wake_fd = lifted(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
        self._poll = select.poll()
        self._poll.register(self._wake_fd, select.POLLIN)
        self._events = EventPipes(self._poll, listener)
        if supervisor_pidfd >= 0:
            self._poll.register(supervisor_pidfd, select.POLLIN)
        self._thread: Helper | None = None

    def start(self, within: float) -> None:
        """Connect, start the thread, and wait, `within` seconds at most, until the supervisor has taken us in.

        Raises:
            ShardDown: There is no supervisor, it does not answer, is another user's, or speaks another protocol.
            RuntimeError: The system gives no thread.
        """
        self._connect()
        thread = Helper(self._run, "spex-shards-courier")
        thread.start()
        self._thread = thread
        if not self._attached.wait(min(within, _CONNECT_WITHIN)):
            self.stop()
            raise ShardDown(f"the supervisor at {self._path} did not answer within {within} s", maybe_executed=False)
        if self._refusal is not None:
            self.stop()
            raise self._refusal

    def want(self, shard: int) -> None:
        """Have a channel opened; never blocks."""
        self._wanted.append(shard)
        self.wake()

    def blocked(self, shard: int) -> None:
        """Have written what a channel could not write at once; never blocks."""
        self._blocked.append(shard)
        self.wake()

    def revive(self, shard: int, timeout: float) -> None:
        """Have a shard that was given up started again; returns when the supervisor has taken the order.

        What it says of that shard from then on is of its next life.

        Raises:
            ShardDown: It did not say anything in time.
        """
        self._ask(["revive", shard], timeout)

    def status(self, timeout: float) -> list[Any]:
        """Return what the supervisor says of its shards.

        Raises:
            ShardDown: It did not say anything in time.
        """
        return list(self._ask(["status"], timeout))

    def _ask(self, words: list[Any], timeout: float) -> Any:
        question = self._questions.ask(words)
        self.wake()
        if not question.answered.wait(capped(timeout)):
            raise ShardDown(f"the supervisor did not answer within {timeout} s", maybe_executed=len(words) > 1)
        return question.answer

    def stop(self) -> None:
        """End the thread, take what has arrived, and close everything. May be called again if it was cut off."""
        self._stop = True
        self.wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.wait()
            self._events.read_all()
        self._let_go()

    def _let_go(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()
        self._events.close()

    def forget(self) -> None:
        """Close this process's descriptors without a word, as a forked child does; nobody may wake it any more."""
        self._let_go()
        descriptor, self._wake_fd = self._wake_fd, -1
        if descriptor >= 0:
            os.close(descriptor)

    def wake(self) -> None:
        """Have it look at everything; never blocks."""
        if self._wake_fd >= 0:
            with suppress(OSError):  # it was closed just now: there is nobody to wake
                os.eventfd_write(self._wake_fd, 1)

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stop:
            ready = self._poll.poll(self._timeout())
            self._unwatch()
            for descriptor, _ in ready:
                if not self._ready(descriptor):
                    break  # the others may be of what is closed by now, and their numbers another's
            self._events.read_again()
            self._connect_again()
            self._look_after_supervisor()
            self._pump()
            self._send_wishes()

    def _timeout(self) -> int:
        times = [at for at in (self._connect_at, self._pump_at, self.watch.next_look) if at is not None]
        return milliseconds(min(times) - time.monotonic() if times else None)

    def _ready(self, descriptor: int) -> bool:
        """Do what a descriptor is ready for; return whether the connection is what it was before."""
        if descriptor == self._wake_fd:
            os.eventfd_read(self._wake_fd)
        elif descriptor in self._events:
            self._events.read(descriptor)
        elif descriptor == self._pidfd:
            self._supervisor_died()
            return False
        elif self._socket is not None and descriptor == self._socket.fileno():
            self._hear()
            return self._socket is not None
        return True

    def _pump(self) -> None:
        # What a caller left to be written must not wait for the next call.
        self._pump_at = None
        while self._blocked:
            self._pumping.add(self._blocked.popleft())
        for shard in list(self._pumping):
            wanted = self._channels[shard].pump()
            if wanted is None:
                self._pump_at = time.monotonic() + _AGAIN
                continue
            if not wanted.descriptors:
                self._pumping.discard(shard)
            for descriptor, events in wanted.descriptors:
                if descriptor >= 0:
                    self._poll.register(descriptor, events)
                    self._watched.append((descriptor, wanted.pipes))

    def _unwatch(self) -> None:
        # The pipes were held on to, so that their numbers are theirs still.
        for descriptor, _ in self._watched:
            self._poll.unregister(descriptor)
        self._watched.clear()

    def _send_wishes(self) -> None:
        connection = self._socket
        if connection is None:
            return
        try:
            if not self._questions.send(connection):
                return
            while self._wanted:
                shard = self._wanted[0]
                # A wish may be older than the channel: whoever asks twice is given two, and the second ends the first.
                if self._channels[shard].lines.wants_pipes and shard not in self._asked:
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
            self.watch.heard()
            try:
                self._take(*received)
            except (LookupError, TypeError, ValueError):  # what it says makes no sense
                self._lost()
                return

    def _take(self, message: list[Any], descriptors: list[int]) -> None:
        if message[0] == "attached":
            self._take_in(*message[1:])
        elif message[0] == "refused":
            self._refused(*message[1:])
        elif message[0] == "channel" and len(descriptors) == 3:
            _, shard, generation, pid = message
            self._asked.discard(shard)
            self._events.add(descriptors[2], shard, pid)
            try:
                self._channels[shard].lines.install(generation, pid, *descriptors[:2])
            except OSError as error:  # no descriptor is left: it is asked for again
                self._listener.say(f"the channel to shard {shard} could not be opened: {error}")
                self._wanted.append(shard)
        elif message[0] == "down":
            _, shard, generation, _, exit_text = message
            self._channels[shard].lines.break_if(generation, exit_text)
        elif message[0] == "failed":
            _, shard, pid, exit_text = message
            self._asked.discard(shard)
            self._channels[shard].lines.fail(given_up(shard, pid, exit_text, self._channels[shard].last_request))
        elif message[0] == "up":
            self._channels[message[1]].lines.revive()
        elif message[0] == "revived":
            self._channels[message[1]].lines.revive()
            self._questions.answer(None)
        elif message[0] == "status":
            self._questions.answer(message[1])

    def _take_in(self, shards: int, _pid: int, version: int = OLDEST_PROTOCOL, limit: int | None = None) -> None:
        """The supervisor has taken this process in."""
        if shards != len(self._channels):
            self._give_up(shards)
        for channel in self._channels:
            channel.lines.agree(version, limit)
        self._refusal = None
        self._attached.set()

    def _refused(self, oldest: int, newest: int) -> None:
        """The supervisor speaks none of the protocol versions that this process does."""
        self._refusal = no_common_version(self._path, oldest, newest)
        self._attached.set()
        for channel in self._channels:
            channel.lines.fail(self._refusal)

    def _give_up(self, shards: int) -> None:
        """Never use shards of another number: identifiers are routed by the number that there was."""
        self._given_up = True
        error = ShardDown(
            f"the data directory was changed from {len(self._channels)} to {shards} shards; make a new manager",
            maybe_executed=True,
        )
        self._lost()
        for channel in self._channels:
            channel.lines.fail(error)

    # ------------------------------------------------------------------ the supervisor

    def _connect(self) -> None:
        self._socket = attach_to(self._path, self._client_id, oldest_only=self._oldest)
        self._poll.register(self._socket, select.POLLIN)
        if self._revive is not None:
            self.watch.start()

    def _look_after_supervisor(self) -> None:
        if self._socket is None or self.watch.next_look is None:
            return
        word = self.watch.look(self._pidfd)
        if word == "ping":
            try:
                self._questions.ping(self._socket)
            except OSError:
                self._lost()
        elif word == "ended":
            seconds = self.watch.hang_timeout
            self._listener.say(f"the supervisor gave no sign of life within hang_timeout={seconds} s, and is replaced")

    def _lost(self) -> None:
        if self._socket is not None:
            self._poll.unregister(self._socket)
            self._socket.close()
            self._socket = None
            if not self._attached.is_set() and not self._oldest and not self._dead:
                self._oldest = True  # a supervisor of before versions were negotiated lets go of who offers two
            else:
                self._oldest = False
        self.watch.stop()
        self._wanted.clear()
        self._asked.clear()
        self._questions.lost()
        for channel in self._channels:
            channel.lines.lose()
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
        if self._refusal is None:
            for channel in self._channels:
                channel.lines.revive()

    def _not_connected(self, error: Exception) -> None:
        text = f"the supervisor died and has no successor: {error}" if self._dead else str(error)
        if self._dead and self._pause == _SOON:
            self._listener.say(text)
        now = time.monotonic()
        if self._give_up_at is not None and now > self._give_up_at:
            self._give_up_at = None
            for channel in self._channels:
                channel.lines.fail(ShardDown(text, maybe_executed=True))
        if self._dead:
            self._pause = min(2 * self._pause, _REVIVE_AT_MOST)  # a process is started each time
        elif self._give_up_at is None:
            self._pause = _LATER
        self._connect_at = now + self._pause
