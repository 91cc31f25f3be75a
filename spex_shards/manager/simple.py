"""`SimpleInstanceManager`: a manager without processes."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from ..domain.instance import Instance
from ..domain.specification import Specification
from ..engine import Engine
from ..engine.handlers import Caller, handler_running, report
from ..errors import DataDirError, DataDirLocked, ManagerClosed, SpexError
from ..messages.specifications import describe
from ..runtime.client.call_site import locate
from ..runtime.client.failures import Failures
from ..runtime.client.mailbox import Mailbox
from ..runtime.local.local_shard import LocalShard
from ..runtime.protocol.records import decode_value, encode_value
from ..runtime.protocol.requests import Kind
from ..runtime.shard_info import ShardInfo, ShardStatus
from ..runtime.store.data_dir import DataDir
from ..runtime.system.turns import interruption
from .base import MESSAGES_WITHIN, InstanceManager, logger, raise_unapplied
from .options import UNSET
from .reading import Life
from .settings import load_specifications, options_from

_US = timedelta(microseconds=1)
logger.addFilter(locate)
_managers: weakref.WeakSet[SimpleInstanceManager] = weakref.WeakSet()


@dataclass(slots=True, eq=False)
class _Left:
    """An observation that a call inside another call of its thread has left; `sequence` is the batch that keeps it."""

    kind: Kind
    key: bytes
    arguments: tuple[Any, ...]
    now: int
    thread: int
    sequence: int | None = None


class SimpleInstanceManager(InstanceManager):
    """An instance manager without processes: the same calls and options as `ShardedInstanceManager`.

    Its data directory is one of one shard, which either manager opens. Options about processes are checked and then
    ignored. A daemon thread does what timers and pruning ask for. A forked child cannot use it: its first call raises
    `DataDirLocked`.
    """

    def __init__(
        self,
        *,
        distribution_factor: Any = UNSET,
        data_dir: Any = UNSET,
        impl_models_dir: Any = UNSET,
        check_transition_timeouts_on_start: Any = UNSET,
        prune_interval: Any = UNSET,
        durability: Any = UNSET,
        specifications: Any = UNSET,
        learning_mode: Any = UNSET,
        max_restarts: Any = UNSET,
        max_seconds: Any = UNSET,
        retry_failed: Any = UNSET,
        call_timeout: Any = UNSET,
        max_unacknowledged: Any = UNSET,
        max_frame_bytes: Any = UNSET,
        hang_timeout: Any = UNSET,
        shutdown_timeout: Any = UNSET,
        on_message: Any = UNSET,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self._options = options_from(given)
        self._specifications = load_specifications(self._options["specifications"])
        self._life = Life.NEW
        self._changing = threading.RLock()
        self._mailbox = Mailbox(self._options["on_message"])
        self._directory = DataDir(Path(self._options["data_dir"]).absolute())
        self._shard = LocalShard(self._directory, self._options, self._specifications)
        self._known: set[type[Specification]] = set()
        self._failures = Failures()
        self._batches = 0
        self._requests: Counter[Kind] = Counter()
        self._left: deque[_Left] = deque()

    # ------------------------------------------------------------------ life

    def start(self) -> Self:
        """Open the directory and its store."""
        with self._changing:
            if self._life is not Life.NEW:
                raise ManagerClosed(f"the manager is {self._life.value}: it starts once")
            self._life = Life.STARTING
            _managers.add(self)
            try:
                self._start_mailbox()
                self._shard.start()
                atexit.register(self._at_exit)
                self._life = Life.STARTED
            except BaseException:
                self._undo_start()
                raise
        return self

    def _start_mailbox(self) -> None:
        try:
            self._mailbox.start()
        except RuntimeError as error:  # what the system has no thread for
            text = f"this process cannot start the threads that a manager needs: {error}"
            raise DataDirError(text, path=str(self._directory.path)) from error

    def _undo_start(self) -> None:
        self._life = Life.NEW
        atexit.unregister(self._at_exit)
        self._shard.stop()
        self._shard = LocalShard(self._directory, self._options, self._specifications)

    def close(self) -> None:
        """Write everything out and give the directory back.

        A close that was cut off by an exception, or that is interrupted by a signal handler which closes as well, is
        done again from its beginning: each of its steps may be repeated.
        """
        deadline = time.monotonic() + self._options["shutdown_timeout"]
        with self._changing:
            if self._life in (Life.NEW, Life.CLOSED):
                self._life = Life.CLOSED
                return
            if self._life is Life.FORKED or handler_running():
                self._check()
            if self._life is Life.STARTED:
                self._apply_left()
            self._life = Life.CLOSING
            failure = self._shard.stop()
            _managers.discard(self)
            atexit.unregister(self._at_exit)
            self._life = Life.CLOSED
        self._mailbox.close(max(MESSAGES_WITHIN, deadline - time.monotonic()))
        errors = self._take_unapplied()
        if failure is not None and not errors:
            raise failure
        raise_unapplied([*errors, failure] if failure is not None else errors)

    def flush(self, timeout: float | None = None) -> None:  # noqa: ARG002 - nothing is ever on its way here
        """Raise what could not be applied; everything else is applied already."""
        self._check()
        self._apply_left()
        raise_unapplied(self._take_unapplied())

    def shards(self) -> list[ShardInfo]:
        """Return the one shard: this process."""
        self._check()
        return [ShardInfo(0, os.getpid(), ShardStatus.READY, 0, None)]

    def stats(self) -> list[dict[str, Any]]:
        """Return the counters of the one shard."""
        self._check()
        return [self._carry_out(self._counters, Kind.STATS)]

    def _counters(self, engine: Engine, _caller: Caller) -> dict[str, Any]:
        return {
            "shard": 0,
            "requests": {kind.name.lower(): count for kind, count in self._requests.items()},
            "deviations": self._shard.deviations_seen,
            "timeouts": self._shard.timeouts_seen,
            "store_size": engine.store_size(),
            "batches": self._batches,
            "mean_batch_size": 1.0 if self._batches else 0.0,
            "queue_depth": 0,
            "bytes_in": 0,
            "bytes_out": 0,
            "unapplied": self._failures.total,
            "messages_dropped": self._mailbox.dropped[0],
        }

    def revive(self, index: int) -> None:
        """Do nothing: the one shard lives as long as its process."""
        self._check()
        if index != 0:
            raise ValueError(f"index must be 0, got: {index!r}")

    # ------------------------------------------------------------------ inside

    def _check(self) -> None:
        if self._life is Life.FORKED:
            raise DataDirLocked(
                f"the data directory {self._directory.path} belongs to the process that forked this one; "
                'use manager = "sharded" (or a ShardedInstanceManager), which forked children attach to',
                pid=os.getppid(),
            )
        super()._check()

    def _take_unapplied(self) -> list[SpexError]:
        kept, missing = self._failures.take()
        if missing:
            text = f"{missing} more observations could not be applied; the first and the newest are told one by one"
            kept.append(SpexError(text, more=missing))
        return kept

    def _carry_out(self, operation: Callable[[Engine, Caller], Any], kind: Kind, thread: int | None = None) -> Any:
        if self._life is not Life.STARTED:
            self._check()
        self._requests[kind] += 1
        value = self._shard.carry_out(operation, self._deliver, thread)
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
            if left.sequence is None or self._shard.last_kept < left.sequence:
                self._apply_one(left)
            if self._left and self._left[0] is left:
                self._left.popleft()

    def _apply_one(self, left: _Left) -> None:
        def operation(engine: Engine, caller: Caller) -> SpexError | None:
            # If this call is cut off, the sequence tells whether it was kept.
            left.sequence = self._shard.last_kept + 1
            return _observed(engine, left.kind, left.key, left.arguments, left.now, caller)

        self._note(lambda: self._shard.carry_out(operation, self._deliver, left.thread))

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

    def _observe(self, kind: Kind, key: bytes, arguments: tuple[Any, ...]) -> SpexError | None:
        now = time.time_ns() // 1000
        return self._carry_out(  # type: ignore[no-any-return]
            lambda engine, caller: _observed(engine, kind, key, arguments, now, caller), kind
        )

    def _observe_nowait(self, kind: Kind, key: bytes, arguments: tuple[Any, ...]) -> None:
        if self._shard.is_inside():
            # The outer call applies it on its way out: it looks once more when it has given its turn back.
            self._left.append(_Left(kind, key, arguments, time.time_ns() // 1000, threading.get_ident()))
            return
        self._note(lambda: self._observe(kind, key, arguments))

    def _read(self, key: bytes, kind: Kind, arguments: tuple[Any, ...]) -> Any:
        self._check()
        operations: dict[Kind, Callable[[Engine], Any]] = {
            Kind.GET: lambda engine: engine.get_instance(key, arguments[1]),
            Kind.HISTORY: lambda engine: engine.history(*arguments),
            Kind.PAGE: lambda engine: engine.page(*arguments),
            Kind.SPECIFICATION: lambda engine: _plain(engine, arguments[0]),
            Kind.MODELS: lambda engine: [
                (m.specification, m.transitions, m.learning_mode) for m in engine.impl_models()
            ],
            Kind.DEVIATIONS: lambda engine: [_deviation_row(d) for d in engine.deviations(arguments[0])],
        }
        operation = operations[kind]
        return self._carry_out(lambda engine, _: operation(engine), kind)

    def _read_all(self, kind: Kind, arguments: tuple[Any, ...]) -> list[Any]:
        return [self._read(b"", kind, arguments)]

    def _read_shards(self, kind: Kind, arguments: dict[int, tuple[Any, ...]]) -> dict[int, Any]:
        return {shard: self._read(b"", kind, of_shard) for shard, of_shard in arguments.items()}

    def _change(self, key: bytes, kind: Kind, arguments: tuple[Any, ...]) -> None:
        self._check()
        now = time.time_ns() // 1000
        if kind is Kind.DELETE:
            self._carry_out(lambda engine, _: engine.delete_instance(key), kind)
        else:
            name, _, meta, state = arguments
            self._carry_out(lambda engine, _: engine.mock_instance(name, key, meta, state, now), kind)

    def _delete_where(self, predicate: Callable[[Instance], Any]) -> list[Any]:
        try:
            return [self._carry_out(lambda engine, _: engine.delete_instances(predicate), Kind.DELETE_WHERE)]
        except SpexError as error:
            return [error]

    def _declare(self, cls: type[Specification]) -> None:
        if cls in self._known:
            return
        stored = describe(cls)[0]
        self._carry_out(lambda engine, _: engine.register(stored, None), Kind.REGISTER)
        self._known.add(cls)

    @property
    def _engine(self) -> Engine:
        return self._shard.engine

    def _shard_count(self) -> int:
        return 1

    def _at_exit(self) -> None:
        if self._life is Life.FORKED:
            return
        try:
            self.close()
        except ExceptionGroup as group:
            for error in group.exceptions:
                logger.error("%s", error)

    def __reduce__(self) -> tuple[Any, ...]:
        return _elsewhere, (type(self),)


def _elsewhere(cls: type[SimpleInstanceManager]) -> SimpleInstanceManager:
    manager = cls.__new__(cls)
    manager._life = Life.CLOSED
    manager._changing = threading.RLock()
    return manager


def _observed(
    engine: Engine, kind: Kind, key: bytes, arguments: tuple[Any, ...], now: int, caller: Caller
) -> SpexError | None:
    if kind is Kind.TRANSITION:
        _, action, to_state = arguments
        return engine.transition(key, action, to_state, now, caller)
    name, _, meta, state = arguments
    return engine.init_instance(name, key, meta, state, now, caller)


def _plain(engine: Engine, name: str) -> Any:
    stored = engine.knows(name)
    return None if stored is None else stored.plain()


def _deviation_row(d: Any) -> tuple[Any, ...]:
    times = encode_value(d.first_seen), encode_value(d.last_seen)
    return (d.specification, d.transition, d.verdict, d.accepted, d.count, *times)


def _after_fork_in_child() -> None:
    for manager in list(_managers):
        # The environment is the parent's: it is neither used nor closed here, and the lock is not ours.
        manager._life = Life.FORKED
        manager._changing = threading.RLock()
        manager._shard.drop()


os.register_at_fork(after_in_child=_after_fork_in_child)
