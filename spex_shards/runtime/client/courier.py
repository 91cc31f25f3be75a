"""The courier: a client's daemon thread that no call waits for and that runs no code of the application.

It holds the connection to the supervisor, opens channels on request, and learns of shards' deaths. It reads what shards
send unasked (messages, log records). For an owner, it also waits for the supervisor's death and starts a successor.

# Guarantees:
#
# * It waits only for its descriptors: never for a lock that a caller may hold, a log handler or a full queue. Otherwise
#   a single slow log handler could keep all shards of the process from being reconnected.
# * Callers pass their requests to it through deques and a descriptor that wakes it. So a signal handler may call it
#   while it interrupts another such call of the same thread.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, Final

from ...errors import ManagerClosed, ShardDown, ShardFailed
from ..protocol import control as say
from ..protocol.requests import ProtocolError
from ..protocol.wire import receive_message, send_message
from ..shard_info import ShardStatus
from ..system.stream import Descriptor
from ..system.threads import Helper
from ..system.waits import capped, milliseconds
from ..system.wakeup import Wakeup
from .candidacy import Candidacy
from .channel import Channel
from .connection import CONNECT_WITHIN, Connection
from .events import EventPipes, Listener
from .introducer import Introducer, MakeIntroducer
from .lines import given_up
from .ownership import Ownership
from .pump import Pump
from .questions import Questions

_TELL_EVERY: Final = 10.0
"""Seconds between two log records that the channel to one shard could not be opened."""


def by_socket(path: Path, hang_timeout: float | None) -> MakeIntroducer:
    """Return a function that creates a client's courier, for a supervisor at the socket `path`.

    Args:
        path: The socket.
        hang_timeout: Seconds without a sign of life after which the owner replaces the supervisor; None: never.
    """

    def introduce(
        client_id: bytes, channels: Sequence[Channel], listener: Listener, ownership: Ownership | None
    ) -> Introducer:
        if ownership is None:
            return Courier(path, client_id, channels, listener, None, -1)
        if isinstance(ownership, Candidacy):
            courier = Courier(path, client_id, channels, listener, None, -1, ownership)
        else:
            revive = partial(ownership.succeed, listener.say)
            courier = Courier(path, client_id, channels, listener, revive, ownership.pidfd)
        courier.connection.watch.hang_timeout = hang_timeout
        return courier

    return introduce


class Courier:
    """Connects the channels of one process with the supervisor of a data directory.

    It is a loop around four parts: the connection, the questions that callers ask the supervisor, the event pipes, and
    the pump.

    Args:
        path: The supervisor's socket.
        client_id: 16 random bytes.
        channels: The channels, by shard.
        listener: Receives events, in order per shard.
        revive: For an owner: starts another supervisor and returns its pidfd. For other clients: None.
        supervisor: The supervisor's pidfd, for an owner; else -1.
        candidacy: For a candidate: starts a supervisor if no process has one.

    Attributes:
        connection: The connection to the supervisor.
        pump: Writes the requests that callers could not write.
    """

    def __init__(
        self,
        path: Path,
        client_id: bytes,
        channels: Sequence[Channel],
        listener: Listener,
        revive: Callable[[], int] | None,
        supervisor: int,
        candidacy: Candidacy | None = None,
    ) -> None:
        self._path = path
        self._channels = channels
        self._listener = listener
        self._wanted: deque[int] = deque()
        self._asked: set[int] = set()
        self._told_at: dict[int, float] = {}  # when it was said of a shard that its channel could not be opened
        self._wakeup = Wakeup()
        self._poll = select.poll()
        self._poll.register(self._wakeup.descriptor, select.POLLIN)
        self.connection = Connection(path, client_id, self._poll, listener.say, revive, supervisor, candidacy)
        self._questions = Questions()
        self._events = EventPipes(self._poll, listener)
        self.pump = Pump(self._poll, channels)
        self._stopped_shards: list[Any] | None = None
        self._stop = False
        self._thread: Helper | None = None

    def start(self, within: float | None, *, patient: bool = False) -> None:
        """Connect, start the thread, and wait up to `within` seconds until the supervisor has attached this process.

        If `within` is None, it does not wait: the supervisor attaches this process later, or not at all.

        Args:
            within: Seconds, or None.
            patient: Whether to return at once if there is no supervisor: then the thread connects later.

        Raises:
            ShardDown: There is no supervisor, it does not answer, it is another user's, or it has no common protocol
                version.
            RuntimeError: The system gives no thread.
        """
        self._stop = False
        if patient:
            self.connection.begin_later()
        else:
            self.connection.begin(CONNECT_WITHIN if within is None else max(within, CONNECT_WITHIN))
        thread = Helper(self._run, "spex-shards-courier")
        thread.start()
        self._thread = thread
        if patient or within is None:
            return
        if not self.connection.decided.wait(min(within, CONNECT_WITHIN)):
            self.stop()
            raise ShardDown(f"the supervisor at {self._path} did not answer within {within} s", maybe_executed=False)
        refusal = self.connection.refusal
        if refusal is not None:
            self.stop()
            raise refusal

    def want(self, shard: int) -> None:
        """Ask for a channel to be opened; never blocks."""
        self._wanted.append(shard)
        self.wake()

    def blocked(self, shard: int) -> None:
        """Ask for a channel's unwritten requests to be written; never blocks."""
        self.pump.blocked(shard)
        self.wake()

    def revive(self, shard: int, timeout: float) -> None:
        """Ask the supervisor to restart a shard that was given up; return when it has accepted the request.

        Whatever it reports about that shard afterwards is about the new process.

        Raises:
            ShardDown: The supervisor did not answer in time.
        """
        self._ask(say.Revive(shard), timeout)

    def status(self, timeout: float) -> list[Any]:
        """Return the supervisor's status rows, one per shard; after an orderly stop, the rows that it sent last.

        Raises:
            ShardDown: The supervisor did not answer in time.
        """
        stopped = self._stopped_shards
        if stopped is not None and self.connection.socket is None:
            return list(stopped)
        return list(self._ask(say.AskStatus(), timeout))

    def _ask(self, of: say.Revive | say.AskStatus, timeout: float) -> Any:
        question = self._questions.ask(of)
        self.wake()
        if self._stop:  # by a call that this one interrupts, or that interrupts it: nobody would answer
            self._questions.end()
        if not question.answered.wait(capped(timeout)):
            maybe = isinstance(of, say.Revive)
            raise ShardDown(f"the supervisor did not answer within {timeout} s", maybe_executed=maybe)
        if question.ended:
            raise ManagerClosed("the manager was closed before the supervisor had answered")
        return question.answer

    def stop(self) -> None:
        """End the thread, read the events that have arrived, and close everything.

        It may be called again if it was cut off.
        """
        self._stop = True
        self.wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.wait()
            self._events.read_all()
        self._questions.end()
        self._let_go()

    def _let_go(self) -> None:
        self.connection.close()
        self._events.close()

    def forget(self) -> None:
        """In a forked child: close this process's descriptors without telling the supervisor.

        `wake` does nothing afterwards.
        """
        self._let_go()
        self._wakeup.close()

    def wake(self) -> None:
        """Have the loop check everything; never blocks."""
        self._wakeup.wake()

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stop:
            ready = self._poll.poll(self._timeout())
            self.pump.unwatch()
            for descriptor, _ in ready:
                if not self._ready(descriptor):
                    break  # the connection was closed: the other numbers may belong to other files by now
            self._events.read_again()
            if self.connection.is_due and not self._stop:
                self._connect_again()
            if self.connection.look() == "ping":
                self._ask_for_life()
            self.pump.work()
            self._send_wishes()

    def _timeout(self) -> int:
        times = [at for at in (self.connection.next_look, self.pump.next_look) if at is not None]
        return milliseconds(min(times) - monotonic() if times else None)

    def _ready(self, descriptor: int) -> bool:
        """Handle one ready descriptor; return False if the connection was closed."""
        connection = self.connection
        if descriptor == self._wakeup.descriptor:
            self._wakeup.clear()
        elif descriptor in self._events:
            self._events.read(descriptor)
        elif descriptor == connection.supervisor:
            connection.supervisor_died()
            self._lost()
            return False
        elif connection.socket is not None and descriptor == connection.socket.fileno():
            self._hear()
            return connection.socket is not None
        return True

    def _send_wishes(self) -> None:
        connection = self.connection.socket
        if connection is None:
            if self._stopped_shards is not None:  # a question may have been asked just before it stopped
                self._questions.settle(self._stopped_shards)
            return
        try:
            if not self._questions.send(connection):
                return
            while self._wanted:
                shard = self._wanted[0]
                # A request for a channel may be older than the channel that is open now. Asking anyway would do harm:
                # the supervisor would give a second channel, and that ends the first.
                if self._channels[shard].lines.wants_pipes and shard not in self._asked:
                    if not send_message(connection, say.TO_SUPERVISOR.plain(say.Open(shard))):
                        return
                    self._asked.add(shard)
                self._wanted.popleft()
        except OSError:
            self._hear()  # what the supervisor said last, before it went
            if self.connection.socket is not None:
                self._lost()

    def _hear(self) -> None:
        while self.connection.socket is not None:
            try:
                received = receive_message(self.connection.socket)
            except (EOFError, ProtocolError, OSError):
                self._lost()
                return
            if received is None:
                return
            self.connection.watch.heard()
            plain, descriptors = received
            try:
                if say.TO_CLIENT.knows(plain):  # a newer supervisor may send further messages: ignore them
                    self._take(say.TO_CLIENT.read(plain), descriptors)
            except (LookupError, ValueError):  # the message is malformed
                self._lost()
                return
            finally:
                while descriptors:  # those that the message did not use
                    os.close(descriptors.pop())

    def _take(self, message: say.Message, descriptors: list[int]) -> None:
        channels = self._channels
        match message:
            case say.Attached():
                self._take_in(message)
            case say.Refused(oldest, newest):
                self._refused(oldest, newest)
            case say.Ends(shard, generation, pid) if len(descriptors) == 3:
                self._asked.discard(shard)
                self._install(channels[shard], generation, pid, descriptors)
            case say.Down(shard, generation, _, exit_text):
                channels[shard].lines.break_if(generation, exit_text)
            case say.Failed(shard, pid, exit_text):
                self._asked.discard(shard)
                channels[shard].lines.fail(given_up(shard, pid, exit_text, channels[shard].last_request))
            case say.Moved(shard, why):
                self._asked.discard(shard)
                channels[shard].lines.fail(ShardFailed(f"shard {shard} is not run here: {why}", shard=shard))
            case say.Up(shard):
                channels[shard].lines.revive()
            case say.Revived(shard):
                channels[shard].lines.revive()
                self._questions.answer(None)
            case say.Status(rows) if rows and all(row[2] == ShardStatus.STOPPED for row in rows):
                # A supervisor sends this unasked when it stops. It may also be the answer to a question on its way.
                self._stopped_shards = rows
                self._questions.answer(rows)
            case say.Status(rows):
                self._questions.answer(rows)

    def _install(self, channel: Channel, generation: int, pid: int, descriptors: list[int]) -> None:
        self._events.add(Descriptor(descriptors.pop()), channel.shard, pid)
        replies, requests = Descriptor(descriptors.pop()), Descriptor(descriptors.pop())
        try:
            channel.lines.install(generation, pid, requests, replies)
        except OSError as error:  # no descriptor is left: ask for the channel again
            if monotonic() > self._told_at.get(channel.shard, -inf) + _TELL_EVERY:
                text = f"the channel to shard {channel.shard} could not be opened, and is asked for again: {error}"
                self._listener.say(text, "channel_failed", shard=channel.shard)
                self._told_at[channel.shard] = monotonic()
            self._wanted.append(channel.shard)

    def _take_in(self, word: say.Attached) -> None:
        """Handle that the supervisor has attached this process."""
        if word.shards != len(self._channels):
            self._never_again(word.shards)
            return
        self._stopped_shards = None
        was_refused = self.connection.refusal is not None
        for channel in self._channels:
            channel.lines.agree(word.version, word.limit)
            if was_refused:
                channel.lines.revive()
        self.connection.attached()

    def _refused(self, oldest: int, newest: int) -> None:
        error = self.connection.refused(oldest, newest)
        for channel in self._channels:
            channel.lines.fail(error)

    def _never_again(self, shards: int) -> None:
        """Fail all channels for good: the number of shards has changed, and identifiers are routed by the old one."""
        self.connection.end()
        error = ShardDown(
            f"the data directory was changed from {len(self._channels)} to {shards} shards; make a new manager",
            maybe_executed=True,
        )
        self._lost()
        for channel in self._channels:
            channel.lines.fail(error)
        self.connection.decided.set()

    def _lost(self) -> None:
        self.connection.lose()
        self._wanted.clear()
        self._asked.clear()
        self._questions.lost()
        for channel in self._channels:
            channel.lines.lose()

    def _connect_again(self) -> None:
        failure = self.connection.try_again(needed=any(channel.lines.is_awaited for channel in self._channels))
        if failure is not None:
            for channel in self._channels:
                channel.lines.fail(failure)
        elif self.connection.socket is not None and self.connection.refusal is None:
            for channel in self._channels:
                channel.lines.revive()

    def _ask_for_life(self) -> None:
        try:
            if self.connection.socket is not None:
                self._questions.ping(self.connection.socket)
        except OSError:
            self._lost()
