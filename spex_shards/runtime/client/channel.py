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

import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ...errors import CallTimeout
from ..protocol.answers import Answer
from ..protocol.operations import STATS, Operation
from ..protocol.requests import SAYS_GOODBYE
from ..protocol.sent import Sent
from .line import Line
from .lines import Lines, Port
from .pipes import Pipes

_FIRST_LOOK: Final = 0.005
_LAST_LOOK: Final = 1.0
"""Seconds after which whoever waits for a turn, or for an answer that another thread reads, looks whether it will
come."""


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
        lines: The line that there is, and what becomes of it.
    """

    def __init__(self, shard: int, port: Port, max_unacknowledged: int, max_frame_bytes: int) -> None:
        self.shard = shard
        self._port = port
        self._max_unacknowledged = max_unacknowledged
        self._max_frame_bytes = max_frame_bytes
        self.start_anew()

    def start_anew(self) -> None:
        """Begin as a new client: at first, and in a forked child, where what is on its way is the parent's."""
        self.lines = Lines(self.shard, self._port, self._max_frame_bytes)
        self._last_operation = "none"
        self._confirming = False

    # ------------------------------------------------------------------ calls

    def start(self, operation: Operation, arguments: tuple[Any, ...]) -> Sent:
        """Send a request that `finish` will wait for.

        Raises:
            ShardFailed, ShardDown: It cannot be carried out.
            ValueError: It is larger than a request may be.
        """
        sent = Sent(operation, threading.get_ident(), arguments, waits=True)
        if sent.size > self.lines.limit:
            raise ValueError(self.lines.too_large(sent))
        self._put(sent)
        return sent

    def finish(self, sent: Sent, deadline: float) -> Answer | None:
        """Wait for the answer of a request sent by `start`; None is plain success.

        Raises:
            CallTimeout: The wait ended first; the request may be applied all the same.
        """
        if not self._wait_for(sent, deadline):
            raise CallTimeout(
                f"shard {self.shard} (pid {self.lines.pid}) did not answer {sent.operation.name} within its timeout; "
                "it may be applied later",
                **self.lines.facts(maybe_executed=True),
            )
        return sent.answer

    def post(self, operation: Operation, arguments: tuple[Any, ...], timeout: float) -> None:
        """Send a request that nobody waits for; blocks while the window is full.

        Raises:
            CallTimeout: There was no room within `timeout`; nothing was sent.
            ShardFailed: The shard is given up.
            ValueError: It is larger than a request may be.
        """
        lines = self.lines
        sent = Sent(operation, threading.get_ident(), arguments, waits=False)
        if sent.size > lines.limit:
            raise ValueError(lines.too_large(sent))
        line = lines.current
        full = line.session.unacknowledged >= self._max_unacknowledged
        if (full or (line.pipes is not None and line.pipes.output)) and not self._interrupts(line):
            self._make_room(time.monotonic() + timeout, operation, timeout)
        self._put(sent)

    def flush(self, deadline: float | None) -> bool:
        """Wait until everything sent so far is answered; False when the deadline passed first."""
        # In the middle of a call of this thread there may be a request that is in the window and not in the pipe yet.
        # It would wait for this call: entering leaves that call's line behind.
        line = self._enter()
        line.turn.give()
        self._send_left()
        newest = self.lines.current.session.newest
        return newest is None or self._wait_for(newest, deadline)

    def is_new(self, number: int, *, report: bool) -> bool:
        """Take the number of an event or report; return whether it was not here before."""
        return self.lines.current.session.is_new(number, report=report)

    def confirm_reports(self, upto: int) -> None:
        """Have the shard told that reports up to a number are logged, soon; the next hello says it too."""
        self.lines.current.session.logged(upto)
        self._confirming = True
        self._port.blocked(self.shard)

    # ------------------------------------------------------------------ sending

    def _put(self, sent: Sent) -> None:
        """Take a request into the window, whatever happens to the line meanwhile.

        Raises:
            ShardFailed, ShardDown, ManagerClosed: The channel carries nothing.
        """
        lines = self.lines
        line = lines.current
        turn = line.turn
        self._last_operation = sent.operation.name
        if lines.failure is None and not lines.left and turn.take():
            # The straight way of nearly every request: nobody is inside, and nothing has gone wrong.
            try:
                if not (line.busy or line.dead):
                    line.send(sent)
            finally:
                turn.give()
            if sent.number:
                if line.pipes is None or line.broken:
                    lines.see_to(line)
                if not line.dead or self._is_taken_over(sent, line):
                    if lines.left:
                        self._send_left()
                    return
        elif not sent.waits and self._interrupts(line):
            # The outer call sends it on its way out: it looks once more when it has given its turn back.
            lines.left.append(sent)
            return
        self._put_somewhere(sent)

    def _put_somewhere(self, sent: Sent) -> None:
        if self.lines.left:
            self._send_left()
        while True:
            line = self._enter()
            try:
                if self.lines.failure is not None:
                    raise self.lines.failure_now(maybe_executed=False)
                line.send(sent)
            finally:
                line.turn.give()
            self.lines.see_to(line)
            if not line.dead or self._is_taken_over(sent, line):
                break
        if self.lines.left:
            self._send_left()

    def _is_taken_over(self, sent: Sent, line: Line) -> bool:
        """Return whether a request that was sent on a line which is left behind is on the line that there is now.

        A line is marked as dead before its window is copied. So what was taken in before that mark is taken over; what
        was taken in later may be or not.
        """
        self.lines.leave(line)
        return sent.done or line.newest.session.holds(sent)

    @staticmethod
    def _interrupts(line: Line) -> bool:
        """Return whether this call comes in the middle of another of this thread, which is inside."""
        return line.turn.is_taken() and line.turn.is_mine()

    def _send_left(self) -> None:
        """Send what calls inside other calls of their thread have left."""
        while self.lines.left and self.lines.failure is None:
            line = self._enter()
            taken: list[Sent] = []
            try:
                line.send_left(self.lines.left, taken)
            finally:
                line.turn.give()
                if line.busy or line.dead:
                    self.lines.left.extendleft(sent for sent in reversed(taken) if not self._is_taken_over(sent, line))
            self.lines.see_to(line)

    def _enter(self) -> Line:
        """Return the line, with its turn taken; leave those behind in which a call was cut off, or waits for this one.

        Every use of a line's turn begins here, and ends with `give` and `_see_to`.
        """
        pause = _FIRST_LOOK
        while True:
            line = self.lines.current
            turn = line.turn
            if turn.take():
                if not line.busy and not line.dead:
                    return line
                turn.give()
                self.lines.leave(line)
            elif turn.is_mine():
                self.lines.leave(line)
            elif turn.wait(pause):
                turn.give()
            else:
                if turn.is_taken() and turn.is_stuck():
                    self.lines.leave(line)
                pause = min(_LAST_LOOK, 2 * pause)

    # ------------------------------------------------------------------ waiting

    def _wait_for(self, sent: Sent, deadline: float | None) -> bool:
        """Wait until a request is answered; False when the deadline passed first."""
        pause = _FIRST_LOOK
        while not sent.done:
            if deadline is not None and time.monotonic() >= deadline:
                return False
            line = self.lines.current
            if line.pipes is not None and line.reading.take():
                self._lead(line, line.lead, sent, deadline)
            else:
                pause = self._follow(line, sent, deadline, pause)
        return True

    def _lead(self, line: Line, work: Callable[..., None], *arguments: Any, pumped: bool = False) -> None:
        """Do some of a line's reading, with `reading` taken; it is handed on whatever happens."""
        try:
            if not line.torn:
                work(*arguments)
        finally:
            line.reading.give()
            if line.followers.waiting or (line.pipes is not None and line.pipes.output):
                line.hand_on(pumped=pumped)
        if line.session.failures:
            self.lines.note_failures(line.session)
        if line.refusal is not None:
            self.lines.refused(line)
        elif line.torn or line.dead or line.broken:
            self.lines.leave(line)

    def _follow(self, line: Line, sent: Sent, deadline: float | None, pause: float) -> float:
        """Wait to be woken, as one who does not lead; return how long to wait the next time."""
        self.lines.see_to(line)
        reading = line.reading
        if reading.is_taken() and reading.is_mine():  # in a call that this one interrupts, and which waits for it
            self.lines.leave(line)
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
            self.lines.leave(line)
        return min(_LAST_LOOK, 2 * pause)

    def _make_room(self, deadline: float, operation: Operation, timeout: float) -> None:
        pause = _FIRST_LOOK
        while True:
            line = self.lines.current
            session, pipes = line.session, line.pipes
            if self.lines.failure is not None:
                raise self.lines.failure_now(maybe_executed=False)
            if session.unacknowledged < self._max_unacknowledged and not (pipes is not None and pipes.output):
                return
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise CallTimeout(
                    f"shard {self.shard} (pid {self.lines.pid}) took no further {operation.name} "
                    f"within {timeout} s: {session.unacknowledged} requests are unacknowledged",
                    **self.lines.facts(maybe_executed=False),
                )
            if line.turn.is_taken() and line.turn.is_stuck():
                self.lines.leave(line)  # nobody else could write what is left
            elif pipes is not None and line.reading.take():
                self._lead(line, line.wait_for_room, remaining * 1000)
            else:
                waited_for = session.oldest or Sent(STATS, 0, (), waits=True)
                pause = self._follow(line, waited_for, deadline, pause)

    def pump(self) -> Wanted | None:
        """By the courier, when something waits to be written: write what fits, and read what is there if nobody leads.

        The shard may read nothing more until its replies are read.

        Returns:
            What to poll for until it is all written; None: another thread is inside just now, so look again soon.
        """
        line = self.lines.current
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
            self.lines.leave(line)
            return Wanted([], None)
        if not pipes.output:
            line.followers.wake_all()  # they may have waited for room
            return Wanted([], None)
        leads = line.reading.take()
        if leads:
            self._lead(line, line.look, pumped=True)
        return Wanted(pipes.to_poll(replies=leads), pipes)

    def say_goodbye(self) -> None:
        """Write what the shard is still to be told, as far as it takes it, when the courier has ended.

        Where nothing is on its way any more, and so nothing will ever be sent again, the shard may forget this client.
        """
        self.pump()
        line = self.lines.current
        if self.lines.version >= SAYS_GOODBYE and not line.session.unacknowledged and line.turn.take():
            try:
                if not line.busy:
                    line.write(line.session.goodbye())
            finally:
                line.turn.give()

    @property
    def last_request(self) -> str:
        """What was asked for last."""
        return self._last_operation
