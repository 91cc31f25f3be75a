"""The channel of one process to one shard: threads in, pipes out.

A call takes a number, writes its frame, and reads the reply itself: no other thread is on its path.

# Guarantees:
#
# * Number, place in the window and bytes in the output are taken under one lock, so the order of calls is the order
#   on the pipe.
# * What went wrong between the first and the last byte of a frame breaks the channel; the courier opens a new one,
#   where the whole window is sent again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from ..errors import CallTimeout, ManagerClosed, ShardFailed, SpexError
from ..protocol import NOT_ANSWERED, NOWAIT, Kind
from ..records import error_of, error_plain
from .state import State
from .waiting import Waiting, is_of_pipe

logger = logging.getLogger("spex_shards")


class Channel(Waiting):
    """One shard, as this process reaches it.

    Args:
        shard: Its index.
        reopen: Asks the courier for new pipe ends.
        blocked: Tells the courier that something waits to be written that no caller may be there to write.
        max_unacknowledged: Size of the window for requests that nobody waits for.
        max_frame_bytes: Most bytes of a request.
        greeting: Returns the frames (specifications) that follow the hello on every new channel.
    """

    def __init__(
        self,
        shard: int,
        reopen: Callable[[int], None],
        blocked: Callable[[int], None],
        max_unacknowledged: int,
        max_frame_bytes: int,
        greeting: Callable[[], bytes],
    ) -> None:
        super().__init__(shard, blocked)
        self.generation = 0
        self.pid: int | None = None
        self.exit: str | None = None
        self.failure: SpexError | None = None
        self.last_code = 0
        self.unapplied = 0
        self._reported = 0
        self._reopen = reopen
        self._max_unacknowledged = max_unacknowledged
        self._max_frame_bytes = max_frame_bytes
        self._greeting = greeting

    # ------------------------------------------------------------------ calls

    def call(self, kind: Kind, arguments: tuple[Any, ...], timeout: float) -> Any:
        """Send a request and wait for its entry; None is plain success.

        Raises:
            CallTimeout: The wait ended first; the request may be applied all the same.
            ShardFailed, ShardDown: It cannot be carried out.
        """
        deadline = time.monotonic() + timeout
        return self.finish(self._send(kind, arguments, waits=True), kind, deadline)

    def start(self, kind: Kind, arguments: tuple[Any, ...]) -> int:
        """Send a request that `finish` will wait for; return its number."""
        return self._send(kind, arguments, waits=True)

    def finish(self, number: int, kind: Kind, deadline: float) -> Any:
        """Wait for the entry of a request sent by `start`; as `call`."""
        session = self._session
        try:
            answered = self._wait_for(number, deadline)
        except BaseException:
            with self._lock:
                session.give_up(number)
            raise
        with self._lock:
            entry = session.answer(number)
        if not answered:
            raise CallTimeout(
                f"shard {self.shard} (pid {self.pid}) did not answer {kind.name.lower()} within its timeout; "
                "it may be applied later",
                **self._facts(maybe_executed=True),
            )
        return entry

    def post(self, kind: Kind, arguments: tuple[Any, ...], timeout: float) -> None:
        """Send a request that nobody waits for; blocks while the window is full.

        Raises:
            CallTimeout: There was no room within `timeout`; nothing was sent.
            ShardFailed: The shard is given up.
        """
        session = self._session
        if session.unacknowledged >= self._max_unacknowledged or self._pipes.output:
            self._make_room(time.monotonic() + timeout, kind, timeout)
        self._send(kind | NOWAIT, arguments, waits=False)

    def flush(self, deadline: float | None) -> bool:
        """Wait until everything sent so far is answered; False when the deadline passed first."""
        with self._lock:
            last = self._session.last
        return self._wait_for(last, deadline)

    def take_failures(self) -> list[Any]:
        """Return, once, the entries of requests that nobody waited for and that could not be applied."""
        with self._lock:
            failures, self._session.failures = self._session.failures, []
            self._reported = 0
        return failures

    def register(self, data: bytes) -> None:
        """Send a notice ahead of what follows; on a channel that is still to come, the greeting has it."""
        with self._lock:
            if self.state is State.OPEN:
                self._write(data)

    def is_new(self, number: int, *, report: bool) -> bool:
        """Take the number of an event or report, by the courier; return whether it was not here before."""
        return self._session.is_new(number, report=report)

    def confirm_reports(self) -> None:
        """Tell the shard which reports are logged; the next hello says it too."""
        with self._lock:
            # At the end too, when the channel is shut but its ends are there still.
            if self.state is State.OPEN or (self.state is State.FAILED and self._pipes.are_free):
                self._write(self._session.seen())

    def _send(self, kind: int, arguments: tuple[Any, ...], *, waits: bool) -> int:
        with self._lock:
            if self.state is not State.OPEN:
                if self.failure is not None:
                    raise self._failure_now(maybe_executed=False)
                self._open_locked()
            session = self._session
            last, done = session.last, False
            try:
                number, data = session.add(kind, threading.get_ident(), arguments, waits=waits)
                if len(data) > self._max_frame_bytes:
                    session.take_back(number)
                    raise ValueError(
                        f"a request must have at most max_frame_bytes={self._max_frame_bytes} bytes, got: {len(data)}"
                    )
                self.last_code = kind
                if self.state is State.OPEN:
                    session.written = number
                    self._write(data)
                done = True
            finally:
                if not done and session.last != last:
                    self._break_locked()  # it has its number and was not written, maybe
            return number

    def _write(self, data: bytes) -> None:
        # With the lock held.
        pipes = self._pipes
        before = bool(pipes.output)
        try:
            pipes.write(data)
        except BaseException as error:
            self._break_locked()
            if not is_of_pipe(error):
                raise
        if pipes.output and not before:
            self._blocked(self.shard)

    # ------------------------------------------------------------------ replies

    def _take(self, replies: list[Any]) -> None:
        with self._lock:
            for reply in replies:
                if reply[0] == NOT_ANSWERED:
                    self._refused(reply[1][0][2])
                    return
                self._session.receive(reply)
            if self._followers:
                self._followers.wake_answered(self._session.acknowledged)
            failures = self._session.failures[self._reported :] if self._session.failures else ()
            self._reported += len(failures)
        for failure in failures:
            self.unapplied += 1
            logger.error("shard %d could not apply an observation: %s", self.shard, error_of(failure[2]))

    def _make_room(self, deadline: float, kind: Kind, timeout: float) -> None:
        session = self._session
        while True:
            if self.state is State.FAILED:
                raise self._failure_now(maybe_executed=False)
            if session.unacknowledged < self._max_unacknowledged and not self._pipes.output:
                return
            if time.monotonic() >= deadline:
                raise CallTimeout(
                    f"shard {self.shard} (pid {self.pid}) took no further {kind.name.lower()} within {timeout} s: "
                    f"{session.unacknowledged} requests are unacknowledged",
                    **self._facts(maybe_executed=False),
                )
            if not self._leading(self._step, (deadline - time.monotonic()) * 1000):
                self._follow(session.acknowledged + 1, deadline)

    # ------------------------------------------------------------------ opening and breaking

    def open(self) -> None:
        """Ask for pipe ends, unless they are there or asked for."""
        with self._lock:
            self._open_locked()

    def _open_locked(self) -> None:
        if self.state is State.CLOSED:
            self.state = State.OPENING
            self._reopen(self.shard)

    def install(self, generation: int, pid: int, requests: int, replies: int) -> None:
        """Take new pipe ends, by the courier: greet, and send the whole window again."""
        self._pipes.wake()
        with self._leader.lock, self._lock:
            if self.state is State.FAILED:  # closed meanwhile
                os.close(requests)
                os.close(replies)
                return
            self._pipes.install(requests, replies)
            self.generation, self.pid, self.state = generation, pid, State.OPEN
            self._write(self._session.hello(os.getpid()) + self._greeting() + self._session.unanswered())
            self._followers.wake_all()

    def break_if(self, generation: int, exit_text: str | None) -> None:
        """The worker of that generation is dead, as the supervisor says."""
        with self._lock:
            self.exit = exit_text
            if self.state is State.OPEN and self.generation == generation:
                self._break_locked()

    def lose(self) -> None:
        """The connection to the supervisor is gone: ask anew, also for what it had given up."""
        self.revive()
        with self._lock:
            if self.state in (State.OPEN, State.OPENING):
                self.state = State.OPEN
                self._break_locked()

    def fail(self, failure: SpexError) -> None:
        """The shard is given up: nothing that is waiting will be answered."""
        with self._lock:
            if isinstance(self.failure, ManagerClosed):
                return
            self.state = State.FAILED
            self.failure = failure
            lost = self._session.abandon(error_plain(self._failure_now(maybe_executed=True)))
            if lost:
                self.unapplied += len(lost)
                self._session.failures.append([lost[0], False, error_plain(self._lost_with(failure, len(lost))), []])
                self._reported += 1
            self._pipes.wake()
            self._followers.wake_all()
        if lost:
            logger.error("%d observations for shard %d could not be applied: %s", len(lost), self.shard, failure)

    def revive(self) -> None:
        """Forget a failure: the shard may be there again."""
        with self._lock:
            if self.state is State.FAILED and not isinstance(self.failure, ManagerClosed):
                self.state, self.failure = State.CLOSED, None

    def pump(self) -> list[tuple[int, int]]:
        """By the courier, when something waits to be written: write what fits, and read what is there if nobody leads.

        The shard may read nothing more until its replies are read. Returns what to poll for, as (descriptor, events);
        nothing when all is written.
        """
        with self._lock:
            try:
                if self.state is State.OPEN:
                    self._pipes.write_output()
                if not self._pipes.output:
                    self._followers.wake_all()  # they may have waited for room
            except OSError:
                self._break_locked()
        if not self._pipes.output or self.state is not State.OPEN:
            return []
        return self._pipes.to_poll(replies=self._leading(self._step, 0))

    def shut(self) -> None:
        """Carry nothing any more; whoever waits is told that the manager is closed."""
        text = f"the manager was closed before shard {self.shard} had answered"
        self.fail(ManagerClosed(text, **self._facts(maybe_executed=True)))

    def close(self) -> None:
        """After `shut`, and when the courier has ended: close this side's ends."""
        with self._leader.lock, self._lock:
            self._pipes.close()

    def forget(self) -> None:
        """In a forked child: close the inherited ends and start anew; nothing of the parent's is touched."""
        self._pipes.close()
        self.__init__(  # type: ignore[misc]
            self.shard, self._reopen, self._blocked, self._max_unacknowledged, self._max_frame_bytes, self._greeting
        )

    @property
    def last_request(self) -> str:
        """What was asked for last."""
        return Kind(self.last_code & ~NOWAIT).name.lower() if self.last_code else "none"

    def _break(self) -> None:
        with self._lock:
            self._break_locked()

    def _break_locked(self) -> None:
        if self.state is State.OPEN:
            self.state = State.OPENING
            self._pipes.output.clear()
            self._reopen(self.shard)
            self._pipes.wake()

    def _refused(self, plain: Any) -> None:
        # With the lock held. The shard will not go on with what was sent: sending it again would end the same way.
        error = error_of(plain)
        self._session.refuse_all(plain)
        self.exit = str(error)
        self._break_locked()
        self._followers.wake_answered(self._session.acknowledged)

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
