"""The lines of a channel: the one that there is, and how another comes in its place.

# Guarantees:
#
# * Nothing here waits for anybody: a line may be left behind at any moment, by any thread, whatever others do on it.
# * Lines form one chain: each is followed by one other at most, and what a line that is left behind has in its window
#   is in the window of the one that follows.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from ...errors import ManagerClosed, ShardDown, ShardFailed, SpexError
from ..protocol.records import error_of, error_plain
from ..protocol.requests import PROTOCOL_VERSION
from ..protocol.sent import Sent
from ..protocol.session import ClientSession
from ..system.stream import Stream
from .failures import Failures
from .line import Line
from .pipes import Pipes


class Port(Protocol):
    """What a channel asks of the client that it belongs to. Nothing of it blocks.

    Attributes:
        notices: Frames that every line must have carried before any request that was made after them; they only grow.
    """

    notices: list[bytes]

    def want(self, shard: int) -> None:
        """Have pipe ends to a shard asked for."""

    def blocked(self, shard: int) -> None:
        """Have something written for which no caller may be there."""

    def say(self, text: str) -> None:
        """Have an error logged."""

    def greeting(self) -> bytes:
        """Return the frames that follow the hello on every new line: they stand for all notices."""


class Lines:
    """The line of one channel to one shard.

    Args:
        shard: The shard's index.
        port: What a channel asks of the client that it belongs to.
        max_frame_bytes: Most bytes of a request.

    Attributes:
        current: The line that there is; it may be dead for a moment.
        pid: The shard's process, as far as is known.
        exit: How its process before ended, or None.
        failure: Why the shard is given up, or None.
        failures: What could not be applied and nobody waited for.
        left: What calls inside other calls of their thread have left to be sent.
        version: The protocol's version that was agreed with the supervisor.
        limit: Most bytes of a request that this client sends and the shards take.
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
        """Take over what was agreed with the supervisor: the protocol's version, and the most bytes of a request."""
        self.version = version
        self.limit = self._max_frame_bytes if limit is None else min(self._max_frame_bytes, limit)

    def too_large(self, sent: Sent) -> str:
        """Return why a request is not sent."""
        return f"a request must have at most max_frame_bytes={self.limit} bytes, got: {sent.size}"

    def see_to(self, line: Line) -> None:
        """Do what a line needs from outside: pipes, or a successor."""
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
        """Leave a line behind and go on with another; return whether that was done by this call.

        It may be done at any moment, by any thread, whatever others are doing on the line.

        Args:
            line: The line; nothing is done if it is left behind already.
            change: What to do with the session of the next line, before anybody sees it.
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
        # Two may do this at a time, and the one that is late may put an older line here: that is dead, and leads on.
        self.current = line.newest
        line.followers.wake_all()
        return done

    def open(self) -> None:
        """Ask for pipe ends, unless they are there or asked for."""
        self.see_to(self.current)

    @property
    def wants_pipes(self) -> bool:
        """Whether pipe ends are asked for, and not there yet."""
        line = self.current
        return line.pipes is None and line.asked and self.failure is None

    def install(self, generation: int, pid: int, requests: Stream, replies: Stream) -> None:
        """Take new pipe ends, by the courier: greet, and send the whole window again. Waits for nobody.

        Raises:
            OSError: No descriptor is to be had; the ends are closed.
        """
        pipes = Pipes(requests, replies)
        while self.failure is None:
            line = self.current
            line.dead = True
            if line.pipes is not None:
                line.pipes.disable()
            session = line.session.successor()
            session.refuse_larger(self.limit, lambda sent: error_plain(ShardDown(self.too_large(sent))))
            # After the window is copied: whatever a request in it needs was declared before.
            fresh = self._new_line(session, pipes, generation)
            fresh.greeted = len(self._port.notices)
            pipes.output[:] = session.hello(os.getpid(), self.version) + self._port.greeting() + session.unanswered()
            self.pid = pid
            if self._replace(line, fresh):
                break
        self._port.blocked(self.shard)

    def break_if(self, generation: int, exit_text: str | None) -> None:
        """The worker of that generation is dead, as the supervisor says."""
        self.exit = exit_text
        line = self.current
        if line.pipes is not None and line.generation == generation:
            self.leave(line)

    def lose(self) -> None:
        """The connection to the supervisor is gone: ask anew, also for what it had given up."""
        self.revive()
        line = self.current
        if line.pipes is not None:
            self.leave(line)
        elif line.asked:
            self._port.want(self.shard)

    def fail(self, failure: SpexError) -> None:
        """The shard is given up: nothing that is waiting will be answered."""
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
            self._port.say(f"{count} observations for shard {self.shard} could not be applied: {failure}")

    def revive(self) -> None:
        """Forget a failure: the shard may be there again."""
        if self.failure is not None and not isinstance(self.failure, ManagerClosed):
            self.failure = None
            self.see_to(self.current)

    def refused(self, line: Line) -> None:
        """Leave a line behind whose shard will not go on: sent again, everything would end the same way."""
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
        """Return the failure as an error of its own, for one more who is told."""
        failure = self.failure
        cls = type(failure) if failure is not None else ShardFailed
        context = {**(failure.context if failure is not None else {}), "maybe_executed": maybe_executed}
        return cls(str(failure), **context)

    @staticmethod
    def _lost_with(failure: SpexError, count: int) -> SpexError:
        context = {**failure.context, "maybe_executed": True, "requests": count}
        return type(failure)(f"{count} requests could not be applied: {failure}", **context)

    def note_failures(self, session: ClientSession) -> None:
        """Take over what a session says that could not be applied."""
        for number in tuple(session.failures):
            answer = session.failures.pop(number, None)
            if answer is not None:
                error = error_of(answer.value)
                self.failures.add(error)
                self._port.say(f"shard {self.shard} could not apply an observation: {error}")

    def shut(self) -> None:
        """Carry nothing any more; whoever waits is told that the manager is closed."""
        text = f"the manager was closed before shard {self.shard} had answered"
        self.fail(ManagerClosed(text, **self.facts(maybe_executed=True)))


def given_up(shard: int, pid: int | None, exit_text: str | None, last: str) -> ShardFailed:
    """Return the error of a shard that the supervisor has given up."""
    return ShardFailed(
        f"shard {shard} died too often and was given up (last process: pid {pid}, {exit_text}; last request: {last}); "
        f"it is tried again by itself (see retry_failed); mend the cause, then call revive({shard}) to have it at once",
        shard=shard,
        pid=pid,
        exit=exit_text,
        last_request=last,
        maybe_executed=False,
    )
