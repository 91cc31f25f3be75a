"""The lines of a channel: the present line, and how another one replaces it.

# Guarantees:
#
# * No method waits. Any thread may abandon a line at any moment, whatever other threads do on it. If it had to wait for
#   them, a call in a signal handler would wait for the call that it interrupts.
# * Lines form one chain: each has at most one next line, and the window of an abandoned line is copied into the next
#   one. If there were two next lines, they would give the same numbers to different requests.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ...errors import CallTimeout, ManagerClosed, ShardDown, ShardFailed, SpexError
from ..protocol.records import error_of, error_plain
from ..protocol.requests import PROTOCOL_VERSION
from ..protocol.sent import Sent
from ..protocol.session import ClientSession
from ..system.stream import Stream
from .failures import Failures
from .line import Line
from .pipes import Pipes


class Port(Protocol):
    """The client, as a channel uses it. No method blocks.

    Attributes:
        notices: The frames of all declarations; only appended to. Every line must write each of them before the
            requests that were made after it.
    """

    notices: list[bytes]

    def want(self, shard: int) -> None:
        """Request new pipes to a shard."""

    def blocked(self, shard: int) -> None:
        """Let the pump write a channel's output, because no caller may be there to do it."""

    def changed(self, shard: int) -> None:
        """Learn that another line of a channel is the present one: whoever waits must look again."""

    def say(self, text: str, event: str, **fields: Any) -> None:
        """Log an error, with the fields of its record (`log_fields`)."""

    def log(self, shard: int, pid: int | None, records: Sequence[Any]) -> None:
        """Log the records of an answer that no caller waits for any more."""

    def greeting(self) -> bytes:
        """Return the frames that each new line begins with after its hello, in place of all notices so far."""


class Lines:
    """The lines of one channel, one after the other.

    Args:
        shard: The shard's index.
        port: The client.
        max_frame_bytes: Most bytes of a request that this client sends.

    Attributes:
        current: The present line; it may be dead for a moment.
        pid: The shard's process, if it is known.
        exit: How the shard's last process ended, or None.
        failure: Why the channel carries nothing (the shard is given up, or the manager closed), or None.
        failures: The errors of requests that nobody waited for.
        left: Requests of calls that interrupted others, still to be sent.
        version: The protocol version that was agreed with the supervisor.
        limit: Most bytes of a request, for this client and the shards.
    """

    def __init__(self, shard: int, port: Port, max_frame_bytes: int) -> None:
        self.shard = shard
        self._port = port
        self._max_frame_bytes = self.limit = max_frame_bytes
        self.version = PROTOCOL_VERSION
        self.pid: int | None = None
        self.exit: str | None = None
        self.failure: SpexError | None = None
        self.failures = Failures()
        self.left: deque[Sent] = deque()
        self.current = self._new_line(ClientSession())

    def agree(self, version: int, limit: int | None) -> None:
        """Set what was agreed with the supervisor: the protocol version, and the most bytes of a request."""
        self.version = version
        self.limit = self._max_frame_bytes if limit is None else min(self._max_frame_bytes, limit)

    def too_large(self, sent: Sent) -> str:
        """Return the message of the error for a request that is too large."""
        return f"a request must have at most max_frame_bytes={self.limit} bytes, got: {sent.size}"

    def overdue(self, sent: Sent) -> CallTimeout:
        """Return the error for a request that is not answered within its timeout."""
        return CallTimeout(
            f"shard {self.shard} (pid {self.pid}) did not answer {sent.operation.name} within its timeout; "
            "it may be applied later",
            **self.facts(maybe_executed=True),
        )

    def unanswered(self, sent: Sent) -> CallTimeout:
        """Return the error for a request whose caller does not wait any longer."""
        text = f"shard {self.shard} (pid {self.pid}) has not answered {sent.operation.name} yet"
        return CallTimeout(text, **self.facts(maybe_executed=True))

    def see_to(self, line: Line) -> None:
        """Request pipes for a line that has none, and abandon a line whose pipes are broken."""
        if line.pipes is None:
            self._ask_for_pipes(line)
        elif line.broken:
            self.leave(line)

    def _ask_for_pipes(self, line: Line) -> None:
        if not line.asked and self.failure is None:
            line.asked = True
            self._port.want(self.shard)

    def _new_line(self, session: ClientSession, pipes: Pipes | None = None, generation: int = 0) -> Line:
        return Line(session, pipes, self._port.notices, lambda: self._port.blocked(self.shard), generation)

    def leave(self, line: Line, change: Callable[[ClientSession], None] = lambda _: None) -> bool:
        """Abandon a line, and make another the present one. Any thread may do that, at any moment.

        Args:
            line: The line; if it is abandoned already, nothing is done.
            change: Changes the session of the next line, before any other thread sees it.

        Returns:
            Whether this call did it; if not, `change` has not changed the session of the present line.
        """
        if line.next is not None:
            self.current = line.newest
            return False
        line.dead = True
        if line.pipes is not None:
            line.pipes.disable()  # before the window is copied: see the guarantees of a line
        session = line.session.successor()
        change(session)
        done = self._replace(line, self._new_line(session))
        self._ask_for_pipes(self.current)
        return done

    def _replace(self, line: Line, fresh: Line) -> bool:
        done = line.follow_with(fresh)
        # Two threads may do this at once, and the later one may set an older line. That does no harm: the line is
        # dead, and its `next` leads to the newest.
        self.current = line.newest
        line.followers.wake_all()
        self._port.changed(self.shard)
        return done

    def open(self) -> None:
        """Request pipes, unless there are some or they are requested already."""
        self.see_to(self.current)

    @property
    def wants_pipes(self) -> bool:
        """Whether pipes are requested and have not arrived."""
        line = self.current
        return line.pipes is None and line.asked and self.failure is None

    @property
    def is_awaited(self) -> bool:
        """Whether any request is not answered yet."""
        return bool(self.left) or self.current.session.oldest is not None

    def install(self, generation: int, pid: int, requests: Stream, replies: Stream) -> None:
        """Make a line with new pipes the present one; it sends a hello, and the whole window again. For the courier.

        Args:
            generation: Counts the shard's processes.
            pid: The shard's process.
            requests: The stream for requests.
            replies: The stream of replies.

        Raises:
            OSError: There is no descriptor left; the streams are closed.
        """
        pipes = Pipes(requests, replies)
        while self.failure is None:
            line = self.current
            line.dead = True
            if line.pipes is not None:
                line.pipes.disable()
            session = line.session.successor()
            session.refuse_larger(self.limit, lambda sent: error_plain(ShardDown(self.too_large(sent))))
            # Read the notices only after the window is copied: so they include each that a request in it needs.
            fresh = self._new_line(session, pipes, generation)
            fresh.greeted = len(self._port.notices)
            pipes.output[:] = session.hello(os.getpid(), self.version) + self._port.greeting() + session.unanswered()
            self.pid = pid
            if self._replace(line, fresh):
                break
        self._port.blocked(self.shard)

    def break_if(self, generation: int, exit_text: str | None) -> None:
        """Abandon the present line if it uses the worker of that generation, which is dead."""
        self.exit = exit_text
        line = self.current
        if line.pipes is not None and line.generation == generation:
            self.leave(line)

    def lose(self) -> None:
        """Abandon the present line and request new pipes: the connection to the supervisor is lost.

        A shard that was given up is requested as well, because the next supervisor tries it again.
        """
        self.revive()
        line = self.current
        if line.pipes is not None:
            self.leave(line)
        elif line.asked:
            self._port.want(self.shard)

    def fail(self, failure: SpexError) -> None:
        """Answer all requests with an error, and send no further ones: the shard is given up, or the manager closed."""
        if isinstance(self.failure, ManagerClosed):
            return
        self.failure = failure
        plain = error_plain(self.failure_now(maybe_executed=True))
        lost: set[int] = set()
        while not self.leave(self.current, lambda session: lost.update(session.abandon(plain))):
            pass
        count = len(lost)
        while self.left:
            self.left.popleft()
            count += 1
        if count:
            self.failures.add(self._lost_with(failure, count), count)
            text = f"{count} observations for shard {self.shard} could not be applied: {failure}"
            self._port.say(text, "unapplied", shard=self.shard, count=count)

    def revive(self) -> None:
        """Forget that the shard was given up, and request pipes: it may have been started again."""
        if self.failure is not None and not isinstance(self.failure, ManagerClosed):
            self.failure = None
            self.see_to(self.current)

    def refused(self, line: Line) -> None:
        """Abandon a line on which the shard has refused this client, and answer all its requests with the refusal.

        They are not sent again: the shard would refuse them again.
        """
        plain = line.refusal
        assert plain is not None
        self.exit = str(error_of(plain))

        def refuse(session: ClientSession) -> None:
            session.refuse_all(plain)

        self.leave(line, refuse)
        self.note_failures(self.current.session)

    def facts(self, *, maybe_executed: bool) -> dict[str, Any]:
        """Return the context of an error about this shard."""
        return {"shard": self.shard, "pid": self.pid, "exit": self.exit, "maybe_executed": maybe_executed}

    def failure_now(self, *, maybe_executed: bool) -> SpexError:
        """Return a new error for the failure: each caller gets one of its own."""
        failure = self.failure
        cls = type(failure) if failure is not None else ShardFailed
        context = {**(failure.context if failure is not None else {}), "maybe_executed": maybe_executed}
        return cls(str(failure), **context)

    @staticmethod
    def _lost_with(failure: SpexError, count: int) -> SpexError:
        context = {**failure.context, "maybe_executed": True, "requests": count}
        return type(failure)(f"{count} requests could not be applied: {failure}", **context)

    def note_failures(self, session: ClientSession) -> None:
        """Move a session's failed requests into `failures`, and log them."""
        for number in tuple(session.failures):
            answer = session.failures.pop(number, None)
            if answer is None:
                continue
            if answer.logs:
                self._port.log(self.shard, self.pid, answer.logs)
            if not answer.ok:
                error = error_of(answer.value)
                self.failures.add(error)
                if not answer.logs:  # else the error handler has logged it
                    text = f"shard {self.shard} could not apply an observation: {error}"
                    self._port.say(text, "unapplied", spex_reason=error.reason, shard=self.shard, count=1)

    def shut(self) -> None:
        """Close the channel: waiting calls, and later ones, get `ManagerClosed`."""
        text = f"the manager was closed before shard {self.shard} had answered"
        self.fail(ManagerClosed(text, **self.facts(maybe_executed=True)))


def given_up(shard: int, pid: int | None, exit_text: str | None, last: str) -> ShardFailed:
    """Return the error of a shard that the supervisor has given up."""
    return ShardFailed(
        f"shard {shard} was given up, because it died too often or cannot be started (last process: pid {pid}, "
        f"{exit_text}; last request: {last}); the option retry_failed says when it is tried again; to try now, remove "
        f"the cause and call revive({shard})",
        shard=shard,
        pid=pid,
        exit=exit_text,
        last_request=last,
        maybe_executed=False,
    )
