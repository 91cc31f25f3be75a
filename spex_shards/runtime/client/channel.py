"""The channel of a client to one shard: many threads send requests and wait for answers over one pair of pipes.

A call numbers its request, writes the frame, and reads the reply, all in its own thread. If several threads wait, one
of them is the *leader*: it reads the replies of all, and wakes the threads whose requests are answered. When it has its
own answer, it wakes another thread, which then leads.

For all this a call uses the channel's *line*. A line is never repaired, but replaced as a whole: when its pipe is
closed, when an exception out of a signal handler cuts a call off, or when a call interrupts another call of its thread.

# Guarantees:
#
# * Requests are numbered in the order in which they enter the window, and written in that order. The shard closes a
#   channel on which a number is missing.
# * No call waits for another call of its own thread: it would wait for ever. If it need not wait (`post`), it leaves
#   its request to the outer call, which sends it before it returns. If it must wait, it abandons the outer call's line,
#   and continues on another.
# * A request that is in the window of a line is also in the window of each following line, until it is answered. A
#   call whose request came too late to be copied notices that before it returns, and sends it on the next line.
#   Otherwise the request would be lost, and its caller would wait in vain.
# * While threads wait, one of them leads, or has been woken to lead. A leader that steps down, or is cut off, wakes
#   another. A thread that starts to wait looks for a leader once more after it has registered. Otherwise replies would
#   lie in the pipe while all threads sleep.
# * The courier never waits for a turn. The thread that holds it may be held up for as long as a signal handler runs on
#   top of it, and the courier serves all other channels meanwhile.
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
from .spinning import Spin

_FIRST_LOOK: Final = 0.005
_LAST_LOOK: Final = 1.0
"""A thread that waits for a turn, or for the leader, looks after this many seconds at the latest whether the other
thread is stuck; at first after `_FIRST_LOOK`."""


class Wanted(NamedTuple):
    """What the courier must poll for a channel.

    Attributes:
        descriptors: Descriptors and events to poll for.
        pipes: The pipes that they belong to; as long as the courier refers to them, they are not closed.
    """

    descriptors: list[tuple[int, int]]
    pipes: Pipes | None


class Channel:
    """A client's connection to one shard.

    Args:
        shard: The shard's index.
        port: The client.
        max_unacknowledged: `post` blocks while this many requests are unanswered.
        max_frame_bytes: Most bytes of a request.
        spin: Seconds that a call looks for its answer before it sleeps.

    Attributes:
        lines: The present line, and how it is replaced.
    """

    def __init__(self, shard: int, port: Port, max_unacknowledged: int, max_frame_bytes: int, spin: float) -> None:
        self.shard = shard
        self._port = port
        self._max_unacknowledged = max_unacknowledged
        self._max_frame_bytes = max_frame_bytes
        self._spin = Spin(spin)
        self.start_anew()

    def start_anew(self) -> None:
        """Begin with an empty window, as a new client: at first, and in a forked child."""
        self.lines = Lines(self.shard, self._port, self._max_frame_bytes)
        self._last_operation = "none"
        self._confirming = False

    # ------------------------------------------------------------------ calls

    def start(self, operation: Operation, arguments: tuple[Any, ...], *, waits: bool = True) -> Sent:
        """Send a request, and return it for `finish`, which waits for the answer. It never blocks for long.

        Raises:
            ShardFailed: The shard is given up.
            ManagerClosed: The manager is closed.
            ValueError: The request is too large.
        """
        sent = Sent(operation, threading.get_ident(), arguments, waits=waits)
        if sent.size > self.lines.limit:
            raise ValueError(self.lines.too_large(sent))
        self._put(sent)
        return sent

    def finish(self, sent: Sent, deadline: float) -> Answer | None:
        """Wait for the answer to a request that `start` sent; None is success without a value.

        Raises:
            CallTimeout: There was no answer before the deadline; the request may still be applied.
        """
        if not self._wait_for(sent, deadline):
            raise self.lines.overdue(sent)
        return sent.answer

    def post(self, operation: Operation, arguments: tuple[Any, ...], timeout: float) -> None:
        """Send a request without waiting for its answer; blocks while the window or the pipe is full.

        Raises:
            CallTimeout: There was no room within `timeout` seconds; nothing was sent.
            ShardFailed: The shard is given up.
            ManagerClosed: The manager is closed.
            ValueError: The request is too large.
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
        """Wait until all requests sent so far are answered; return False if the deadline passed first."""
        # This call may interrupt one of the same thread whose request is in the window and not in the pipe yet. That
        # request would wait for this call, and this call for its answer. `_enter` abandons the other call's line, so
        # that the request is sent on a new one.
        line = self._enter()
        line.turn.give()
        self._send_left()
        newest = self.lines.current.session.newest
        return newest is None or self._wait_for(newest, deadline)

    def is_new(self, number: int, *, report: bool) -> bool:
        """Note the number of an event or report; return whether it has not arrived before."""
        return self.lines.current.session.is_new(number, report=report)

    def confirm_reports(self, upto: int) -> None:
        """Tell the shard, soon, that the reports up to a number are logged; the next hello says it as well."""
        self.lines.current.session.logged(upto)
        self._confirming = True
        self._port.blocked(self.shard)

    # ------------------------------------------------------------------ sending

    def _put(self, sent: Sent) -> None:
        """Put a request into the window of a line that is alive, or into one that follows it.

        Raises:
            ShardFailed: The shard is given up.
            ManagerClosed: The manager is closed.
        """
        lines = self.lines
        line = lines.current
        turn = line.turn
        self._last_operation = sent.operation.name
        if lines.failure is None and not lines.left and turn.take():
            # The path of nearly every request: no other thread is sending, and the line works.
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
            # The outer call sends it: it looks at `left` again after it has given its turn back.
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
        """Return whether a request from the window of an abandoned line is in the newest line's window, or done.

        A line is marked dead before its window is copied. So a request that entered before the mark is certain to be
        copied; a later one may be copied or not, and this looks.
        """
        self.lines.leave(line)
        return sent.done or line.newest.session.holds(sent)

    @staticmethod
    def _interrupts(line: Line) -> bool:
        """Return whether this call interrupts one of the same thread that holds the line's turn."""
        return line.turn.is_taken() and line.turn.is_mine()

    def _send_left(self) -> None:
        """Send the requests that calls which interrupted others have left."""
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
        """Take the turn of the present line, and return the line. The caller must give the turn, and then `see_to` it.

        Lines that no call can use any more are abandoned: a call was cut off there (`busy`), this call interrupts one
        that holds the turn, or the holder is stuck.
        """
        pause = _FIRST_LOOK
        while True:
            line = self.lines.current
            turn, last = line.turn, line.session.last
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
                # Only if nobody has sent anything meanwhile: to look at the stacks of many threads takes a millisecond.
                if line.session.last == last and turn.is_taken() and turn.is_stuck():
                    self.lines.leave(line)
                pause = min(_LAST_LOOK, 2 * pause)

    # ------------------------------------------------------------------ waiting

    def _wait_for(self, sent: Sent, deadline: float | None) -> bool:
        """Wait until a request is answered; return False if the deadline passed first."""
        pause = _FIRST_LOOK
        while not sent.done:
            if deadline is not None and time.monotonic() >= deadline:
                return False
            line = self.lines.current
            if line.pipes is not None and line.reading.take():
                self._lead(line, line.lead, sent, deadline, self._spin)
            else:
                pause = self._follow(line, sent, deadline, pause)
        return True

    def _lead(self, line: Line, work: Callable[..., None], *arguments: Any, pumped: bool = False) -> None:
        """Do some work as the leader of a line, whose `reading` is taken; then give it, and wake the next leader.

        An exception out of a signal handler may end the work at any point. The next leader must be woken even then:
        no other thread reads the replies that the others wait for.
        """
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
        """Wait as a follower until the leader wakes this thread; return how many seconds to wait the next time."""
        self.lines.see_to(line)
        reading = line.reading
        if reading.is_taken() and reading.is_mine():  # this call interrupts the leader, which can never wake it
            self.lines.leave(line)
            return pause
        gate, answered = line.followers.join(sent), line.session.acknowledged
        try:
            # The leader may have stepped down just before this thread registered, and then has not woken it.
            if sent.done or line.next is not None or (line.pipes is not None and not reading.is_taken()):
                return pause
            if gate.acquire(timeout=pause if deadline is None else max(0.0, min(pause, deadline - time.monotonic()))):
                return _FIRST_LOOK
        except BaseException:
            line.followers.wake_one()  # this thread may have been woken to lead, so another must be
            raise
        finally:
            line.followers.leave(gate)
        if line.pipes is None:
            self._port.want(self.shard)  # again: the thread that set `asked` may have been cut off before it asked
        elif line.session.acknowledged == answered and reading.is_taken() and reading.is_stuck():  # see `_enter`
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
                self.lines.leave(line)  # the output cannot be written without the turn
            elif pipes is not None and line.reading.take():
                self._lead(line, line.wait_for_room, remaining * 1000)
            else:
                waited_for = session.oldest or Sent(STATS, 0, (), waits=True)
                pause = self._follow(line, waited_for, deadline, pause)

    def pump(self) -> Wanted | None:
        """Write as much output as the pipe takes, and, if no thread leads, read replies. Called by the courier.

        Replies must be read as well: a shard whose reply pipe is full reads no requests of this client.

        Returns:
            What to poll for until all output is written; None: another thread holds the turn, so call again soon.
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
            line.followers.wake_all()  # threads in `post` may have waited for room
            return Wanted([], None)
        leads = line.reading.take()
        if leads:
            self._lead(line, line.look, pumped=True)
        return Wanted(pipes.to_poll(replies=leads), pipes)

    def say_goodbye(self) -> None:
        """Write the remaining output as far as the pipe takes it, and `BYE`. Call it when the courier has ended.

        `BYE` lets the shard forget this client, so it is sent only if no request is unanswered: such a request might
        have to be sent again, and the shard could not tell any more whether it had applied it.
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
        """The name of the operation that was requested last."""
        return self._last_operation
