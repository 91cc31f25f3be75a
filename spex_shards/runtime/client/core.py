"""The client: routes identifiers to channels, sends requests to several shards at once, and receives events."""

from __future__ import annotations

import os
import secrets
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from ...errors import CallTimeout, ShardDown, SpexError
from ...log_fields import about
from ..protocol import records, routing
from ..protocol.answers import LOG, MESSAGE, REPORT, Answer, Event
from ..protocol.operations import STATS, Operation
from ..protocol.requests import DECLARE
from ..protocol.session import frame
from ..shard_info import ShardInfo, ShardStatus
from ..transport import unapplied
from .announcer import Announcer
from .bounded import BoundedChannel
from .call_site import emit_all
from .channel import Channel
from .client_options import ClientOptions
from .introducer import MakeIntroducer
from .mailbox import Mailbox
from .ownership import Ownership
from .pipes import close_inherited

_clients: weakref.WeakSet[Client] = weakref.WeakSet()


class Client:
    """One process's access to the shards of a data directory.

    After a fork, the same object is a new client in the child. The child drops the parent's unanswered requests:
    otherwise both processes would send them, under two client ids, and they would be applied twice.

    Args:
        introduce: Creates the introducer.
        options: The options.
        mailbox: Receives the messages of shards.
        ownership: In the process that owns the supervisor: starts and ends it.
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
        self.channels = [self._channel_to(shard) for shard in range(options.shards)]
        self.ownership = ownership
        self._set_up()
        self._must_start = False
        for name, arguments in options.declared:
            self.declare(name, arguments)
        _clients.add(self)

    def _channel_to(self, shard: int) -> BoundedChannel:
        o = self._options
        return BoundedChannel(shard, self, o.max_unacknowledged, o.max_frame_bytes, o.spin)

    @property
    def shard_count(self) -> int:
        """The number of shards."""
        return len(self.channels)

    def check(self) -> None:
        """Do nothing: this object can be used after a fork as well."""

    def _set_up(self) -> None:
        self.client_id = secrets.token_bytes(16)
        self._declaring = threading.RLock()
        self._starting = threading.RLock()
        self._is_starting = False
        self._introducer = self._introduce(self.client_id, self.channels, self, self.ownership)
        self._announcer = Announcer(self._confirm, self._introducer.wake)

    def start(self) -> None:
        """Connect to the shards, and request all channels.

        Raises:
            ShardDown: There is no supervisor, it does not answer, or this process cannot start a thread.
        """
        self._start_threads(patient=self._options.patient)
        for channel in self.channels if not self._options.idle else ():
            channel.lines.open()

    def _start_threads(self, *, patient: bool, waits: bool = True) -> None:
        try:
            self._announcer.start()
            self._mailbox.start()
            self._introducer.start(self._options.call_timeout if waits else None, patient=patient)
        except BaseException as error:
            self._announcer.close(0)
            if isinstance(error, RuntimeError):  # the system could not start a thread
                text = f"this process cannot start the threads that a manager needs: {error}"
                raise ShardDown(text, maybe_executed=False) from error
            raise

    def close(self, timeout: float) -> list[SpexError]:
        """Flush, close the channels, and end the supervisor if this process owns it; each may take `timeout` seconds.

        Returns:
            The errors of requests that nobody waited for, and of the flush.
        """
        errors: list[SpexError] = []
        try:
            errors = self.flush(timeout)
        except SpexError as error:
            errors = [error]
        finally:  # another thread may still send requests before the channels are closed
            self.shut()
            if self.ownership is not None:
                self.ownership.end(timeout)
        return errors + self.take_failures()

    def shut(self, within: float = 1.0) -> None:
        """Close the channels and the connection; waiting calls get `ManagerClosed`. Call it again if it was cut off.

        Args:
            within: Seconds that the application's log handlers have for the records that have arrived.
        """
        _clients.discard(self)
        self._introducer.stop()  # reads the events that have arrived
        self._announcer.close(within)
        for channel in self.channels:
            channel.say_goodbye()
            channel.lines.shut()
        if not self._announcer.is_running:  # a running announcer may still wake the introducer
            self._introducer.forget()

    def declare(self, name: str, arguments: tuple[Any, ...], within: float | None = None) -> None:  # noqa: ARG002
        """Send a declaration to all shards, ahead of all requests that are sent after this; never waits.

        Raises:
            ValueError: The declaration is larger than a frame may be.
        """
        with self._declaring:
            self._declared[name] = self._notice(name, arguments)
            self.notices.append(self._declared[name])
        for channel in self.channels:  # now: a shard's timeouts may wait for a handler, and no request may follow
            self.blocked(channel.shard)

    def shard_of(self, canonical: bytes) -> int:
        """Return the shard of an identifier, given as canonical bytes."""
        return self._table[routing.slot_of(canonical)]

    def channel(self, canonical: bytes, *, waits: bool = True) -> BoundedChannel:
        """Return the channel to the shard of an identifier, given as canonical bytes."""
        if self._must_start:
            self._start_again(waits=waits)
        return self.channels[self._table[routing.slot_of(canonical)]]

    def call(self, canonical: bytes, operation: Operation, arguments: tuple[Any, ...]) -> Any:
        """Send a request to the shard of an identifier; return the value that it answers with.

        Raises:
            SpexError: The shard answered with an error, or could not answer.
        """
        channel = self.channel(canonical)
        deadline = time.monotonic() + self._options.call_timeout
        answer = channel.finish(channel.start(operation, arguments), deadline)
        return None if answer is None else self.value_of(channel, answer)

    def post(self, canonical: bytes, operation: Operation, arguments: tuple[Any, ...]) -> None:
        """Send a request without waiting for its answer; blocks while the channel's window is full.

        Raises:
            SpexError: The request could not be sent.
        """
        self.channel(canonical).post(operation, arguments, self._options.call_timeout)

    def offer(
        self, canonical: bytes, operation: Operation, arguments: tuple[Any, ...], within: float, *, waits: bool
    ) -> None:
        """Send a request as `call` does, or `post` if not `waits`, but never wait longer than `within` seconds.

        Raises:
            CallTimeout: There was no answer in time (`maybe_executed`), or no room (else).
            SpexError: The shard answered with an error, or the request could not be sent.
        """
        channel = self.channel(canonical, waits=False)
        if (answer := channel.offer(operation, arguments, within, waits=waits)) is not None:
            self.value_of(channel, answer)

    def call_shards(
        self, operation: Operation, arguments: Mapping[int, tuple[Any, ...]], within: float | None = None
    ) -> dict[int, Any]:
        """Return shard → the value that it answered with, or the `SpexError`; the shards work at the same time."""
        if self._must_start:
            self._start_again()
        wait = self._options.call_timeout
        deadline = time.monotonic() + (wait if within is None else min(wait, within))
        sent: dict[int, Any] = {}
        for shard, of_shard in arguments.items():
            try:
                sent[shard] = self.channels[shard].start(operation, of_shard)
            except SpexError as error:
                sent[shard] = error
        return {shard: self._finish(self.channels[shard], number, deadline) for shard, number in sent.items()}

    def flush(self, timeout: float | None) -> list[SpexError]:
        """Wait until all requests that were sent are answered; return the errors of `take_failures`.

        Raises:
            CallTimeout: It took longer than `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._must_start:
            return []  # a forked child that has sent nothing need not attach for that
        late = [channel.shard for channel in self.channels if not channel.flush(deadline)]
        if late:
            raise CallTimeout(
                f"not everything was applied within {timeout} s on shard {late[0]}", shard=late[0], maybe_executed=True
            )
        return self.take_failures()

    def take_failures(self) -> list[SpexError]:
        """Return the errors of requests that nobody waited for, each once.

        If there are many, only the first and the newest are returned, and an error that says how many more there are.
        """
        errors: list[SpexError] = []
        for channel in self.channels:
            where = f"observations for shard {channel.shard}"
            errors += unapplied(*channel.lines.failures.take(), where, shard=channel.shard)
        return errors

    def failed(self) -> Counter[type[SpexError]]:
        """Return how many requests that nobody waited for have failed since the start, by the errors' classes."""
        return sum((channel.lines.failures.by_class for channel in self.channels), Counter())

    def shards(self) -> list[ShardInfo]:
        """Return the status of all shards, as the supervisor knows it; `ShardDown` if it does not answer in time."""
        if self._must_start:
            self._start_again()
        rows = self._introducer.status(self._options.call_timeout)
        return [ShardInfo(index, pid, ShardStatus(status), *rest) for index, pid, status, *rest in rows]

    def stats(self) -> list[dict[str, Any]]:
        """Return the counters of each shard; raise a `SpexError` if one cannot answer."""
        return self.counters(self.call_shards(STATS, dict.fromkeys(range(self.shard_count), ())))

    def counters(self, reports: Mapping[int, Any]) -> list[dict[str, Any]]:
        """Return the counters in the shards' answers, with this client's own; raise an error among them."""
        for report in reports.values():
            if isinstance(report, SpexError):
                raise report
        return [{**reports[channel.shard], "unapplied": channel.lines.failures.total} for channel in self.channels]

    def reports(self, shards: Iterable[int], within: float) -> dict[int, Any]:
        """Return the counters of some shards (shard → counters), or the `SpexError` that there is instead."""
        return self.call_shards(STATS, dict.fromkeys(shards, ()), within)

    def revive(self, shard: int) -> None:
        """Restart a shard that was given up, and wait until it answers.

        Raises:
            SpexError: It did not answer in time.
        """
        self.ask_to_revive(shard)
        [outcome] = self.call_shards(STATS, {shard: ()}).values()
        if isinstance(outcome, SpexError):
            raise outcome

    def ask_to_revive(self, shard: int) -> None:
        """Ask for a shard that was given up to be restarted, and wait until that is accepted."""
        if self._must_start:
            self._start_again()
        self._introducer.revive(shard, self._options.call_timeout)
        self.channels[shard].lines.revive()

    def _finish(self, channel: Channel, sent: Any, deadline: float) -> Any:
        if isinstance(sent, SpexError):
            return sent
        try:
            answer = channel.finish(sent, deadline)
            return None if answer is None else self.value_of(channel, answer)
        except SpexError as error:
            return error

    def value_of(self, channel: Channel, answer: Answer) -> Any:
        """Log an answer's records, and return its value, or raise its error."""
        if answer.logs:
            emit_all(answer.logs, channel.shard, channel.lines.pid)
        if answer.ok:
            return answer.value
        raise records.error_of(answer.value)

    # The methods of `Port`, for the channels, and of `Listener`, for the introducer.

    def want(self, shard: int) -> None:
        """Request new pipes to a shard."""
        self._introducer.want(shard)

    def blocked(self, shard: int) -> None:
        """Let the introducer's thread write a channel's output, because no caller may be there to do it."""
        self._introducer.blocked(shard)

    def changed(self, shard: int) -> None:
        """Do nothing: threads that wait at a line are woken by the line."""

    def say(self, text: str, event: str, **fields: Any) -> None:
        """Log an error, on the announcer's thread, with the fields of its record (`log_fields`)."""
        self._announcer.say(text, about(event, **fields))

    def log(self, shard: int, pid: int | None, records: Sequence[Any]) -> None:
        """Log records of a shard, on the announcer's thread."""
        for record in records:
            self._announcer.pass_on(shard, pid or 0, record, report=0)

    def _notice(self, name: str, arguments: tuple[Any, ...]) -> bytes:
        notice = frame((0, 0, DECLARE.code, 0, *arguments))
        if len(notice) > self._frame_limit:
            raise ValueError(
                f"what is declared must have at most max_frame_bytes={self._frame_limit} bytes, handlers included, "
                f"got: {len(notice)} for {name}"
            )
        return notice

    def greeting(self) -> bytes:
        """Return the frames of all present declarations, with those that only this process can make."""
        declared = dict(self._declared)
        for name, arguments in self._options.undeclared(tuple(declared)):
            with suppress(ValueError):  # too large: the requests that need the declaration fail
                declared[name] = self._notice(name, arguments)
        limit = self._frame_limit  # a shard closes the channel on a larger one; so only the requests that need it fail
        return b"".join(notice for notice in declared.values() if len(notice) <= limit)

    @property
    def _frame_limit(self) -> int:
        return min(channel.lines.limit for channel in self.channels)

    @property
    def log_is_full(self) -> bool:
        """Whether the introducer must not read more events now, because too many log records wait."""
        return self._announcer.full

    def take_event(self, shard: int, pid: int, event: Event) -> None:
        """Handle an event of a shard. Called by the introducer's thread; runs none of the application's code."""
        number, kind, payload = event
        if not self.channels[shard].is_new(number, report=kind == REPORT):
            return
        if kind in (LOG, REPORT):
            self._announcer.pass_on(shard, pid, payload, report=number if kind == REPORT else 0)
        elif kind == MESSAGE:
            try:
                self._mailbox.put(shard, records.decode_value(payload))
            except (TypeError, ValueError) as error:
                self.say(f"a message of shard {shard} cannot be read: {error}", "message_lost", shard=shard)

    def _confirm(self, shard: int, upto: int) -> None:
        self.channels[shard].confirm_reports(upto)

    def _start_again(self, *, waits: bool = True) -> None:
        with self._starting:
            if self._is_starting:
                raise ShardDown("this process is just attaching to the shards", maybe_executed=False)
            if self._must_start:
                self._is_starting = True
                try:
                    self._start_threads(patient=self._options.patient or self.ownership is not None, waits=waits)
                    self._must_start = False
                finally:
                    self._is_starting = False

    def _forked(self) -> None:
        # The child has one thread; the parent's locks may be held for ever.
        self._mailbox.forget()
        self._introducer.forget()
        for channel in self.channels:
            channel.start_anew()
        if self.ownership is not None:
            self.ownership = self.ownership.in_child()
        self._set_up()
        self._must_start = True


def _after_fork_in_child() -> None:
    close_inherited()
    for client in list(_clients):
        client._forked()


os.register_at_fork(after_in_child=_after_fork_in_child)
