"""One shard in this process: its data directory, its current tenure, and its keeper.

# Guarantees:
#
# * No call waits for another call of its own thread. A call that interrupts another has the other's tenure abandoned
#   and continues in a new one. The interrupted call notices that when it resumes, and is carried out in the new tenure
#   unless it was already kept.
# * An exception at any place, also one from a signal handler, is treated like a crash of a shard: the state in memory
#   is dropped and read again from the store. Only errors that this package raises on purpose are undone in memory
#   instead.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Final

from ...errors import CallTimeout, DataDirError, ManagerClosed, SpexError, StoreError
from ...log_fields import about
from ..call import Call
from ..data_dir import DataDir, OwnerLock
from ..holder import Role
from ..protocol.operations import Operation
from ..service import Host, StoreReader
from ..shard import open_shard, shard_over
from ..store.failures import StoreFull
from ..store.opening import read_stores, stores_of
from ..store.port import StoreOptions, Stores
from ..system.turns import interruption
from ..system.waits import LONGEST_WAIT
from ..watch import NOBODY
from .keeper import Keeper
from .tenure import Tenure

_RETRY_AFTER: Final = 1.0
_LOOK_AGAIN: Final = 0.1
_FIRST_LOOK: Final = 0.005
_LAST_LOOK: Final = 1.0
"""The shortest and longest time that a thread waits for a turn before it checks whether the holder is stuck."""
logger = logging.getLogger("spex_shards")


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """The options of a shard in this process.

    Attributes:
        prepare: Creates the host, once the directory is locked.
        durability: As in `StoreOptions`.
        store: The URL of the database that its store is in; None: it is a folder of the directory.
        shutdown_timeout: Seconds that a running call gets to finish when the shard is closed.
    """

    prepare: Callable[[StoreReader], Host]
    durability: str
    shutdown_timeout: float
    store: str | None = None


class LocalShard:
    """The one shard of an in-process manager.

    Args:
        directory: Its data directory, of one shard.
        options: The options.
    """

    def __init__(self, directory: DataDir, options: LocalOptions) -> None:
        self._directory = directory
        self._options = options
        self._lock = OwnerLock(directory, role=Role.HERE)
        self._client_id = secrets.token_hex(16)
        self._keeper = Keeper(self._tick)
        self._tenure: Tenure | None = None
        self._stores: Stores | None = None
        self._keeper_waits = False
        self._complaint = ""
        self._counted: Counter[str] = Counter()
        self._declarations: dict[str, tuple[Any, ...]] = {}
        self._must_declare = False

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Lock the directory and open its store.

        Raises:
            DataDirError: The directory is locked, damaged, has another layout, or cannot be used; or there is no
                thread.
        """
        try:
            self._keeper.start()
        except RuntimeError as error:  # the system gives no thread
            text = f"this process cannot start the threads that a manager needs: {error}"
            raise DataDirError(text, path=str(self._directory.path)) from error
        self._keeper.ask(self._open)
        self._keeper.wake()

    def stop(self) -> StoreError | None:
        """Write everything to the store and unlock the directory; return the error if not everything could be written.

        It may be called again.
        """
        if not self._keeper.is_running:
            return None
        try:
            return self._keeper.ask(self._shut, last=True)
        except ManagerClosed:
            return None  # another `stop` was first, in another thread or in the call that this one interrupts

    def drop(self) -> None:
        """In a forked child: close the copy of the lock; nothing else of the parent is touched."""
        self._lock.drop()

    @property
    def tenure(self) -> Tenure:
        """The current tenure.

        Raises:
            ManagerClosed: There is none.
        """
        tenure = self._tenure
        if tenure is None:
            raise ManagerClosed("the manager is closed: create another one")
        return tenure

    def was_kept(self, tenure: Tenure, sequence: int) -> bool:
        """Return whether a batch that was begun in `tenure`, under that sequence, was committed."""
        return self._is_inherited(tenure, sequence) if tenure.dead else sequence <= tenure.store.last

    @property
    def counted(self) -> Counter[str]:
        """The service's counters, summed over the tenures that were abandoned."""
        return self._counted

    def will_declare(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Note a declaration that is about to be made; it is made again if a database loses the batch that had it."""
        self._declarations[name] = arguments

    def is_inside(self) -> bool:
        """Return whether this thread is inside another call on this shard, which the current call interrupts."""
        tenure = self._tenure
        return tenure is not None and tenure.turn.is_taken() and tenure.turn.is_mine()

    # ------------------------------------------------------------------ calls

    def carry_out(
        self,
        operation: Operation,
        arguments: tuple[Any, ...],
        deliver: Callable[[bytes], None],
        *,
        now: int,
        thread: int,
        begins: Callable[[Tenure], object] = bool,
        until: float | None = None,
    ) -> Any:
        """Carry out an operation exactly once in a batch of its own, even if its tenure is abandoned; return its value.

        Args:
            operation: The operation. It runs again if the batch of its first run was not committed.
            arguments: Its arguments.
            deliver: Called with each message to the caller, once the batch is committed.
            now: When the operation was called, in microseconds since the epoch.
            thread: The calling thread.
            begins: Called with the tenure before each run, while holding its turn; an exception ends the call.
            until: The monotonic time until which to wait for other calls to end; None: no limit.

        Raises:
            SpexError: The operation or the store raised it; nothing was changed.
            CallTimeout: Other calls did not end in time, and the operation was not begun.
            ManagerClosed: The shard is not open.
        """
        while True:
            messages: list[bytes] = []
            call = Call(os.getpid(), thread, self._client_id, messages, now)
            tenure = self._tenure
            # The fast path of nearly every call: the turn is free, and no call was cut off in this tenure.
            if tenure is None or self._keeper_waits or not tenure.turn.take():
                tenure = self._enter(until)
            elif tenure.busy or tenure.dead:
                tenure.turn.give()
                tenure = self._enter(until)
            try:
                begins(tenure)
                value, kept = tenure.carry_out(operation, arguments, call)
            except StoreFull:
                full = True
            except SpexError as error:
                if tenure.dead and interruption(error) is None:
                    continue
                raise
            else:
                full = False
            finally:
                tenure.turn.give()
            if full:
                self._keeper.ask(partial(self._make_room, tenure))
            elif not tenure.dead or self._is_inherited(tenure, kept):
                break
        for message in messages:
            deliver(message)
        if tenure.is_due_sooner():
            self._keeper.wake()
        return value

    def _enter(self, until: float | None = None) -> Tenure:
        """Return a usable tenure, holding its turn; replace the current one if a call was cut off or is stuck in it."""
        pause = _FIRST_LOOK
        while True:
            tenure = self._tenure
            if tenure is None:
                raise ManagerClosed("the manager is closed: create another one")
            if self._keeper_waits:
                time.sleep(0)  # let the keeper go first: locks are not fair, and timers must not wait for ever
            turn = tenure.turn
            if turn.take():
                if not tenure.busy and not tenure.dead:
                    return tenure
                turn.give()
                self._replace(tenure)
            elif turn.is_mine():
                self._replace(tenure)
            elif turn.wait(pause if until is None else min(pause, until - time.monotonic())):
                turn.give()
            else:
                if turn.is_taken() and turn.is_stuck():
                    self._replace(tenure)
                elif until is not None and time.monotonic() >= until:
                    raise CallTimeout("other calls of this process hold the shard up", shard=0, maybe_executed=True)
                pause = min(_LAST_LOOK, 2 * pause)

    def _is_inherited(self, tenure: Tenure, kept: int) -> bool:
        """Return whether the next tenure has a batch that was committed while `tenure` was being abandoned."""
        while tenure.inherited is None:
            self._replace(tenure)
        return kept <= tenure.inherited

    def _make_room(self, tenure: Tenure) -> None:
        while not tenure.turn.wait(_FIRST_LOOK):
            if tenure.dead:
                return
        try:
            if not tenure.busy and not tenure.dead:
                tenure.make_room()
        finally:
            tenure.turn.give()

    # ------------------------------------------------------------------ on the keeper's thread

    def _open(self) -> None:
        """Lock the directory and open its store; runs on the keeper's thread."""
        self._directory.make()
        self._lock.acquire()
        try:
            self._stores = stores = stores_of(self._directory, self._options.store, self._options.durability)
            warnings = stores.begin(1)
            self._host = self._options.prepare(lambda read: read_stores(stores, [0], read))
            for warning in (*warnings, *self._host.warnings):
                logger.warning("%s", warning, extra=about("start_warning", shard=0))
            store = StoreOptions(self._options.durability, waits_for_room=False)
            self._tenure = Tenure(open_shard(stores, 0, self._host, store, NOBODY, time.time_ns() // 1000))
        except BaseException:
            self._lock.release()
            raise

    def _shut(self) -> StoreError | None:
        """Close the store and unlock the directory, on the keeper's thread; return the last write's error, or None."""
        tenure, failure = self._tenure, None
        if tenure is None:
            return None
        self._lock.note_end()
        deadline = time.monotonic() + self._options.shutdown_timeout
        while not tenure.turn.wait(_FIRST_LOOK):
            if tenure.turn.is_stuck() or time.monotonic() > deadline:
                tenure = self._succeed(tenure)  # the call that is stuck in the old one will find the manager closed
        try:
            if tenure.busy or tenure.dead:
                tenure = self._succeed(tenure)
            tenure.close()
            if self._stores is not None:
                self._stores.leave()
        except (StoreError, DataDirError) as error:
            if not tenure.store.far:
                if isinstance(error, DataDirError):
                    raise
                failure = error
            else:  # what the database has confirmed is there, and nothing else is left to be written
                tenure.store.close()
        finally:
            self._tenure = None
            self._lock.release()  # even if the disk failed, the directory is unlocked
        return failure

    def _replace(self, tenure: Tenure) -> None:
        """Have the keeper abandon this tenure and make another from the committed state."""
        mine = tenure.turn.is_mine()
        self._keeper.ask(lambda: self._succeed(tenure, suspended=mine))

    def _succeed(self, tenure: Tenure, *, suspended: bool = False) -> Tenure:
        """Abandon a tenure and make the next one; return the current tenure. Runs on the keeper's thread.

        Args:
            tenure: The tenure to abandon; if it is already abandoned, nothing is done.
            suspended: Whether the thread inside it is waiting for this, and so cannot write meanwhile.

        Raises:
            ManagerClosed: The shard is closed.
            DataDirError: The store cannot be read again, or somebody has removed its directory.
        """
        current = self._tenure
        if current is not tenure or current is None:
            if current is None:
                raise ManagerClosed("the manager is closed: create another one")
            return current
        tenure.dead = True
        self._counted.update(tenure.service.stats())
        # If no append can be under way, the log stays open and only the service on it is made again. Otherwise a
        # half-done append could still be written behind this one's back: so the log is closed and read again.
        store = tenure.store
        committing = tenure.may_be_committing()
        if not suspended or committing:
            self._lock.check_place()
            store = store.reopened(in_use=committing)
        else:
            tenure.batch.detach()
            store.begin_view()
        tenure.inherited = store.last
        if store.last < tenure.store.last:
            text = "the database has lost the newest {} of the batches that it had confirmed, and what they recorded"
            lost = tenure.store.last - store.last
            logger.error("%s", text.format(lost), extra=about("batches_lost", shard=0))
            self._must_declare = True
        fresh = Tenure(shard_over(store, self._host, NOBODY, time.time_ns() // 1000))
        if self._must_declare:
            call = Call(os.getpid(), 0, self._client_id, [], time.time_ns() // 1000)
            self._must_declare = not fresh.declared(list(self._declarations.values()), call)
        self._tenure = fresh
        return fresh

    def _tick(self) -> float:
        """Do a portion of the work that is due; return the seconds until the next call. Runs on the keeper's thread."""
        tenure = self._tenure
        if tenure is None:
            return LONGEST_WAIT
        now = time.time_ns() // 1000
        wait = _until(tenure, now)
        if wait > 0 and not tenure.busy:
            return wait
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
        self._complain(f"due work failed, and will be tried again: {failure}")
        return _RETRY_AFTER

    def _tick_inside(self, tenure: Tenure, now: int) -> float:
        if tenure.busy or tenure.dead:
            self._succeed(tenure)
            return 0.0
        tenure.tick(now)
        if tenure.store.next_upkeep <= time.monotonic():
            tenure.upkeep()
        self._complaint = ""
        return _until(tenure, now)

    def _complain(self, text: str) -> None:
        # Log each problem once, and not at every attempt.
        if text != self._complaint:
            self._complaint = text
            logger.error("%s", text, extra=about("due_work_failed", shard=0))


def _until(tenure: Tenure, now: int) -> float:
    """Return the seconds for which the keeper may sleep."""
    due, upkeep = tenure.next_look()
    wait = min(inf if due is None else (due - now) / 1_000_000, upkeep - time.monotonic())
    return min(wait, LONGEST_WAIT)
