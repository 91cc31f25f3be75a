"""A line: a session and a pair of pipes to a shard. After a fault it is replaced, never repaired.

::

    sender (holds turn) ────▶ session.add ── pipes.write ──▶ shard
    leader (holds reading) ─▶ pipes.read ── session.receive ──▶ followers are woken
    any thread ─────────────▶ abandons the line: its pipes are disabled, and a new line gets the session's successor

# Guarantees:
#
# * A request enters the window before a byte of it enters the pipe. To abandon a line, a thread disables the pipes
#   first and copies the window then. So the copy has every request that the shard may have seen. In the other order, a
#   request could be written after the copy, and be unknown to the next line.
# * A line is marked `dead` before its window is copied. A sender that finds the line alive after `send` can be sure
#   that its request is copied. One that finds it dead must look whether the newest line holds the request.
# * A thread that is in the middle of a method when the line is abandoned may finish: it changes only a session and
#   pipes that no other thread uses any more.
# * `busy` is set while a thread sends, and `torn` while it handles replies. A thread that takes the turn (or `reading`)
#   and finds the mark set knows that the holder before was cut off in the middle. A frame may be half written, or a
#   reply half applied, so the line must be abandoned.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..protocol.requests import ProtocolError
from ..protocol.sent import Sent
from ..protocol.session import ClientSession
from ..system.turns import Inside, Turn, interruption
from .followers import Followers
from .pipes import Pipes
from .spinning import Spin

_POLL_AT_MOST: Final = 1000
_sending, _leading = Inside(), Inside()


class Line:
    """A session, and the pipes that it uses. A line without pipes only collects requests until it is replaced.

    Args:
        session: The session.
        pipes: The pipes; None: there are none yet.
        notices: The frames of all declarations. Each must be written before the requests that follow it; the list only
            grows.
        blocked: Called when output is left that no caller may be there to write.
        generation: Counts the shard's processes; 0 for a line without pipes.

    Attributes:
        turn: The thread that holds it may send.
        reading: The thread that holds it is the leader, the only one that reads replies.
        followers: The threads that wait for the leader.
        greeted: How many of the notices are written.
        asked: Whether pipes were requested.
        dead: Whether the line is abandoned, or about to be.
        next: The line that replaces it; None: it is the present line.
        broken: Whether its pipes cannot be used any more.
        refusal: The error with which the shard closed the channel, or None.
        busy: Whether a thread is sending, or was cut off in that.
        torn: Whether the leader is handling replies, or was cut off in that.
    """

    def __init__(
        self,
        session: ClientSession,
        pipes: Pipes | None,
        notices: Sequence[bytes],
        blocked: Callable[[], None],
        generation: int = 0,
    ) -> None:
        self.session = session
        self.pipes = pipes
        self.generation = generation
        self.greeted = 0
        self._notices = notices
        self._blocked = blocked
        self.asked = pipes is not None
        self.dead = self.broken = self.busy = self.torn = False
        self.refusal: list[Any] | None = None
        self.followers = Followers()
        self.turn = Turn(self, _sending)
        self.reading = Turn(self, _leading)

    next: Line | None = None

    def follow_with(self, fresh: Line) -> bool:
        """Make `fresh` the next line, if there is none yet; return whether it is.

        This is a single call into C. So when two threads abandon a line at the same time, one of their new lines is
        the next one, for both.
        """
        return self.__dict__.setdefault("next", fresh) is fresh

    @property
    def newest(self) -> Line:
        """The last line of the chain that begins with this one."""
        line = self
        while line.next is not None:
            line = line.next
        return line

    @_sending
    def send(self, sent: Sent) -> None:
        """Put a request into the window, and write it if there are pipes. The caller holds the turn."""
        self.busy = True
        session, pipes = self.session, self.pipes
        data = session.add(sent)
        if pipes is not None:
            if self.greeted != len(self._notices):
                self._greet(pipes)
            session.written = sent.number
            if pipes.output:
                pipes.output += data
            else:
                try:
                    pipes.write(data)
                except OSError as error:
                    self._pipe_error(error)
                if pipes.output:
                    self._blocked()
        self.busy = False

    @_sending
    def send_left(self, left: deque[Sent], taken: list[Sent]) -> None:
        """Send the requests that calls which interrupted others have left. The caller holds the turn.

        Args:
            left: The requests; each is removed.
            taken: Each request is appended here before it is removed from `left`, so that it is in one of the two if
                an exception comes in between.
        """
        while left:
            self.busy = True
            sent = left[0]
            taken.append(sent)
            left.popleft()
            if not sent.done and not self.session.holds(sent):
                self.send(sent)
        self.busy = False

    @_sending
    def write(self, data: bytes) -> None:
        """Write a notice, if there are pipes; else the next line's hello will say it. The caller holds the turn."""
        self.busy = True
        if self.pipes is not None:
            self._write(self.pipes, data)
        self.busy = False

    @_sending
    def write_output(self) -> None:
        """Write new notices, and as much of the output as the pipe takes. The caller holds the turn."""
        self.busy = True
        pipes = self.pipes
        if pipes is not None:
            if self.greeted != len(self._notices):
                self._greet(pipes)
            try:
                pipes.write_output()
            except OSError as error:
                self._pipe_error(error)
        self.busy = False

    @_leading
    def lead(self, sent: Sent, deadline: float | None, spin: Spin) -> None:
        """Read replies until a request is answered, the deadline has passed, or the line is unusable.

        The caller holds `reading`.
        """
        pipes = self.pipes
        # While other threads of this process wait as well, they may need the processor.
        if pipes is not None and not pipes.output and not self.followers.waiting and spin.finds(pipes.has_replies):
            self._take_replies(pipes)
        while not (sent.done or self.dead or self.broken):
            wait = float(_POLL_AT_MOST) if deadline is None else (deadline - time.monotonic()) * 1000
            if wait <= 0:
                return
            self._step(min(_POLL_AT_MOST, wait))

    @_leading
    def look(self) -> None:
        """Read replies and write output, without waiting. The caller holds `reading`."""
        self._step(0)

    @_leading
    def wait_for_room(self, milliseconds: float) -> None:
        """Wait once for replies, or for room in the pipe, and use them. The caller holds `reading`."""
        self._step(min(_POLL_AT_MOST, milliseconds))

    def hand_on(self, *, pumped: bool) -> None:
        """Wake the next leader, or let the courier write the output, after `reading` was given back.

        Args:
            pumped: Whether the courier itself calls, so that it knows of the output: waking it would make it loop.
        """
        if self.followers.waiting:
            self.followers.wake_one()
        elif not pumped and self.pipes is not None and self.pipes.output:
            self._blocked()

    def _greet(self, pipes: Pipes) -> None:
        upto = len(self._notices)
        self._write(pipes, b"".join(self._notices[self.greeted : upto]))
        self.greeted = upto

    def _step(self, milliseconds: float) -> None:
        pipes = self.pipes
        if pipes is None or self.dead:
            return
        readable, writable = pipes.wait(milliseconds)
        if readable:
            self._take_replies(pipes)
        if writable and self.turn.take():
            try:
                if not self.busy:
                    self.write_output()
            finally:
                self.turn.give()

    def _take_replies(self, pipes: Pipes) -> None:
        self.torn = True
        try:
            for reply in pipes.read():
                refusal = self.session.receive(reply)
                if refusal is not None:
                    self.refusal, self.broken = refusal, True
                    break
            else:
                if self.followers.waiting:
                    self.followers.wake_answered()
        except (EOFError, OSError, ProtocolError) as error:
            self._pipe_error(error)
        self.torn = False

    def _write(self, pipes: Pipes, data: bytes) -> None:
        before = bool(pipes.output)
        try:
            pipes.write(data)
        except OSError as error:
            self._pipe_error(error)
        if pipes.output and not before:
            self._blocked()

    def _pipe_error(self, error: Exception) -> None:
        # The handler of an alarm may raise an OSError of its own, which says nothing about the pipe.
        foreign = interruption(error)
        if foreign is not None:
            raise foreign
        self.broken = True
