"""The channel of one process to one shard: threads in, pipes out.

A call takes a number, writes its frame, and reads the reply itself: no other thread is on its path. What it uses
for that is the channel's *line*, which is replaced as a whole whenever something has gone wrong in the middle of it:
its pipe was closed, an exception out of a signal handler has cut a call off, or a call comes in the middle of
another.

# Guarantees:
#
# * The order of calls is the order on the pipe: a request has its number from the one place in the window that it
#   takes.
# * No call waits for another call of its own thread. One that need not wait (`post`) leaves its request to the outer
#   call, which sends it on its way out. One that must wait leaves the outer call's line behind, and goes on with
#   another.
# * A request that was taken into the window is in every line that follows, until it is answered. One that was not is
#   taken into the next by the call that made it, which looks for it before it returns.
# * The courier never waits for a turn: a thread may be held up inside for as long as a signal handler runs on top of
#   it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from ..errors import CallTimeout, ManagerClosed, ShardDown, ShardFailed, SpexError
from ..failures import Failures
from ..protocol import NOWAIT, PROTOCOL_VERSION, Kind
from ..records import error_of, error_plain
from ..session import ClientSession, Sent
from .line import Line
from .pipes import Pipes

_FIRST_LOOK: Final = 0.05
_LAST_LOOK: Final = 1.0
"""Seconds after which whoever waits for a turn, or for an answer that another thread reads, looks whether it will
come."""


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


class Wanted(NamedTuple):
    """What a channel's pipes must be polled for: descriptors with events, and the pipes, to be held on to meanwhile."""

    descriptors: list[tuple[int, int]]
    pipes: Pipes | None


class Channel:
    """One shard, as this process reaches it.

    Args:
        shard: Its index.
        port: What the channel asks of the client that it belongs to.
        max_unacknowledged: Size of the window for requests that nobody waits for.
        max_frame_bytes: Most bytes of a request.

    Attributes:
        pid: The shard's process, as far as is known.
        exit: How its process before ended, or None.
        failure: Why the shard is given up, or None.
        failures: What could not be applied and nobody waited for.
        version: The protocol's version that was agreed with the supervisor.
        limit: Most bytes of a request that this client sends and the shards take.
    """

    def __init__(self, shard: int, port: Port, max_unacknowledged: int, max_frame_bytes: int) -> None:
        self.shard = shard
        self._port = port
        self._max_unacknowledged = max_unacknowledged
        self._max_frame_bytes = self.limit = max_frame_bytes
        self.version = PROTOCOL_VERSION
        self.start_anew()

    def start_anew(self) -> None:
        """Begin as a new client: at first, and in a forked child, where what is on its way is the parent's."""
        self.pid: int | None = None
        self.exit: str | None = None
        self.failure: SpexError | None = None
        self.failures = Failures()
        self._last_code = 0
        self._left: deque[Sent] = deque()
        self._confirming = False
        self._line = self._new_line(ClientSession())

    # ------------------------------------------------------------------ calls

    def call(self, kind: Kind, arguments: tuple[Any, ...], timeout: float) -> Any:
        """Send a request and wait for its entry; None is plain success.

        Raises:
            CallTimeout: The wait ended first; the request may be applied all the same.
            ShardFailed, ShardDown: It cannot be carried out.
            ValueError: It is larger than a request may be.
        """
        deadline = time.monotonic() + timeout
        return self.finish(self.start(kind, arguments), kind, deadline)

    def start(self, kind: Kind, arguments: tuple[Any, ...]) -> Sent:
        """Send a request that `finish` will wait for."""
        sent = self._request(kind, arguments, waits=True)
        self._put(sent)
        return sent

    def finish(self, sent: Sent, kind: Kind, deadline: float) -> Any:
        """Wait for the entry of a request sent by `start`; as `call`."""
        if not self._wait_for(sent, deadline):
            raise CallTimeout(
                f"shard {self.shard} (pid {self.pid}) did not answer {kind.name.lower()} within its timeout; "
                "it may be applied later",
                **self._facts(maybe_executed=True),
            )
        return sent.answer

    def post(self, kind: Kind, arguments: tuple[Any, ...], timeout: float) -> None:
        """Send a request that nobody waits for; blocks while the window is full.

        Raises:
            CallTimeout: There was no room within `timeout`; nothing was sent.
            ShardFailed: The shard is given up.
            ValueError: It is larger than a request may be.
        """
        sent = self._request(kind | NOWAIT, arguments, waits=False)
        line = self._line
        if line.session.unacknowledged >= self._max_unacknowledged or (line.pipes is not None and line.pipes.output):
            self._make_room(time.monotonic() + timeout, kind, timeout)
        self._put(sent)

    def flush(self, deadline: float | None) -> bool:
        """Wait until everything sent so far is answered; False when the deadline passed first."""
        self._send_left()
        newest = self._line.session.newest
        return newest is None or self._wait_for(newest, deadline)

    def is_new(self, number: int, *, report: bool) -> bool:
        """Take the number of an event or report; return whether it was not here before."""
        return self._line.session.is_new(number, report=report)

    def confirm_reports(self) -> None:
        """Have the shard told which reports are logged, soon; the next hello says it too."""
        self._confirming = True
        self._port.blocked(self.shard)

    def agree(self, version: int, limit: int | None) -> None:
        """Take over what was agreed with the supervisor: the protocol's version, and the most bytes of a request."""
        self.version = version
        self.limit = self._max_frame_bytes if limit is None else min(self._max_frame_bytes, limit)

    # ------------------------------------------------------------------ sending

    def _request(self, code: int, arguments: tuple[Any, ...], *, waits: bool) -> Sent:
        sent = Sent(code, threading.get_ident(), arguments, waits=waits)
        if sent.size > self.limit:
            raise ValueError(self._too_large(sent))
        return sent

    def _too_large(self, sent: Sent) -> str:
        return f"a request must have at most max_frame_bytes={self.limit} bytes, got: {sent.size}"

    def _put(self, sent: Sent) -> None:
        """Take a request into the window, whatever happens to the line meanwhile.

        Raises:
            ShardFailed, ShardDown, ManagerClosed: The channel carries nothing.
        """
        turn = self._line.turn
        if not sent.waits and turn.is_taken() and turn.is_mine():
            # The outer call sends it on its way out: it looks once more when it has given its turn back.
            self._left.append(sent)
            return
        if self._left:
            self._send_left()
        self._last_code = sent.code
        while True:
            line = self._enter()
            try:
                if self.failure is not None:
                    raise self._failure_now(maybe_executed=False)
                line.send(sent)
            finally:
                line.turn.give()
            self._see_to(line)
            if not line.dead or self._is_taken_over(sent, line):
                break
        if self._left:
            self._send_left()

    def _is_taken_over(self, sent: Sent, line: Line) -> bool:
        """Return whether a request that was sent on a line which is left behind is on the line that there is now.

        A line is marked as dead before its window is copied. So what was taken in before that mark is taken over; what
        was taken in later may be or not.
        """
        self._leave(line)
        return sent.done or line.newest.session.holds(sent)

    def _send_left(self) -> None:
        """Send what calls inside other calls of their thread have left."""
        while self._left and self.failure is None:
            line = self._enter()
            taken: list[Sent] = []
            try:
                line.send_left(self._left, taken)
            finally:
                line.turn.give()
                if line.busy or line.dead:
                    self._left.extendleft(sent for sent in reversed(taken) if not self._is_taken_over(sent, line))
            self._see_to(line)

    def _enter(self) -> Line:
        """Return the line, with its turn taken; leave those behind in which a call was cut off, or waits for this one.

        Every use of a line's turn begins here, and ends with `give` and `_see_to`.
        """
        pause = _FIRST_LOOK
        while True:
            line = self._line
            turn = line.turn
            if turn.take():
                if not line.busy and not line.dead:
                    return line
                turn.give()
                self._leave(line)
            elif turn.is_mine():
                self._leave(line)
            elif turn.wait(pause):
                turn.give()
            else:
                if turn.is_taken() and turn.is_stuck():
                    self._leave(line)
                pause = min(_LAST_LOOK, 2 * pause)

    def _see_to(self, line: Line) -> None:
        """Do what a line needs from outside: pipes, or a successor."""
        if line.pipes is None:
            self._ask_for_pipes(line)
        elif line.broken:
            self._leave(line)

    def _ask_for_pipes(self, line: Line) -> None:
        if not line.asked and self.failure is None:
            line.asked = True
            self._port.want(self.shard)

    # ------------------------------------------------------------------ waiting

    def _wait_for(self, sent: Sent, deadline: float | None) -> bool:
        """Wait until a request is answered; False when the deadline passed first."""
        pause = _FIRST_LOOK
        while not sent.done:
            if deadline is not None and time.monotonic() >= deadline:
                return False
            line = self._line
            if line.pipes is not None and line.reading.take():
                self._lead(line, line.lead, sent, deadline)
            else:
                pause = self._follow(line, sent, deadline, pause)
        return True

    def _lead(self, line: Line, work: Callable[..., None], *arguments: Any) -> None:
        """Do some of a line's reading, with `reading` taken; it is handed on whatever happens."""
        try:
            if not line.torn:
                work(*arguments)
        finally:
            line.reading.give()
            line.hand_on()
        if line.session.failures:
            self._note_failures(line.session)
        if line.refusal is not None:
            self._refused(line)
        elif line.torn or line.dead or line.broken:
            self._leave(line)

    def _follow(self, line: Line, sent: Sent, deadline: float | None, pause: float) -> float:
        """Wait to be woken, as one who does not lead; return how long to wait the next time."""
        self._see_to(line)
        reading = line.reading
        if reading.is_taken() and reading.is_mine():  # in a call that this one interrupts, and which waits for it
            self._leave(line)
            return pause
        gate = line.followers.join(sent)
        try:
            # The leader may have stepped down just before it could see this one: then nobody would wake it.
            if sent.done or line.next is not None or (line.pipes is not None and not reading.is_taken()):
                return pause
            if gate.acquire(timeout=pause if deadline is None else max(0.0, min(pause, deadline - time.monotonic()))):
                return _FIRST_LOOK
        except BaseException:
            line.followers.wake_one()  # it may have been this one that was woken to lead
            raise
        finally:
            line.followers.leave(gate)
        if line.pipes is None:
            self._port.want(self.shard)  # who asked may have been cut off before
        elif reading.is_taken() and reading.is_stuck():
            self._leave(line)
        return min(_LAST_LOOK, 2 * pause)

    def _make_room(self, deadline: float, kind: Kind, timeout: float) -> None:
        pause = _FIRST_LOOK
        while True:
            line = self._line
            session, pipes = line.session, line.pipes
            if self.failure is not None:
                raise self._failure_now(maybe_executed=False)
            if session.unacknowledged < self._max_unacknowledged and not (pipes is not None and pipes.output):
                return
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise CallTimeout(
                    f"shard {self.shard} (pid {self.pid}) took no further {kind.name.lower()} within {timeout} s: "
                    f"{session.unacknowledged} requests are unacknowledged",
                    **self._facts(maybe_executed=False),
                )
            if pipes is not None and line.reading.take():
                self._lead(line, line.wait_for_room, remaining * 1000)
            else:
                waited_for = session.oldest or Sent(Kind.STATS, 0, (), waits=False)
                pause = self._follow(line, waited_for, deadline, pause)

    def _note_failures(self, session: ClientSession) -> None:
        for number in tuple(session.failures):
            entry = session.failures.pop(number, None)
            if entry is not None:
                error = error_of(entry[2])
                self.failures.add(error)
                self._port.say(f"shard {self.shard} could not apply an observation: {error}")

    # ------------------------------------------------------------------ lines

    def _new_line(self, session: ClientSession, pipes: Pipes | None = None, generation: int = 0) -> Line:
        return Line(session, pipes, self._port.notices, lambda: self._port.blocked(self.shard), generation)

    def _leave(self, line: Line, change: Callable[[ClientSession], None] = lambda _: None) -> bool:
        """Leave a line behind and go on with another; return whether that was done by this call.

        It may be done at any moment, by any thread, whatever others are doing on the line.

        Args:
            line: The line; nothing is done if it is left behind already.
            change: What to do with the session of the next line, before anybody sees it.
        """
        if line.next is not None:
            self._line = line.newest
            return False
        line.dead = True
        if line.pipes is not None:
            line.pipes.disable()  # before the window is copied: see the guarantees of a line
        session = line.session.successor()
        change(session)
        done = self._replace(line, self._new_line(session))
        self._ask_for_pipes(self._line)
        return done

    def _replace(self, line: Line, fresh: Line) -> bool:
        done = line.follow_with(fresh)
        # Two may do this at a time, and the one that is late may put an older line here: that is dead, and leads on.
        self._line = line.newest
        line.followers.wake_all()
        return done

    def open(self) -> None:
        """Ask for pipe ends, unless they are there or asked for."""
        self._see_to(self._line)

    @property
    def wants_pipes(self) -> bool:
        """Whether pipe ends are asked for, and not there yet."""
        line = self._line
        return line.pipes is None and line.asked and self.failure is None

    def install(self, generation: int, pid: int, requests: int, replies: int) -> None:
        """Take new pipe ends, by the courier: greet, and send the whole window again. Waits for nobody.

        Raises:
            OSError: No descriptor is to be had; the ends are closed.
        """
        pipes = Pipes(requests, replies)
        while self.failure is None:
            line = self._line
            line.dead = True
            if line.pipes is not None:
                line.pipes.disable()
            session = line.session.successor()
            session.refuse_larger(self.limit, lambda sent: error_plain(ShardDown(self._too_large(sent))))
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
        line = self._line
        if line.pipes is not None and line.generation == generation:
            self._leave(line)

    def lose(self) -> None:
        """The connection to the supervisor is gone: ask anew, also for what it had given up."""
        self.revive()
        line = self._line
        if line.pipes is not None:
            self._leave(line)
        elif line.asked:
            self._port.want(self.shard)

    def fail(self, failure: SpexError) -> None:
        """The shard is given up: nothing that is waiting will be answered."""
        if isinstance(self.failure, ManagerClosed):
            return
        self.failure = failure
        plain = error_plain(self._failure_now(maybe_executed=True))
        lost: set[int] = set()
        while not self._leave(self._line, lambda session: lost.update(session.abandon(plain))):
            pass
        count = len(lost)
        while self._left:
            self._left.popleft()
            count += 1
        if count:
            self.failures.add(self._lost_with(failure, count), count)
            self._port.say(f"{count} observations for shard {self.shard} could not be applied: {failure}")

    def revive(self) -> None:
        """Forget a failure: the shard may be there again."""
        if self.failure is not None and not isinstance(self.failure, ManagerClosed):
            self.failure = None
            self._see_to(self._line)

    def pump(self) -> Wanted | None:
        """By the courier, when something waits to be written: write what fits, and read what is there if nobody leads.

        The shard may read nothing more until its replies are read.

        Returns:
            What to poll for until it is all written; None: another thread is inside just now, so look again soon.
        """
        line = self._line
        pipes = line.pipes
        if pipes is None:
            return Wanted([], None)
        if not line.turn.take():
            return None
        try:
            if not line.busy:
                if self._confirming:
                    self._confirming = False
                    line.write(line.session.seen())
                line.write_output()
        finally:
            line.turn.give()
        if line.busy or line.broken:
            self._leave(line)
            return Wanted([], None)
        if not pipes.output:
            line.followers.wake_all()  # they may have waited for room
            return Wanted([], None)
        leads = line.reading.take()
        if leads:
            self._lead(line, line.look)
        return Wanted(pipes.to_poll(replies=leads), pipes)

    def say_goodbye(self) -> None:
        """Write what the shard is still to be told, as far as it takes it, when the courier has ended."""
        self.pump()

    def shut(self) -> None:
        """Carry nothing any more; whoever waits is told that the manager is closed."""
        text = f"the manager was closed before shard {self.shard} had answered"
        self.fail(ManagerClosed(text, **self._facts(maybe_executed=True)))

    @property
    def last_request(self) -> str:
        """What was asked for last."""
        return Kind(self._last_code & ~NOWAIT).name.lower() if self._last_code else "none"

    def _refused(self, line: Line) -> None:
        # The shard will not go on with what was sent: sending it again would end the same way.
        plain = line.refusal
        self.exit = str(error_of(plain))

        def refuse(session: ClientSession) -> None:
            session.refuse_all(plain)

        self._leave(line, refuse)
        self._note_failures(self._line.session)

    def _facts(self, *, maybe_executed: bool) -> dict[str, Any]:
        return {"shard": self.shard, "pid": self.pid, "exit": self.exit, "maybe_executed": maybe_executed}

    def _failure_now(self, *, maybe_executed: bool) -> SpexError:
        failure = self.failure
        cls = type(failure) if failure is not None else ShardFailed
        context = {**(failure.context if failure is not None else {}), "maybe_executed": maybe_executed}
        return cls(str(failure), **context)

    @staticmethod
    def _lost_with(failure: SpexError, count: int) -> SpexError:
        context = {**failure.context, "maybe_executed": True, "requests": count}
        return type(failure)(f"{count} requests could not be applied: {failure}", **context)
