"""`SimpleInstanceManager`: one engine in the calling process, for one thread at a time.

# Guarantees:
#
# * No call waits for another call of its own thread. An observation that need not wait is left to the outer call, which
#   applies it on its way out. A call that must wait has the outer call's tenure left behind, and goes on in the next;
#   the outer call finds that out, and is carried out there.
# * An exception at any place, also one out of a signal handler, is like a crash of a shard: memory is dropped, and
#   what is kept is read again. Only errors that this package raises on purpose are undone in memory instead.
"""

from __future__ import annotations

import atexit
import os
import secrets
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from pathlib import Path
from typing import Any, Final, Self

from ..boot import BootOptions, engine_of, model_source, open_store, shard_paths, unite_stores
from ..call_site import locate
from ..catalogue import describe
from ..data_dir import DataDir, OwnerLock
from ..domain.instance import Instance
from ..domain.specification import Specification
from ..engine import Engine, EngineOptions
from ..errors import DataDirError, DataDirLocked, ManagerClosed, SpexError, StoreError
from ..failures import Failures
from ..handlers import Caller, handler_running, report
from ..mailbox import Mailbox
from ..options import UNSET
from ..protocol import Kind
from ..records import decode_value, encode_value
from ..settings import load_specifications, options_from
from ..shard_info import ShardInfo, ShardStatus
from ..store.logged_store import StoreFull
from ..turns import interruption
from .base import MESSAGES_WITHIN, InstanceManager, logger, raise_unapplied
from .keeper import Keeper
from .reading import Life
from .tenure import Tenure

_US = timedelta(microseconds=1)
logger.addFilter(locate)
_RETRY_AFTER: Final = 1.0
_LONGEST_WAIT: Final = 3600.0
_LOOK_AGAIN: Final = 0.1
_FIRST_LOOK: Final = 0.05
_LAST_LOOK: Final = 1.0
"""Seconds after which whoever waits for a turn looks whether its holder will come out."""
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

    _tenure: Tenure | None = None

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
        self._owner = OwnerLock(self._directory)
        self._client_id = secrets.token_hex(16)
        self._known: set[type[Specification]] = set()
        self._failures = Failures()
        self._batches = 0
        self._requests: Counter[str] = Counter()
        self._left: deque[_Left] = deque()
        self._keeper_waits = False
        self._complaint = ""
        self._counted = [0, 0]

    # ------------------------------------------------------------------ life

    def start(self) -> Self:
        """Open the directory and its store."""
        with self._changing:
            if self._life is not Life.NEW:
                raise ManagerClosed(f"the manager is {self._life.value}: it starts once")
            self._life = Life.STARTING
            self._keeper = Keeper(self._tick)
            try:
                self._start_threads()
                self._keeper.ask(self._open)
                _managers.add(self)
                atexit.register(self._at_exit)
                self._life = Life.STARTED
                self._keeper.wake()
            except BaseException:
                self._undo_start()
                raise
        return self

    def _start_threads(self) -> None:
        try:
            self._mailbox.start()
            self._keeper.start()
        except RuntimeError as error:  # what the system has no thread for
            text = f"this process cannot start the threads that a manager needs: {error}"
            raise DataDirError(text, path=str(self._directory.path)) from error

    def _undo_start(self) -> None:
        self._life = Life.NEW
        atexit.unregister(self._at_exit)
        if self._keeper.is_running:
            self._keeper.ask(self._shut, last=True)

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
            failure = self._keeper.ask(self._shut, last=True) if self._keeper.is_running else None
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
            "requests": dict(self._requests),
            "deviations": self._counted[0] + engine.deviations_seen,
            "timeouts": self._counted[1] + engine.timeouts_seen,
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

    def _open(self) -> None:
        """Take the directory and open its store, by the keeper."""
        self._directory.make()
        self._owner.acquire()
        try:
            self._directory.check_layout(1)
            options = self._options
            now = time.time_ns() // 1000
            interval = options["prune_interval"]
            paths = shard_paths(self._directory, 1)
            self._source = model_source(
                Path(options["impl_models_dir"]), unite_stores(paths), learning_mode=options["learning_mode"]
            )
            for error in self._source.malformed.values():
                logger.warning("%s", error)
            silent_before = 0 if options["check_transition_timeouts_on_start"] else now
            engine_options = EngineOptions(None if interval is None else interval // _US, silent_before)
            specifications = [describe(cls)[0] for cls in self._specifications]
            self._boot = BootOptions(options["durability"], engine_options, specifications, waits_for_room=False)
            store = open_store(paths[0], self._boot)
            self._tenure = Tenure(engine_of(store, self._source, self._boot, now), store)
        except BaseException:
            self._owner.release()
            raise

    def _shut(self) -> StoreError | None:
        """Close the store and give the directory back, by the keeper; return what could not be written out."""
        tenure, failure = self._tenure, None
        if tenure is None:
            return None
        deadline = time.monotonic() + self._options["shutdown_timeout"]
        while not tenure.turn.wait(_FIRST_LOOK):
            if tenure.turn.is_stuck() or time.monotonic() > deadline:
                tenure = self._succeed(tenure)  # whoever is in there finds the manager closed
        try:
            if tenure.busy or tenure.dead:
                tenure = self._succeed(tenure)
            tenure.close()
        except StoreError as error:
            failure = error
        finally:
            self._tenure = None
            self._owner.release()  # the directory is free, whatever its disk does
        return failure

    def _replace(self, tenure: Tenure) -> None:
        """Have another tenure go on with what is kept, and leave this one behind."""
        mine = tenure.turn.is_mine()
        self._keeper.ask(lambda: self._succeed(tenure, suspended=mine))

    def _succeed(self, tenure: Tenure, *, suspended: bool = False) -> Tenure:
        """Make the next tenure, by the keeper; return the one that there is then.

        Args:
            tenure: The one to leave behind; nothing is done if it is left behind already.
            suspended: Whether who is inside it waits for this, and so does nothing meanwhile.
        """
        current = self._tenure
        if current is not tenure or current is None:
            if current is None:
                raise ManagerClosed("the manager is closed")
            return current
        tenure.dead = True
        self._counted[0] += tenure.engine.deviations_seen
        self._counted[1] += tenure.engine.timeouts_seen
        # Where nobody is appending just now, the log goes on as it is, and only the engine is made anew.
        store = tenure.store
        if not suspended or store.may_be_appending():
            store = store.reopened()
        else:
            tenure.engine.batch.detach()
            store.begin_view()
        tenure.inherited = store.last
        fresh = Tenure(engine_of(store, self._source, self._boot, time.time_ns() // 1000), store)
        self._tenure = fresh
        return fresh

    def _tick(self) -> float:
        """Do a portion of what is due, by the keeper; return the seconds until the next."""
        tenure = self._tenure
        if self._life is not Life.STARTED or tenure is None:
            return _LONGEST_WAIT
        now = time.time_ns() // 1000
        due, upkeep = tenure.engine.next_due(), tenure.engine.next_upkeep
        wait = min(inf if due is None else (due - now) / 1_000_000, upkeep - time.monotonic())
        if wait > 0 and not tenure.busy:
            return min(wait, _LONGEST_WAIT)
        self._keeper_waits = True
        try:
            if not tenure.turn.wait(_LOOK_AGAIN):
                return _LOOK_AGAIN
        finally:
            self._keeper_waits = False
        try:
            return self._tick_inside(tenure, now)
        except SpexError as error:
            failure = error
        finally:
            tenure.turn.give()
        self._complain(f"what is due could not be done: {failure}")
        return _RETRY_AFTER

    def _tick_inside(self, tenure: Tenure, now: int) -> float:
        if tenure.busy or tenure.dead:
            self._succeed(tenure)
            return 0.0
        due = tenure.tick(now)
        if tenure.engine.next_upkeep <= time.monotonic():
            tenure.upkeep()
        self._complaint = ""
        wait = min(inf if due is None else (due - now) / 1_000_000, tenure.engine.next_upkeep - time.monotonic())
        return min(wait, _LONGEST_WAIT)

    def _complain(self, text: str) -> None:
        # Once, and not with every attempt.
        if text != self._complaint:
            self._complaint = text
            logger.error("%s", text)

    def _take_unapplied(self) -> list[SpexError]:
        kept, missing = self._failures.take()
        if missing:
            text = f"{missing} more observations could not be applied; the first and the newest are told one by one"
            kept.append(SpexError(text, more=missing))
        return kept

    def _enter(self) -> Tenure:
        """Return the tenure, with its turn taken, and nobody cut off in it. Every use begins here."""
        pause = _FIRST_LOOK
        while True:
            tenure = self._tenure
            if self._life is not Life.STARTED or tenure is None:
                self._check()
                raise ManagerClosed(f"the manager is {Life.CLOSED.value}")
            if self._keeper_waits:
                time.sleep(0)  # locks are not fair, and what is due must not wait for ever
            turn = tenure.turn
            if turn.take():
                if not tenure.busy and not tenure.dead:
                    return tenure
                turn.give()
                self._replace(tenure)
            elif turn.is_mine():
                self._replace(tenure)
            elif turn.wait(pause):
                turn.give()
            else:
                if turn.is_taken() and turn.is_stuck():
                    self._replace(tenure)
                pause = min(_LAST_LOOK, 2 * pause)

    def _carry_out(self, operation: Callable[[Engine, Caller], Any], kind: Kind) -> Any:
        """Carry something out, once, whoever leaves the tenure behind meanwhile; return its value."""
        self._requests[kind.name.lower()] += 1
        while True:
            messages: list[bytes] = []
            caller = Caller(os.getpid(), threading.get_ident(), self._client_id, messages)
            tenure = self._enter()
            engine = tenure.engine
            due, upkeep = engine.next_due(), engine.next_upkeep
            try:
                value, kept = tenure.carry_out(operation, caller)
            except StoreFull:
                self._wait_for_room(tenure)
                continue
            except SpexError as error:
                if tenure.dead and interruption(error) is None:
                    continue
                raise
            finally:
                tenure.turn.give()
            if not tenure.dead or self._is_inherited(tenure, kept):
                break
        self._batches += 1
        for message in messages:
            self._mailbox.put(0, decode_value(message))
        if engine.next_due() != due or engine.next_upkeep < upkeep:
            self._keeper.wake()
        if self._left:
            self._apply_left()
        return value

    def _is_inherited(self, tenure: Tenure, kept: int) -> bool:
        """Return whether a batch that was kept while its tenure was being left behind is in the next one."""
        while tenure.inherited is None:
            self._replace(tenure)
        return kept <= tenure.inherited

    def _wait_for_room(self, tenure: Tenure) -> None:
        """Wait, outside, until the keeper has written a checkpoint.

        Raises:
            StoreError: It cannot be written.
        """
        self._keeper.ask(lambda: self._make_room(tenure))

    def _make_room(self, tenure: Tenure) -> None:
        while not tenure.turn.wait(_FIRST_LOOK):
            if tenure.dead:
                return
        try:
            if not tenure.busy and not tenure.dead:
                tenure.make_room()
        finally:
            tenure.turn.give()

    def _apply_left(self) -> None:
        """Apply what calls inside other calls of their thread have left."""
        while self._left:
            left = self._left[0]
            if left.sequence is None or self._last_kept() < left.sequence:
                self._apply_one(left)
            if self._left and self._left[0] is left:
                self._left.popleft()

    def _last_kept(self) -> int:
        tenure = self._tenure
        return 0 if tenure is None else tenure.store.last

    def _apply_one(self, left: _Left) -> None:
        def operation(engine: Engine, caller: Caller) -> SpexError | None:
            # If this call is cut off, the sequence tells whether it was kept.
            left.sequence = self._last_kept() + 1
            caller.thread = left.thread
            return _observed(engine, left.kind, left.key, left.arguments, left.now, caller)

        self._note(lambda: report(self._carry_out(operation, left.kind)))

    def _note(self, step: Callable[[], None]) -> None:
        try:
            step()
        except ManagerClosed:
            raise
        except SpexError as error:
            logger.error("an observation could not be applied: %s", error)
            self._failures.add(error)

    def _observe(self, kind: Kind, key: bytes, arguments: tuple[Any, ...]) -> SpexError | None:
        now = time.time_ns() // 1000
        return self._carry_out(  # type: ignore[no-any-return]
            lambda engine, caller: _observed(engine, kind, key, arguments, now, caller), kind
        )

    def _observe_nowait(self, kind: Kind, key: bytes, arguments: tuple[Any, ...]) -> None:
        tenure = self._tenure
        if tenure is not None and tenure.turn.is_taken() and tenure.turn.is_mine():
            # The outer call applies it on its way out: it looks once more when it has given its turn back.
            self._left.append(_Left(kind, key, arguments, time.time_ns() // 1000, threading.get_ident()))
            return
        self._note(lambda: report(self._observe(kind, key, arguments)))

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
        assert self._tenure is not None
        return self._tenure.engine

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
        manager._owner.drop()


os.register_at_fork(after_in_child=_after_fork_in_child)
