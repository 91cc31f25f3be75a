"""The way to a shard in the calling process: no pipe, no process."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from ...errors import DataDirError, DataDirLocked, ManagerClosed, SpexError
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


@dataclass(slots=True, eq=False)
class _Left:
    """A request that a call inside another call of its thread has left.

    `attempt` is the tenure in which it was begun last, and the sequence of the batch that would keep it there. `done`:
    somebody has applied it, or said why it cannot be.
    """

    operation: Operation
    arguments: tuple[Any, ...]
    now: int
    thread: int
    attempt: tuple[Tenure, int] | None = None
    done: bool = False


class _Applied(Exception):
    """Another call has applied it meanwhile."""


class LocalTransport:
    """One shard, open in this process. A forked child cannot use it: its calls raise `DataDirLocked`.

    Args:
        directory: Its data directory, of one shard.
        options: The options.
        mailbox: Where messages go.

    Attributes:
        inherited: Whether it is the parent's of this forked child.
        shard: The shard.

    Raises:
        DataDirError: The directory is locked, damaged, of another layout, or cannot be used.
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
        self.inherited = False
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
        except RuntimeError as error:  # what the system has no thread for
            text = f"this process cannot start the threads that a manager needs: {error}"
            raise DataDirError(text, path=str(self._directory.path)) from error

    def check(self) -> None:
        """Do nothing where it can be used.

        Raises:
            DataDirLocked: It is the parent's of this forked child.
        """
        if self.inherited:
            raise DataDirLocked(
                f"the data directory {self._directory.path} belongs to the process that forked this one; "
                'use manager = "sharded" (or a ShardedInstanceManager), which forked children attach to',
                pid=os.getppid(),
            )

    def call(self, key: bytes, operation: Operation, arguments: tuple[Any, ...]) -> Any:  # noqa: ARG002 - there is one
        """Carry an operation out, durably; return its plain answer."""
        value = self._carry_out(operation, arguments)
        if isinstance(value, SpexError):
            raise value
        return value

    def post(self, key: bytes, operation: Operation, arguments: tuple[Any, ...]) -> None:  # noqa: ARG002
        """Carry an operation out; or, inside another call of this thread, leave it to that one, on its way out."""
        self.check()
        if self.shard.is_inside():
            self._left.append(_Left(operation, arguments, time.time_ns() // 1000, threading.get_ident()))
        else:
            self._note(lambda: self._carry_out(operation, arguments))

    def call_shards(self, operation: Operation, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Carry an operation out on the one shard."""
        outcomes: dict[int, Any] = {}
        for shard, of_shard in arguments.items():
            try:
                outcomes[shard] = self._carry_out(operation, of_shard)
            except SpexError as error:
                if interruption(error) is not None:
                    raise
                outcomes[shard] = error
        return outcomes

    def declare(self, name: str, arguments: tuple[Any, ...]) -> None:  # noqa: ARG002
        """Make something known to the service."""
        self._carry_out(DECLARE, arguments)

    def flush(self, timeout: float | None) -> list[SpexError]:  # noqa: ARG002 - nothing is ever on its way here
        """Return what could not be applied; everything else is applied already."""
        self.check()
        self._apply_left()
        return unapplied(*self._failures.take(), "observations")

    def shards(self) -> list[ShardInfo]:
        """Return the one shard: this process."""
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
                "bytes_in": 0,
                "bytes_out": 0,
                "unapplied": self._failures.total,
            }
        ]

    def revive(self, index: int) -> None:
        """Do nothing: the one shard lives as long as its process."""

    def close(self, timeout: float) -> list[SpexError]:  # noqa: ARG002
        """Write everything out and give the directory back; return what could not be applied."""
        self.check()
        try:
            self._apply_left()
        except ManagerClosed:
            pass  # another close was first
        failure = self.shard.stop()
        _transports.discard(self)
        errors = unapplied(*self._failures.take(), "observations")
        if failure is not None and not errors:
            raise failure
        return errors if failure is None else [*errors, failure]

    # ------------------------------------------------------------------ inside

    def _carry_out(self, operation: Operation, arguments: tuple[Any, ...]) -> Any:
        if self.inherited:
            self.check()
        self._requests[operation.name] += 1
        value = self.shard.carry_out(
            operation, arguments, self._deliver, now=time.time_ns() // 1000, thread=threading.get_ident()
        )
        self._batches += 1
        if self._left:
            self._apply_left()
        return value

    def _deliver(self, message: bytes) -> None:
        self._mailbox.put(0, decode_value(message))

    def _apply_left(self) -> None:
        """Apply what calls inside other calls of their thread have left."""
        while self._left:
            left = self._left[0]
            if not self._is_applied(left):
                self._apply_one(left)
            left.done = True
            if self._left and self._left[0] is left:
                self._left.popleft()

    def _apply_one(self, left: _Left) -> None:
        def begins(tenure: Tenure) -> None:
            # A call that comes in the middle of this one, or of another thread, may have applied it.
            if self._is_applied(left):
                raise _Applied
            left.attempt = tenure, tenure.store.last + 1  # if this call is cut off, it tells whether it was kept

        def step() -> Any:
            return self.shard.carry_out(
                left.operation, left.arguments, self._deliver, now=left.now, thread=left.thread, begins=begins
            )

        with suppress(_Applied):
            self._note(step)

    def _is_applied(self, left: _Left) -> bool:
        return left.done or (left.attempt is not None and self.shard.was_kept(*left.attempt))

    def _note(self, step: Callable[[], SpexError | None]) -> None:
        try:
            report(step())
        except ManagerClosed:
            raise
        except SpexError as error:
            if interruption(error) is not None:
                raise
            logger.error("an observation could not be applied: %s", error)
            self._failures.add(error)


def _after_fork_in_child() -> None:
    for transport in list(_transports):
        # The environment is the parent's: it is neither used nor closed here, and the lock is not ours.
        transport.inherited = True
        transport.shard.drop()


os.register_at_fork(after_in_child=_after_fork_in_child)
