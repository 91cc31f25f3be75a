"""The channel of one process to one shard: threads in, pipes out.

A call takes a number, writes its frame, and reads the reply itself: no other thread is on its path. Where several
threads wait, one of them leads (it alone reads the reply pipe) and wakes the others as their answers come.

# Guarantees:
#
# * Number, place in the window and bytes in the output are taken under one lock, so the order of calls is the order
#   on the pipe.
# * Leadership is handed on whatever happens to the leader.
# * What went wrong between the first and the last byte of a frame breaks the channel; the courier opens a new one,
#   where the whole window is sent again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from ..errors import CallTimeout, ShardDown, ShardFailed, SpexError
from ..protocol import NOT_ANSWERED, NOWAIT, Kind, ProtocolError
from ..records import error_of
from ..session import ClientSession
from .followers import Followers
from .pipes import Pipes
from .state import State

_POLL_AT_MOST: Final = 1000
logger = logging.getLogger("spex_shards")


class Channel:
    """One shard, as this process reaches it.

    Args:
        shard: Its index.
        reopen: Asks the courier for new pipe ends.
        max_unacknowledged: Size of the window for requests that nobody waits for.
        max_frame_bytes: Most bytes of a request.
        greeting: Returns the frames (specifications) that follow the hello on every new channel.
    """

    def __init__(
        self,
        shard: int,
        reopen: Callable[[int], None],
        max_unacknowledged: int,
        max_frame_bytes: int,
        greeting: Callable[[], bytes],
    ) -> None:
        self.shard = shard
        self.state = State.CLOSED
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
        self._session = ClientSession()
        self._lock = threading.Lock()
        self._leader = threading.Lock()
        self._followers = Followers()
        self._pipes = Pipes()

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
        if entry is None and session.acknowledged_by_shard < number:
            raise self._failure_now(maybe_executed=True)
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
            number, data = self._session.add(kind, threading.get_ident(), arguments, waits=waits)
            if len(data) > self._max_frame_bytes:
                self._session.take_back(number)
                raise ValueError(
                    f"a request must have at most max_frame_bytes={self._max_frame_bytes} bytes, got: {len(data)}"
                )
            self.last_code = kind
            if self.state is State.OPEN:
                self._write(data)
            return number

    def _write(self, data: bytes) -> None:
        # With the lock held.
        try:
            self._pipes.write(data)
        except OSError:
            self._break_locked()
        except BaseException:
            self._break_locked()
            raise

    # ------------------------------------------------------------------ waiting: leader and followers

    def _wait_for(self, number: int, deadline: float | None) -> bool:
        """Wait until everything up to `number` is answered, or nothing will be; False when the deadline passed."""
        session = self._session
        while session.acknowledged < number and self.state is not State.FAILED:
            if deadline is not None and time.monotonic() >= deadline:
                return False
            if self.state is State.OPEN and self._leader.acquire(blocking=False):
                try:
                    self._lead(number, deadline)
                finally:
                    self._step_down()
            else:
                self._follow(number, deadline)
        return True

    def _lead(self, number: int, deadline: float | None) -> None:
        session = self._session
        while session.acknowledged < number and self.state is State.OPEN:
            if deadline is None:
                self._step(_POLL_AT_MOST)
                continue
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return
            self._step(remaining * 1000)

    def _step(self, milliseconds: float) -> None:
        # By the leader only: wait for the pipes once, and do what they allow.
        readable, writable = self._pipes.wait(min(_POLL_AT_MOST, milliseconds))
        try:
            if readable:
                self._take(self._pipes.read())
            if writable:
                with self._lock:
                    self._pipes.write_output()
        except (EOFError, OSError, ProtocolError):
            self._break()
        except BaseException:
            # Between the first and the last byte of a frame, maybe: what is in the pipe cannot be told.
            self._break()
            raise

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

    def _follow(self, number: int, deadline: float | None) -> None:
        """Wait to be woken, as one who does not lead, for a second at most."""
        with self._lock:
            if self._session.acknowledged >= number or self.state is State.FAILED:
                return
            gate = self._followers.join(number)
        # The leader may have stepped down just before it could see this one: then there is nobody to be woken by.
        if self.state is not State.OPEN or self._leader.locked():
            self._followers.wait(gate, None if deadline is None else deadline - time.monotonic())
        with self._lock:
            self._followers.leave(gate)

    def _step_down(self) -> None:
        # Leadership is handed on whatever happens to the leader.
        self._leader.release()
        if self._followers:
            with self._lock:
                self._followers.wake_one()

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
            if self.state is State.OPEN and self._leader.acquire(blocking=False):
                try:
                    if self.state is State.OPEN:
                        self._step((deadline - time.monotonic()) * 1000)
                finally:
                    self._step_down()
            else:
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
        with self._leader, self._lock:
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
        """The connection to the supervisor is gone: ask anew."""
        with self._lock:
            if self.state in (State.OPEN, State.OPENING):
                self.state = State.OPEN
                self._break_locked()

    def fail(self, failure: SpexError) -> None:
        """The shard is given up: nothing that is waiting will be answered."""
        with self._lock:
            self.state = State.FAILED
            self.failure = failure
            lost = self._session.abandon()
            if lost:
                self.unapplied += len(lost)
                self._session.failures.append([lost[0], False, None, len(lost)])
                self._reported += 1
            self._pipes.wake()
            self._followers.wake_all()
        if lost:
            logger.error("%d observations for shard %d could not be applied: %s", len(lost), self.shard, failure)

    def revive(self) -> None:
        """Forget a failure: the shard may be there again."""
        with self._lock:
            if self.state is State.FAILED:
                self.state, self.failure = State.CLOSED, None

    def pump(self) -> bool:
        """By the courier, after a re-opening: write what fits, read what is there; return whether more is left."""
        if self._pipes.output and self.state is State.OPEN and self._leader.acquire(blocking=False):
            try:
                if self.state is State.OPEN:
                    self._step(0)
            finally:
                self._step_down()
        return bool(self._pipes.output) and self.state is State.OPEN

    def shut(self) -> None:
        """Carry nothing any more; whoever waits is told that the shard is gone."""
        self.fail(ShardDown(f"the channel to shard {self.shard} is closed", **self._facts(maybe_executed=True)))

    def close(self) -> None:
        """After `shut`, and when the courier has ended: close this side's ends."""
        with self._leader, self._lock:
            self._pipes.close()

    def forget(self) -> None:
        """In a forked child: close the inherited ends and start anew; nothing of the parent's is touched."""
        self._pipes.close()
        self.__init__(  # type: ignore[misc]
            self.shard, self._reopen, self._max_unacknowledged, self._max_frame_bytes, self._greeting
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
