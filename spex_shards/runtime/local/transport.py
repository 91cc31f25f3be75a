"""The transport to a shard in the calling process: without pipes or other processes."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from ...errors import CallTimeout, DataDirError, DataDirLocked, ManagerClosed, SpexError
from ...log_fields import about_error
from ..client.failures import Failures
from ..client.mailbox import Mailbox
from ..data_dir import DataDir
from ..protocol.operations import STATS, Operation
from ..protocol.records import decode_value
from ..protocol.requests import DECLARE
from ..shard_info import ShardInfo, ShardStatus
from ..system.turns import interruption
from ..system.user_code import report
from ..transport import unapplied
from .local_shard import LocalOptions, LocalShard
from .tenure import Tenure

logger = logging.getLogger("spex_shards")
_transports: weakref.WeakSet[LocalTransport] = weakref.WeakSet()


_MOST_LATE: Final = 8192
"""The most requests that are left because the shard was held up; further ones are refused."""


@dataclass(slots=True, eq=False)
class _Left:
    """A request that is left for another call to carry out.

    It was posted in the middle of another call of its thread, or it is late: the shard was held up, and its caller did
    not wait.

    Attributes:
        late: Whether it is late.
        attempt: The tenure in which it was last begun, and the sequence under which its batch would be committed there.
        done: Whether it is applied, or failed and was reported.
    """

    operation: Operation
    arguments: tuple[Any, ...]
    now: int
    thread: int
    late: bool = False
    attempt: tuple[Tenure, int] | None = None
    done: bool = False


class _Applied(Exception):
    """Another call has applied the request meanwhile."""


class LocalTransport:
    """One shard, open in this process. A forked child cannot use it: its calls raise `DataDirLocked`.

    Args:
        directory: Its data directory, of one shard.
        options: The options.
        mailbox: Receives the messages.

    Attributes:
        inherited: Whether this is a forked child, and the transport belongs to its parent.
        shard: The shard.

    Raises:
        DataDirError: The directory is locked, damaged, has another layout, or cannot be used.
    """

    shard_count: Final = 1
    ships: Final = False

    def __init__(self, directory: DataDir, options: LocalOptions, mailbox: Mailbox) -> None:
        self._directory = directory
        self._mailbox = mailbox
        self._failures = Failures()
        self._batches = 0
        self._requests: Counter[str] = Counter()
        self._left: deque[_Left] = deque()
        self.inherited = self._held_up = False
        self.shard = LocalShard(directory, options)
        _transports.add(self)
        try:
            self._start_mailbox()
            self.shard.start()
        except BaseException:
            self.shard.stop()
            raise

    def _start_mailbox(self) -> None:
        try:
            self._mailbox.start()
        except RuntimeError as error:  # the system gives no thread
            text = f"this process cannot start the threads that a manager needs: {error}"
            raise DataDirError(text, path=str(self._directory.path)) from error

    def check(self) -> None:
        """Raise if this is a forked child.

        Raises:
            DataDirLocked: The transport belongs to the parent.
        """
        if self.inherited:
            raise DataDirLocked(
                f"the data directory {self._directory.path} belongs to the process that forked this one; "
                'use manager = "sharded" (or a ShardedInstanceManager), which forked children attach to',
                pid=os.getppid(),
            )

    def shard_of(self, key: bytes) -> int:  # noqa: ARG002 - there is one shard
        """Return 0."""
        return 0

    def call(self, key: bytes, operation: Operation, arguments: tuple[Any, ...]) -> Any:  # noqa: ARG002 - there is one
        """Carry out an operation; return its plain answer once its changes are durable."""
        value = self._carry_out(operation, arguments)
        if isinstance(value, SpexError):
            raise value
        return value

    def post(self, key: bytes, operation: Operation, arguments: tuple[Any, ...]) -> None:  # noqa: ARG002
        """Carry out an operation now, or, inside another call of this thread, when that call is about to return."""
        self.check()
        if self.shard.is_inside():
            self._left.append(_Left(operation, arguments, time.time_ns() // 1000, threading.get_ident()))
        else:
            self._note(lambda: self._carry_out(operation, arguments))

    def offer(
        self,
        key: bytes,  # noqa: ARG002 - there is one shard
        operation: Operation,
        arguments: tuple[Any, ...],
        within: float,
        *,
        waits: bool,
    ) -> None:
        """Carry out an operation now; if other calls hold the shard up for longer, leave it for the next call.

        What was left is carried out first, so that the order is kept. The work itself takes as long as it takes: it is
        done by the calling thread.
        """
        self.check()
        if not waits and self.shard.is_inside():
            self._leave(operation, arguments)
            return
        try:
            value = self._within(operation, arguments, within)
        except CallTimeout:
            self._leave(operation, arguments, late=True)
            if waits:
                raise
            return
        if not waits:
            report(value)
        elif isinstance(value, SpexError):
            raise value

    def _within(self, operation: Operation, arguments: tuple[Any, ...], within: float) -> Any:
        """Carry out what was left and an operation; do not wait for other calls if the last wait for them was in vain.

        Raises:
            CallTimeout: The wait has ended, and the operation was not begun.
        """
        try:
            deadline = time.monotonic() + (0.0 if self._held_up else within)
            if self._left and not self.shard.is_inside():
                self._apply_left(deadline)
            value = self._carry_out(operation, arguments, deadline)
        except CallTimeout:
            self._held_up = True
            raise
        self._held_up = False
        return value

    def _leave(self, operation: Operation, arguments: tuple[Any, ...], *, late: bool = False) -> None:
        if late and len(self._left) >= _MOST_LATE:
            text = f"other calls of this process hold the shard up, and {_MOST_LATE} operations wait already"
            raise CallTimeout(text, shard=0, maybe_executed=False)
        self._left.append(_Left(operation, arguments, time.time_ns() // 1000, threading.get_ident(), late))

    def failed(self) -> Counter[type[SpexError]]:
        """Return how many posted operations have failed since the start, by the errors' classes."""
        return Counter(self._failures.by_class)

    def call_shards(self, operation: Operation, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Carry out an operation on the one shard."""
        outcomes: dict[int, Any] = {}
        for shard, of_shard in arguments.items():
            try:
                outcomes[shard] = self._carry_out(operation, of_shard)
            except SpexError as error:
                if interruption(error) is not None:
                    raise
                outcomes[shard] = error
        return outcomes

    def declare(self, name: str, arguments: tuple[Any, ...], within: float | None = None) -> None:
        """Give the service a declaration."""
        self.shard.will_declare(name, arguments)
        if within is None:
            self._carry_out(DECLARE, arguments)
            return
        try:
            self._within(DECLARE, arguments, within)
        except CallTimeout:  # a declaration may come twice, but not too late
            self._leave(DECLARE, arguments, late=True)

    def flush(self, timeout: float | None) -> list[SpexError]:  # noqa: ARG002 - nothing is ever on its way here
        """Return the errors that were not returned before; everything else is applied already."""
        self.check()
        self._apply_left()
        return unapplied(*self._failures.take(), "observations")

    def shards(self) -> list[ShardInfo]:
        """Return the status of the one shard: this process."""
        self.check()
        return [ShardInfo(0, os.getpid(), ShardStatus.READY, 0, None)]

    def stats(self) -> list[dict[str, Any]]:
        """Return the counters of the one shard."""
        own, before = self._carry_out(STATS, ()), self.shard.counted
        return [
            {
                "requests": dict(self._requests),
                **{name: value + before[name] for name, value in own.items()},
                "batches": self._batches,
                "mean_batch_size": 1.0 if self._batches else 0.0,
                "queue_depth": 0,
                "outbox": 0,
                "bytes_in": 0,
                "bytes_out": 0,
                "unapplied": self._failures.total,
            }
        ]

    def reports(self, shards: Iterable[int], within: float) -> dict[int, Any]:  # noqa: ARG002 - it answers at once
        """Return the counters of the one shard, if it is asked for."""
        try:
            return dict.fromkeys(shards, self.stats()[0])
        except SpexError as error:
            return dict.fromkeys(shards, error)

    def revive(self, index: int) -> None:
        """Do nothing: the one shard lives as long as its process."""

    def close(self, timeout: float) -> list[SpexError]:  # noqa: ARG002
        """Write everything to the store and unlock the directory; return the errors that were not returned before."""
        self.check()
        try:
            self._apply_left()
        except ManagerClosed:
            pass  # another close was first, and has applied them
        failure = self.shard.stop()
        _transports.discard(self)
        errors = unapplied(*self._failures.take(), "observations")
        if failure is not None and not errors:
            raise failure
        return errors if failure is None else [*errors, failure]

    # ------------------------------------------------------------------ inside

    def _carry_out(self, operation: Operation, arguments: tuple[Any, ...], deadline: float | None = None) -> Any:
        if self.inherited:
            self.check()
        if self._left and self._left[0].late and deadline is None and not self.shard.is_inside():
            self._apply_left()  # what is late comes before what is called now
        self._requests[operation.name] += 1
        value = self.shard.carry_out(
            operation,
            arguments,
            self._deliver,
            now=time.time_ns() // 1000,
            thread=threading.get_ident(),
            until=deadline,
        )
        self._batches += 1
        if self._left:
            with suppress(CallTimeout):  # they stay left; the operation itself is carried out
                self._apply_left(deadline)
        return value

    def _deliver(self, message: bytes) -> None:
        self._mailbox.put(0, decode_value(message))

    def _apply_left(self, deadline: float | None = None) -> None:
        """Carry out the requests that other calls have left, in order.

        Raises:
            CallTimeout: The shard is held up beyond the deadline.
        """
        while self._left:
            left = self._left[0]
            if not self._is_applied(left):
                self._apply_one(left, deadline)
            left.done = True
            if self._left and self._left[0] is left:
                self._left.popleft()

    def _apply_one(self, left: _Left, deadline: float | None) -> None:
        def begins(tenure: Tenure) -> None:
            # A call of another thread, or one that interrupted this one, may have applied it.
            if self._is_applied(left):
                raise _Applied
            left.attempt = tenure, tenure.store.last + 1  # if this call is cut off, this tells whether it was committed

        def step() -> Any:
            return self.shard.carry_out(
                left.operation, left.arguments, self._deliver, now=left.now, thread=left.thread, begins=begins,
                until=deadline,
            )  # fmt: skip

        with suppress(_Applied):
            self._note(step, late=left.late)

    def _is_applied(self, left: _Left) -> bool:
        return left.done or (left.attempt is not None and self.shard.was_kept(*left.attempt))

    def _note(self, step: Callable[[], SpexError | None], *, late: bool = False) -> None:
        try:
            word = step()
            report(word)
            if late and isinstance(word, SpexError):
                self._failures.add(word)
        except (ManagerClosed, CallTimeout):
            raise
        except SpexError as error:
            if interruption(error) is not None:
                raise
            logger.error("an observation could not be applied: %s", error, extra=about_error(error, "unapplied"))
            self._failures.add(error)


def _after_fork_in_child() -> None:
    for transport in list(_transports):
        # The LMDB environment and the lock belong to the parent: the child neither uses nor closes the environment.
        transport.inherited = True
        transport.shard.drop()


os.register_at_fork(after_in_child=_after_fork_in_child)
