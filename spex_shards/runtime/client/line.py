"""A line: one opening of a channel. It is never mended: what goes wrong with it is left behind, and another is made.

::

    sender ── turn ────▶ session.add ── pipes.write ──▶ shard
    leader ── reading ─▶ pipes.read ── session.receive ──▶ followers are woken
    anybody ───────────▶ leave the line behind: its pipes are disabled, the session's successor goes into a new line

# Guarantees:
#
# * A request is in the window before a byte of it is in the pipe. So whoever disables the pipes first, and copies the
#   window then, has everything that the shard may have seen.
# * A line is `dead` before its window is copied. Whoever takes a request in and finds the line alive afterwards can be
#   sure that it is taken over; whoever finds it dead looks whether the line that there is now holds the request.
# * Whoever is in the middle of a method when the line is left behind goes on with what nobody uses any more.
# * `busy` and `torn` are set on the way in and reset on the way out: where either is found set by one who has the turn,
#   the one before was cut off in the middle, and the line is of no use any more.
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

_POLL_AT_MOST: Final = 1000
_sending, _leading = Inside(), Inside()


class Line:
    """A session, and the pipes that it goes through; without pipes it waits for a line that has some.

    Args:
        session: What is on its way.
        pipes: The ends; None: they are still to come.
        notices: What must be in the pipe before any request that is sent from now on; it only grows.
        blocked: Called when something waits to be written that no caller may be there to write.
        generation: Counts the shard's processes; 0: without pipes.

    Attributes:
        turn: Whoever has it sends.
        reading: Whoever has it leads: it alone reads replies.
        greeted: How many notices are in the pipe.
        asked: Whether pipes were asked for.
        dead: It is left behind, or about to be.
        next: The line that follows it, or None.
        broken: Its pipes are of no use.
        refusal: What the shard said instead of answering, or None.
        busy, torn: Somebody is in the middle of sending, or of taking what was read.
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
        """Have `fresh` follow this line, if none does yet; return whether that was done: one step."""
        return self.__dict__.setdefault("next", fresh) is fresh

    @property
    def newest(self) -> Line:
        """The last of the lines that follow this one; itself if there is none."""
        line = self
        while line.next is not None:
            line = line.next
        return line

    @_sending
    def send(self, sent: Sent) -> None:
        """Take a request into the window, and write it if there are pipes; with the turn."""
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
        """Take in what calls inside other calls have left to be sent; with the turn.

        Args:
            left: From there.
            taken: Each is noted there before it is taken away.
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
        """Write a notice, if there are pipes: where they are still to come, it is part of how they are greeted."""
        self.busy = True
        if self.pipes is not None:
            self._write(self.pipes, data)
        self.busy = False

    @_sending
    def write_output(self) -> None:
        """Write as much of what waits as the pipe takes, new notices included; with the turn."""
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
    def lead(self, sent: Sent, deadline: float | None) -> None:
        """Read until a request is answered, the deadline has passed, or the line is of no use; with `reading`."""
        while not (sent.done or self.dead or self.broken):
            wait = float(_POLL_AT_MOST) if deadline is None else (deadline - time.monotonic()) * 1000
            if wait <= 0:
                return
            self._step(min(_POLL_AT_MOST, wait))

    @_leading
    def look(self) -> None:
        """Read what is there, and write what fits; with `reading`."""
        self._step(0)

    @_leading
    def wait_for_room(self, milliseconds: float) -> None:
        """Wait once for replies, or for room in the pipe; with `reading`."""
        self._step(min(_POLL_AT_MOST, milliseconds))

    def hand_on(self, *, pumped: bool) -> None:
        """Have another thread lead, or see to what is unwritten, after giving `reading` back.

        Args:
            pumped: The courier sees to what is unwritten. To tell it so each time that it looks would keep it awake.
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
        if writable and self.turn.take():
            try:
                if not self.busy:
                    self.write_output()
            finally:
                self.turn.give()

    def _write(self, pipes: Pipes, data: bytes) -> None:
        before = bool(pipes.output)
        try:
            pipes.write(data)
        except OSError as error:
            self._pipe_error(error)
        if pipes.output and not before:
            self._blocked()

    def _pipe_error(self, error: Exception) -> None:
        # A handler of an alarm may raise an OSError of its own, which is no matter of the pipe's.
        foreign = interruption(error)
        if foreign is not None:
            raise foreign
        self.broken = True
