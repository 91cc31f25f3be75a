"""`SimpleInstanceManager`: one engine in the calling process, behind a lock."""

from __future__ import annotations

import atexit
import os
import secrets
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from math import inf
from pathlib import Path
from typing import Any, Self

from ..boot import BootOptions, model_source, open_engine, shard_paths, unite_stores
from ..call_site import locate
from ..catalogue import describe
from ..data_dir import DataDir, OwnerLock
from ..domain.instance import Instance
from ..domain.specification import Specification
from ..engine import Engine, EngineOptions
from ..errors import DataDirLocked, ManagerClosed, SpexError, StoreError
from ..handlers import Caller, report
from ..mailbox import Mailbox
from ..options import UNSET
from ..protocol import Kind
from ..records import decode_value, encode_value
from ..settings import load_specifications, options_from
from ..shard_info import ShardInfo, ShardStatus
from .base import MESSAGES_WITHIN, InstanceManager, logger, raise_unapplied
from .reading import Life

_US = timedelta(microseconds=1)
logger.addFilter(locate)
_RETRY_AFTER = 1.0
_LONGEST_WAIT = 3600.0
_managers: weakref.WeakSet[SimpleInstanceManager] = weakref.WeakSet()


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
        self._lock = threading.RLock()
        self._mailbox = Mailbox(self._options["on_message"])
        self._directory = DataDir(Path(self._options["data_dir"]).absolute())
        self._owner = OwnerLock(self._directory)
        self._client_id = secrets.token_hex(16)
        self._known: set[type[Specification]] = set()
        self._unapplied: list[SpexError] = []
        self._lost = self._batches = 0
        self._requests: Counter[str] = Counter()
        self._wake = threading.Event()

    # ------------------------------------------------------------------ life

    def start(self) -> Self:
        """Open the directory and its store."""
        with self._lock:
            if self._life is not Life.NEW:
                raise ManagerClosed(f"the manager is {self._life.value}: it starts once")
            self._directory.make()
            self._owner.acquire()
            try:
                self._directory.check_layout(1)
                self._engine = self._open()
            except BaseException:
                self._owner.release()
                raise
            self._life = Life.STARTED
            _managers.add(self)
            atexit.register(self._at_exit)
            self._ticker = threading.Thread(target=self._tick, name="spex-shards-ticker", daemon=True)
            self._ticker.start()
        return self

    def close(self) -> None:
        """Write everything out and give the directory back."""
        deadline = time.monotonic() + self._options["shutdown_timeout"]
        with self._lock:
            if self._life in (Life.NEW, Life.CLOSED):
                self._life = Life.CLOSED
                return
            self._check()
            self._life = Life.CLOSED
        self._wake.set()
        self._ticker.join()
        failure: StoreError | None = None
        with self._lock:
            try:
                self._engine.close()
            except StoreError as error:
                failure = error
            finally:
                self._owner.release()  # the directory is free, whatever its disk does
        _managers.discard(self)
        atexit.unregister(self._at_exit)
        self._mailbox.close(max(MESSAGES_WITHIN, deadline - time.monotonic()))
        errors = self._take_unapplied()
        if failure is not None and not errors:
            raise failure
        raise_unapplied([*errors, failure] if failure is not None else errors)

    def flush(self, timeout: float | None = None) -> None:  # noqa: ARG002 - nothing is ever on its way here
        """Raise what could not be applied; everything else is applied already."""
        self._check()
        raise_unapplied(self._take_unapplied())

    def shards(self) -> list[ShardInfo]:
        """Return the one shard: this process."""
        self._check()
        return [ShardInfo(0, os.getpid(), ShardStatus.READY, 0, None)]

    def stats(self) -> list[dict[str, Any]]:
        """Return the counters of the one shard."""
        self._check()
        with self._lock:
            self._requests["stats"] += 1
            return [
                {
                    "shard": 0,
                    "requests": dict(self._requests),
                    "deviations": self._engine.deviations_seen,
                    "timeouts": self._engine.timeouts_seen,
                    "store_size": self._engine.store_size(),
                    "batches": self._batches,
                    "mean_batch_size": 1.0 if self._batches else 0.0,
                    "queue_depth": 0,
                    "bytes_in": 0,
                    "bytes_out": 0,
                    "unapplied": self._lost,
                    "messages_dropped": self._mailbox.dropped[0],
                }
            ]

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

    def _open(self) -> Engine:
        options = self._options
        now = time.time_ns() // 1000
        interval = options["prune_interval"]
        paths = shard_paths(self._directory, 1)
        source = model_source(
            Path(options["impl_models_dir"]), unite_stores(paths), learning_mode=options["learning_mode"]
        )
        for error in source.malformed.values():
            logger.warning("%s", error)
        silent_before = 0 if options["check_transition_timeouts_on_start"] else now
        engine_options = EngineOptions(None if interval is None else interval // _US, silent_before)
        specifications = [describe(cls)[0] for cls in self._specifications]
        return open_engine(paths[0], source, BootOptions(options["durability"], engine_options, specifications), now)

    def _tick(self) -> None:
        while self._life is Life.STARTED:
            self._wake.clear()
            with self._lock:
                wait = self._tick_once()
            self._wake.wait(wait)

    def _tick_once(self) -> float | None:
        if self._life is not Life.STARTED:
            return 0
        now = time.time_ns() // 1000
        engine = self._engine
        due = engine.next_due()
        mark = engine.mark()
        try:
            if due is not None and due <= now:
                due = engine.tick(now)
                engine.commit()
            if engine.next_upkeep <= time.monotonic():
                engine.upkeep()
        except StoreError as error:
            engine.rollback(mark)
            engine.commit()  # of nothing: what was read for it is let go
            logger.error("what is due could not be done: %s", error)
            return _RETRY_AFTER
        wait = min(inf if due is None else (due - now) / 1_000_000, engine.next_upkeep - time.monotonic())
        return None if wait == inf else min(max(0.0, wait), _LONGEST_WAIT)

    def _take_unapplied(self) -> list[SpexError]:
        with self._lock:
            errors, self._unapplied = self._unapplied, []
        return errors

    def _carry_out(self, operation: Callable[[Caller], Any], kind: Kind) -> Any:
        messages: list[bytes] = []
        caller = Caller(os.getpid(), threading.get_ident(), self._client_id, messages)
        engine = self._engine
        with self._lock:
            if self._life is not Life.STARTED:
                self._check()
            self._requests[kind.name.lower()] += 1
            due, upkeep = engine.next_due(), engine.next_upkeep
            mark = engine.mark()
            try:
                value = operation(caller)
            except BaseException:
                engine.rollback(mark)
                engine.commit()
                raise
            engine.commit()
            self._batches += 1
            for message in messages:
                self._mailbox.put(0, decode_value(message))
            if engine.next_due() != due or engine.next_upkeep < upkeep:
                self._wake.set()
        return value

    def _observe(self, kind: Kind, key: bytes, arguments: tuple[Any, ...]) -> SpexError | None:
        engine = self._engine
        now = time.time_ns() // 1000
        if kind is Kind.TRANSITION:
            _, action, to_state = arguments
            word = self._carry_out(lambda caller: engine.transition(key, action, to_state, now, caller), kind)
        else:
            name, _, meta, state = arguments
            word = self._carry_out(lambda caller: engine.init_instance(name, key, meta, state, now, caller), kind)
        return word  # type: ignore[no-any-return]

    def _observe_nowait(self, kind: Kind, key: bytes, arguments: tuple[Any, ...]) -> None:
        try:
            report(self._observe(kind, key, arguments))
        except ManagerClosed:
            raise
        except SpexError as error:
            logger.error("an observation could not be applied: %s", error)
            with self._lock:
                self._lost += 1
                self._unapplied.append(error)

    def _read(self, key: bytes, kind: Kind, arguments: tuple[Any, ...]) -> Any:
        self._check()
        engine = self._engine
        operations: dict[Kind, Callable[[], Any]] = {
            Kind.GET: lambda: engine.get_instance(key, arguments[1]),
            Kind.HISTORY: lambda: engine.history(*arguments),
            Kind.PAGE: lambda: engine.page(*arguments),
            Kind.SPECIFICATION: lambda: _plain(engine, arguments[0]),
            Kind.MODELS: lambda: [(m.specification, m.transitions, m.learning_mode) for m in engine.impl_models()],
            Kind.DEVIATIONS: lambda: [_deviation_row(d) for d in engine.deviations(arguments[0])],
        }
        return self._carry_out(lambda _: operations[kind](), kind)

    def _read_all(self, kind: Kind, arguments: tuple[Any, ...]) -> list[Any]:
        return [self._read(b"", kind, arguments)]

    def _read_shards(self, kind: Kind, arguments: dict[int, tuple[Any, ...]]) -> dict[int, Any]:
        return {shard: self._read(b"", kind, of_shard) for shard, of_shard in arguments.items()}

    def _change(self, key: bytes, kind: Kind, arguments: tuple[Any, ...]) -> None:
        self._check()
        now = time.time_ns() // 1000
        if kind is Kind.DELETE:
            self._carry_out(lambda _: self._engine.delete_instance(key), kind)
        else:
            name, _, meta, state = arguments
            self._carry_out(lambda _: self._engine.mock_instance(name, key, meta, state, now), kind)

    def _delete_where(self, predicate: Callable[[Instance], Any]) -> list[Any]:
        try:
            return [self._carry_out(lambda _: self._engine.delete_instances(predicate), Kind.DELETE_WHERE)]
        except SpexError as error:
            return [error]

    def _declare(self, cls: type[Specification]) -> None:
        if cls in self._known:
            return
        stored = describe(cls)[0]
        self._carry_out(lambda _: self._engine.register(stored, None), Kind.REGISTER)
        self._known.add(cls)

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
    manager._lock = threading.RLock()
    return manager


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
        manager._lock = threading.RLock()
        manager._owner.drop()


os.register_at_fork(after_in_child=_after_fork_in_child)
