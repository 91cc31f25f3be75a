"""The client: routes identifiers to channels, asks all shards at once, and takes in what shards send unasked."""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from ...errors import CallTimeout, ShardDown, SpexError
from ..protocol import records, routing
from ..protocol.answers import LOG, MESSAGE, REPORT, Answer, Event
from ..protocol.operations import STATS, Operation
from ..protocol.requests import DECLARE
from ..protocol.session import frame
from ..shard_info import ShardInfo, ShardStatus
from ..transport import unapplied
from .announcer import Announcer
from .call_site import emit
from .channel import Channel
from .introducer import MakeIntroducer
from .mailbox import Mailbox
from .ownership import Ownership
from .pipes import close_inherited

logger = logging.getLogger("spex_shards")
_clients: weakref.WeakSet[Client] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """The options of a client.

    Attributes:
        declared: What is declared on every channel from the start: (name, arguments).
        undeclared: Returns what only this process can declare, beside the names that were.
    """

    shards: int
    call_timeout: float
    max_unacknowledged: int
    max_frame_bytes: int
    declared: Sequence[tuple[str, tuple[Any, ...]]] = ()
    undeclared: Callable[[Collection[str]], Iterable[tuple[str, tuple[Any, ...]]]] = lambda _: ()


class Client:
    """One process's access to the shards of a data directory.

    Args:
        introduce: Makes what brings this client to the shards.
        options: The options.
        mailbox: Where messages go.
        ownership: For the process that the supervisor belongs to: starts and ends it.

    A forked child goes on with the same object as a new client: nothing that the parent had on its way is sent twice.
    """

    ships: Final = True

    def __init__(
        self,
        introduce: MakeIntroducer,
        options: ClientOptions,
        mailbox: Mailbox,
        ownership: Ownership | None = None,
    ) -> None:
        self._introduce = introduce
        self._options = options
        self._mailbox = mailbox
        self._table = routing.table(options.shards)
        self.notices: list[bytes] = []
        self._declared: dict[str, bytes] = {}
        self.channels = [
            Channel(index, self, options.max_unacknowledged, options.max_frame_bytes) for index in range(options.shards)
        ]
        self.ownership = ownership
        self._set_up()
        self._must_start = False
        for name, arguments in options.declared:
            self.declare(name, arguments)
        _clients.add(self)

    @property
    def shard_count(self) -> int:
        """How many shards there are."""
        return len(self.channels)

    def check(self) -> None:
        """Do nothing: a forked child goes on as a new client."""

    def _set_up(self) -> None:
        self.client_id = secrets.token_bytes(16)
        self._declaring = threading.RLock()
        self._starting = threading.RLock()
        self._is_starting = False
        self._introducer = self._introduce(self.client_id, self.channels, self, self.ownership)
        self._announcer = Announcer(self._confirm, self._introducer.wake)

    def start(self) -> None:
        """Connect, and open all channels.

        Raises:
            ShardDown: There is no supervisor, it cannot be talked to, or this process can start no thread.
        """
        self._start_threads()
        for channel in self.channels:
            channel.lines.open()

    def _start_threads(self) -> None:
        try:
            self._announcer.start()
            self._mailbox.start()
            self._introducer.start(self._options.call_timeout)
        except BaseException as error:
            self._announcer.close(0)
            if isinstance(error, RuntimeError):  # what the system has no thread for
                text = f"this process cannot start the threads that a manager needs: {error}"
                raise ShardDown(text, maybe_executed=False) from error
            raise

    def close(self, timeout: float) -> list[SpexError]:
        """Flush, let go of the shards, and end the supervisor where it belongs to this process."""
        errors: list[SpexError] = []
        try:
            errors = self.flush(timeout)
        except SpexError as error:
            errors = [error]
        finally:
            self.shut()
            if self.ownership is not None:
                self.ownership.end(timeout)
        # What another thread had sent between the flush and the end of the channels.
        return errors + self.take_failures()

    def shut(self, within: float = 1.0) -> None:
        """Close the channels and the connection; whoever waits is told so. May be called again if it was cut off.

        Args:
            within: Seconds that the application's logging has for what has arrived.
        """
        _clients.discard(self)
        self._introducer.stop()  # and what has arrived is taken
        self._announcer.close(within)
        for channel in self.channels:
            channel.say_goodbye()
            channel.lines.shut()
        if not self._announcer.is_running:  # else it may still want to wake the courier
            self._introducer.forget()

    # ------------------------------------------------------------------ requests

    def declare(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Make something known to all shards, ahead of whatever is sent after this.

        Raises:
            ValueError: It is larger than a frame may be.
        """
        notice = self._notice(name, arguments)
        with self._declaring:
            self._declared[name] = notice
            self.notices.append(notice)
        for channel in self.channels:  # timeouts of a shard that no request goes to may wait for it
            self.blocked(channel.shard)

    def channel(self, canonical: bytes) -> Channel:
        """Return the channel that an identifier's canonical bytes are routed to."""
        if self._must_start:
            self._start_again()
        return self.channels[self._table[routing.slot_of(canonical)]]

    def call(self, canonical: bytes, operation: Operation, arguments: tuple[Any, ...]) -> Any:
        """Have the shard of an identifier carry a request out; return its value.

        Raises:
            SpexError: What the shard answered, or what kept it from answering.
        """
        channel = self.channel(canonical)
        deadline = time.monotonic() + self._options.call_timeout
        answer = channel.finish(channel.start(operation, arguments), deadline)
        return None if answer is None else self._value(channel, answer)

    def post(self, canonical: bytes, operation: Operation, arguments: tuple[Any, ...]) -> None:
        """Send a request whose answer nobody waits for."""
        self.channel(canonical).post(operation, arguments, self._options.call_timeout)

    def call_shards(self, operation: Operation, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Have shards carry requests out at the same time: all are sent before any answer is awaited.

        Returns:
            Shard → its value, or the `SpexError` that it ended with.
        """
        if self._must_start:
            self._start_again()
        deadline = time.monotonic() + self._options.call_timeout
        sent: dict[int, Any] = {}
        for shard, of_shard in arguments.items():
            try:
                sent[shard] = self.channels[shard].start(operation, of_shard)
            except SpexError as error:
                sent[shard] = error
        return {shard: self._finish(self.channels[shard], number, deadline) for shard, number in sent.items()}

    def flush(self, timeout: float | None) -> list[SpexError]:
        """Wait until everything sent is answered; return what could not be applied and was not reported yet.

        Raises:
            CallTimeout: It took longer than `timeout`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._must_start:
            self._start_again()
        late = [channel.shard for channel in self.channels if not channel.flush(deadline)]
        if late:
            raise CallTimeout(
                f"not everything was applied within {timeout} s on shard {late[0]}", shard=late[0], maybe_executed=True
            )
        return self.take_failures()

    def take_failures(self) -> list[SpexError]:
        """Return, once, what could not be applied and was not reported yet: the first and newest, and how many more."""
        errors: list[SpexError] = []
        for channel in self.channels:
            where = f"observations for shard {channel.shard}"
            errors += unapplied(*channel.lines.failures.take(), where, shard=channel.shard)
        return errors

    def shards(self) -> list[ShardInfo]:
        """Return what the supervisor says of its shards."""
        if self._must_start:
            self._start_again()
        rows = self._introducer.status(self._options.call_timeout)
        return [ShardInfo(index, pid, ShardStatus(status), *rest) for index, pid, status, *rest in rows]

    def stats(self) -> list[dict[str, Any]]:
        """Return the counters of each shard.

        Raises:
            SpexError: One cannot answer.
        """
        reports = self.call_shards(STATS, dict.fromkeys(range(self.shard_count), ()))
        for report in reports.values():
            if isinstance(report, SpexError):
                raise report
        return [{**reports[channel.shard], "unapplied": channel.lines.failures.total} for channel in self.channels]

    def revive(self, shard: int) -> None:
        """Have a shard that was given up started again, and wait until it answers."""
        if self._must_start:
            self._start_again()
        self._introducer.revive(shard, self._options.call_timeout)
        self.channels[shard].lines.revive()
        [outcome] = self.call_shards(STATS, {shard: ()}).values()
        if isinstance(outcome, SpexError):
            raise outcome

    # ------------------------------------------------------------------ inside

    def _finish(self, channel: Channel, sent: Any, deadline: float) -> Any:
        if isinstance(sent, SpexError):
            return sent
        try:
            answer = channel.finish(sent, deadline)
            return None if answer is None else self._value(channel, answer)
        except SpexError as error:
            return error

    def _value(self, channel: Channel, answer: Answer) -> Any:
        for plain in answer.logs:
            try:
                emit(plain, channel.shard, channel.lines.pid, called_here=True)
            except Exception:  # a log filter of the application's may raise anything: the answer is the call's
                with suppress(Exception):
                    logger.exception("a log record of shard %d could not be delivered", channel.shard)
        if answer.ok:
            return answer.value
        raise records.error_of(answer.value)

    # What a channel asks for.

    def want(self, shard: int) -> None:
        """Have pipe ends to a shard asked for."""
        self._introducer.want(shard)

    def blocked(self, shard: int) -> None:
        """Have something written for which no caller may be there."""
        self._introducer.blocked(shard)

    def say(self, text: str) -> None:
        """Have an error logged, by a thread that nobody waits for."""
        self._announcer.say(text)

    def _notice(self, name: str, arguments: tuple[Any, ...]) -> bytes:
        notice = frame((0, 0, DECLARE.code, 0, *arguments))
        if len(notice) > self._frame_limit:
            raise ValueError(
                f"what is declared must have at most max_frame_bytes={self._frame_limit} bytes, handlers included, "
                f"got: {len(notice)} for {name}"
            )
        return notice

    def greeting(self) -> bytes:
        """Return the notices of everything declared, as it is now, and of what only this process can declare."""
        declared = dict(self._declared)
        for name, arguments in self._options.undeclared(tuple(declared)):
            with suppress(ValueError):  # it is an error where it is used
                declared[name] = self._notice(name, arguments)
        limit = self._frame_limit  # a larger one would end the channel: then requests that need it fail alone
        return b"".join(notice for notice in declared.values() if len(notice) <= limit)

    @property
    def _frame_limit(self) -> int:
        return min(channel.lines.limit for channel in self.channels)

    @property
    def log_is_full(self) -> bool:
        """Whether no more events are to be read for now."""
        return self._announcer.full

    def take_event(self, shard: int, pid: int, event: Event) -> None:
        """Take what a shard sent unasked, by the courier; runs nothing of the application's."""
        number, kind, payload = event
        if not self.channels[shard].is_new(number, report=kind == REPORT):
            return
        if kind in (LOG, REPORT):
            self._announcer.pass_on(shard, pid, payload, report=number if kind == REPORT else 0)
        elif kind == MESSAGE:
            try:
                self._mailbox.put(shard, records.decode_value(payload))
            except (TypeError, ValueError) as error:
                self.say(f"a message of shard {shard} cannot be read: {error}")

    def _confirm(self, shard: int, upto: int) -> None:
        self.channels[shard].confirm_reports(upto)

    def _start_again(self) -> None:
        with self._starting:
            if self._is_starting:
                raise ShardDown("this process is just attaching to the shards", maybe_executed=False)
            if self._must_start:
                self._is_starting = True
                try:
                    self._start_threads()
                    self._must_start = False
                finally:
                    self._is_starting = False

    def _forked(self) -> None:
        # In the child, with one thread: the parent's ends are closed, nothing of them is flushed or unlocked.
        self._mailbox.forget()
        self._introducer.forget()
        for channel in self.channels:
            channel.start_anew()
        if self.ownership is not None:
            self.ownership.let_go()
            self.ownership = None
        self._set_up()
        self._must_start = True


def _after_fork_in_child() -> None:
    close_inherited()
    for client in list(_clients):
        client._forked()


os.register_at_fork(after_in_child=_after_fork_in_child)
