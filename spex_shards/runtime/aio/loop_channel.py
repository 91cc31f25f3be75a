"""A channel on an event loop: the loop reads its replies, writes what its pipe did not take, and wakes coroutines.

::

    coroutine ── start ──▶ session.add ── pipes.write ──▶ shard
    loop: reader ────────▶ pipes.read ── session.receive ── settle ──▶ futures of answered requests
    loop: writer ────────▶ the rest of what the pipe did not take at once
    courier ─────────────▶ replaces the line, and has the loop look again (`tell`)

# Guarantees:
#
# * A request is numbered, put into the window and written by one plain call, in which no coroutine can be cancelled. So
#   a cancellation never cuts a frame in two, and never takes a request out of the window: its answer is read and
#   dropped, and the request is applied exactly once.
# * Requests are answered in the order of their numbers, and all calls have the same timeout. So those that wait form
#   one queue, in the order of their answers and of their deadlines alike: one timer is enough for all.
# * Only the loop's thread uses the readers, the writers and the queues. Other threads only `tell` it.
# * Nothing here waits: no lock, no full pipe.
# * An exception out of a signal handler may cut off a call or a callback of the loop. What is taken from a queue is
#   taken last, and the channel is looked at every second while coroutines wait. So each of them goes on in the end.
#   Such an exception may also hit a look before it has done anything. So looks are scheduled in pairs, and the second
#   one is called off only after the next pair is scheduled.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Any, Final, NamedTuple

from ...errors import CallTimeout
from ..client.bounded import BoundedChannel
from ..client.line import Line
from ..client.lines import Port
from ..client.pipes import Pipes
from ..protocol.answers import Answer
from ..protocol.operations import Operation
from ..protocol.sent import Sent

_AT_ONCE: Final = 256
"""The most coroutines that are woken before the loop's other work has its turn."""
_LOOK_EVERY: Final = 1.0
"""While coroutines wait, the channel is looked at so often, in case an exception has cut a callback off."""
_AGAIN: Final = 0.01
"""Seconds before the next attempt at a line that a call was using which this one interrupted."""


class Waiter(NamedTuple):
    """A coroutine that waits for the answer to a request, or for room in the window.

    Attributes:
        future: Gets True once it is so, and False when it takes too long.
        deadline: The loop's time at which it takes too long.
        sent: The request; None: it waits for room.
    """

    future: asyncio.Future[bool]
    deadline: float
    sent: Sent | None = None


class LoopChannel(BoundedChannel):
    """A channel whose callers are coroutines of one event loop.

    Args:
        shard: The shard's index.
        port: The client.
        max_unacknowledged: `post` refuses a request while this many are unanswered.
        max_frame_bytes: Most bytes of a request.
        loop: The event loop.
        call_timeout: Seconds that a call waits for its answer, and `drain` for room.
    """

    def __init__(
        self,
        shard: int,
        port: Port,
        max_unacknowledged: int,
        max_frame_bytes: int,
        loop: asyncio.AbstractEventLoop,
        call_timeout: float,
    ) -> None:
        super().__init__(shard, port, max_unacknowledged, max_frame_bytes, 0.0)  # a loop has other work to do
        self._loop = loop
        self._timeout = call_timeout
        self._calls: deque[Waiter] = deque()
        self._left_alone: deque[Sent] = deque()
        self._rooms: deque[Waiter] = deque()
        self._flushes: list[Waiter] = []
        self._looks: tuple[asyncio.TimerHandle, ...] = ()
        self._pipes: Pipes | None = None
        self._reads = self._writes = -1
        self._is_writing = self._detached = False
        self._told = -math.inf  # when the loop was told to look, which it has not done yet

    # ------------------------------------------------------------------ calls

    def expect(self, sent: Sent) -> asyncio.Future[bool]:
        """Return a future for a request that `start` has just sent: True once it is answered, False when it is overdue.

        Call it before the loop goes on: requests must be expected in the order in which they were sent.
        """
        future: asyncio.Future[bool] = self._loop.create_future()
        if sent.done:  # the channel has failed in the middle of the call
            future.set_result(True)
            return future
        now = self._loop.time()
        self._calls.append(Waiter(future, now + self._timeout, sent))
        if not self._looks or self._looks[0].when() <= now:
            self._look_by(now + self._timeout)
        return future

    def post_now(self, operation: Operation, arguments: tuple[Any, ...]) -> None:
        """Send a request without waiting for its answer, or for room; see `Channel.post`.

        Raises:
            CallTimeout: The window is full; nothing was sent.
        """
        if self._is_full():
            raise self._full(operation.name)
        self.start(operation, arguments, waits=False)

    async def offered(self, operation: Operation, arguments: tuple[Any, ...], within: float) -> Answer | None:
        """Send a request, and wait for its answer as `BoundedChannel.offer` does, which see."""
        if self._has_stalled():
            within = 0.0
        if not self._has_room():
            self._wait_for_room(0.0, operation, 0.0)
        sent = self.start(operation, arguments)
        answered = self.expect(sent)
        try:
            if within and not answered.done():
                await asyncio.wait([answered], timeout=within)
        except asyncio.CancelledError:
            sent.leave()
            raise
        if sent.done or not sent.leave():
            return sent.answer
        answered.cancel()
        if self._owed is None:
            self._owed = sent
        raise self.lines.unanswered(sent)

    async def drain(self) -> None:
        """Wait until the window has room for at least one request.

        Raises:
            CallTimeout: It had none within the timeout.
            ShardFailed: The shard is given up.
        """
        deadline = self._loop.time() + self._timeout
        first = True
        try:
            while self._is_full():
                waiter = Waiter(self._loop.create_future(), deadline)
                # Whoever was woken and found no room goes back to the front, so that none is overtaken for ever.
                (self._rooms.append if first else self._rooms.appendleft)(waiter)
                first = False
                self._look_by(deadline)
                if not await waiter.future:
                    raise self._full("request")
            if self.lines.failure is not None:
                raise self.lines.failure_now(maybe_executed=False)
        finally:
            if self._rooms:  # this one may leave its room unused
                self._loop.call_soon(self._give_room)

    def expect_all(self) -> asyncio.Future[bool] | None:
        """Return a future that gets True when all requests sent so far are answered; None: they are."""
        if self.lines.left:
            self._send_left()
        newest = self.lines.current.session.newest
        if newest is None or newest.done:
            return None
        self._flushes.append(Waiter(self._loop.create_future(), math.inf, newest))
        self._look_by(math.inf)
        return self._flushes[-1].future

    def _is_full(self) -> bool:
        return self.lines.failure is None and self.lines.current.session.unacknowledged >= self._max_unacknowledged

    def _full(self, what: str) -> CallTimeout:
        return CallTimeout(
            f"shard {self.shard} (pid {self.lines.pid}) takes no further {what} now: "
            f"max_unacknowledged={self._max_unacknowledged} requests are unacknowledged; await drain() before",
            **self.lines.facts(maybe_executed=False),
        )

    def _enter(self) -> Line:
        """Take the turn of the present line, and return the line; never wait, because that would hold the loop up.

        Only the loop's thread sends. So a turn that is taken belongs to a call that this one interrupts, or to one that
        an exception cut off; both are left behind with their line.
        """
        while True:
            line = self.lines.current
            if line.turn.take():
                if not (line.busy or line.dead):
                    return line
                line.turn.give()
            self.lines.leave(line)

    # ------------------------------------------------------------------ the loop

    def tell(self) -> None:
        """Have the loop look at the channel soon. Any thread may call this at any moment; it never blocks."""
        now = self._loop.time()
        if now < self._told + _LOOK_EVERY or self._loop.is_closed():
            return
        try:
            self._told = now
            self._loop.call_soon_threadsafe(self.look)
        except RuntimeError:
            pass  # the loop was closed in between
        except BaseException:  # a signal handler has raised
            self._told = -math.inf
            raise

    def look(self) -> None:
        """Write what is left to write, watch the present line's pipes, and wake whoever can go on."""
        self._told = -math.inf  # before looking: what changes from here on is told again
        if not self._detached:
            if self.pump() is None:
                self._loop.call_later(_AGAIN, self.tell)
            self._watch()
        self._settle()

    def detach(self) -> None:
        """Take everything off the loop. Coroutines that wait get their answers by `tell`."""
        self._detached = True
        self._unwatch()
        self._rest()

    def disown(self) -> None:
        """In a forked child: never touch the loop, whose descriptors are shared with the parent."""
        self._told, self._detached = math.inf, True

    def _watch(self) -> None:
        pipes = self.lines.current.pipes
        if pipes is not self._pipes:
            self._unwatch()
            if pipes is not None:
                (writes, _), (reads, _) = pipes.to_poll(replies=True)
                if reads < 0 or writes < 0:
                    return  # the line is just being abandoned: the loop is told when there is another
                # The pipes are kept, so that their descriptors' numbers cannot belong to other files meanwhile.
                self._pipes, self._reads, self._writes = pipes, reads, writes
                self._loop.add_reader(reads, self._read)
        if self._pipes is not None and bool(self._pipes.output) is not self._is_writing:
            self._is_writing = not self._is_writing
            if self._is_writing:
                self._loop.add_writer(self._writes, self.look)
            else:
                self._loop.remove_writer(self._writes)

    def _unwatch(self) -> None:
        if self._pipes is not None:
            self._loop.remove_reader(self._reads)
            if self._is_writing:
                self._loop.remove_writer(self._writes)
            self._pipes, self._is_writing = None, False

    def _read(self) -> None:
        self._read_once()
        self._watch()
        self._settle()

    def _read_once(self) -> None:
        line = self.lines.current
        if line.pipes is not None and line.reading.take():
            self._lead(line, line.look, pumped=True)

    # ------------------------------------------------------------------ waking

    def _settle(self) -> None:
        """Wake the coroutines whose requests are answered, and those that wait for room."""
        while self._left_alone and self._left_alone[0].done:
            self._drop(self._left_alone.popleft())
        calls = self._calls
        for _ in range(_AT_ONCE):
            if not calls or not calls[0].sent.done:  # type: ignore[union-attr]
                break
            future, _, sent = calls[0]
            if not future.done():
                future.set_result(True)
            elif sent is not None and future.cancelled():
                self._drop(sent)
            calls.popleft()  # last: an exception out of a signal handler may come before
        else:
            self.tell()
        if self._flushes:
            self._settle_flushes()
        if self._rooms:
            self._give_room()

    def _drop(self, sent: Sent) -> None:
        """Handle the answer of a request whose caller has left: what its handler has logged is still logged."""
        if sent.answer is not None and sent.answer.logs and not sent.late:  # the session handles late answers
            self._port.log(self.shard, self.lines.pid, sent.answer.logs)

    def _settle_flushes(self) -> None:
        for waiter in self._flushes:
            if waiter.sent is not None and waiter.sent.done and not waiter.future.done():
                waiter.future.set_result(True)
        self._flushes = [waiter for waiter in self._flushes if not waiter.future.done()]

    def _give_room(self) -> None:
        room = self._max_unacknowledged - self.lines.current.session.unacknowledged
        if self.lines.failure is not None:
            room = len(self._rooms)
        while self._rooms and room > 0:
            future = self._rooms[0].future
            if not future.done():
                future.set_result(True)
                room -= 1
            self._rooms.popleft()

    def _look_by(self, deadline: float) -> None:
        """See to it that the channel is looked at until a time of the loop, and within a second."""
        now = self._loop.time()
        at = min(deadline, now + _LOOK_EVERY)
        before = self._looks
        if self._detached or (before and now < before[0].when() <= at):
            return
        look, again = self._expire, at + _LOOK_EVERY
        self._looks = self._loop.call_at(at, look), self._loop.call_at(again, look)
        for one in before:
            one.cancel()

    def _expire(self) -> None:
        """Give up what has waited too long, and mend what an exception out of a signal handler has cut off."""
        self._look_by(self._loop.time() + _LOOK_EVERY)
        self._mend()
        self._read_what_is_there()  # if the loop itself was held up, answers may lie in the pipe
        self._give_up_late_ones(self._loop.time())
        self._settle()
        heads = [queue[0].deadline for queue in (self._calls, self._rooms, self._flushes) if queue]
        if heads:
            self._look_by(min(heads))
        else:
            self._rest()

    def _rest(self) -> None:
        """Look at the channel no more until a coroutine waits."""
        looks, self._looks = self._looks, ()
        for look in looks:
            look.cancel()

    def _give_up_late_ones(self, now: float) -> None:
        while self._rooms and self._rooms[0].deadline <= now:
            _give_up(self._rooms[0].future)
            self._rooms.popleft()
        while self._calls and self._calls[0].deadline <= now:
            future, _, sent = self._calls[0]
            if sent is None or sent.done:
                break  # it is answered, and only waits to be woken
            _give_up(future)
            self._left_alone.append(sent)
            self._calls.popleft()

    def _mend(self) -> None:
        """Abandon a line on which a call or callback was cut off, and watch the present one's pipes anew.

        Only the loop's thread uses lines, and this is called by the loop itself. So nobody is in the middle of a call.
        """
        self._told = -math.inf
        line = self.lines.current
        if line.busy or line.torn or line.turn.is_taken() or line.reading.is_taken():
            self.lines.leave(line)
        elif line.pipes is None and self.lines.failure is None:
            self._port.want(self.shard)
        self._unwatch()

    def _read_what_is_there(self) -> None:
        before = -1
        while self.lines.current.session.acknowledged != before:
            before = self.lines.current.session.acknowledged
            self._read_once()
        self._watch()


def _give_up(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)
