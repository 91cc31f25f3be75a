"""One shard in this process: a data directory, what runs on it, and the thread that keeps it.

# Guarantees:
#
# * No call waits for another call of its own thread. One that comes in the middle of another has the other's tenure
#   left behind, and goes on in the next; the other finds that out, and is carried out there.
# * An exception at any place, also one out of a signal handler, is like a crash of a shard: memory is dropped, and what
#   is kept is read again. Only errors that this package raises on purpose are undone in memory instead.
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

from ...errors import DataDirError, ManagerClosed, SpexError, StoreError
from ..data_dir import DataDir, OwnerLock
from ..protocol.operations import Operation
from ..service import NOBODY, Call, Host, StoreReader
from ..shard import open_shard, shard_over
from ..store.logged_store import StoreFull
from ..store.opening import LocalStores, read_stores
from ..store.port import StoreOptions
from ..system.turns import interruption
from ..system.waits import LONGEST_WAIT
from .keeper import Keeper
from .tenure import Tenure

_RETRY_AFTER: Final = 1.0
_LOOK_AGAIN: Final = 0.1
_FIRST_LOOK: Final = 0.005
_LAST_LOOK: Final = 1.0
"""Seconds after which whoever waits for a turn looks whether its holder will come out."""
logger = logging.getLogger("spex_shards")


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """The options of a shard in this process.

    Attributes:
        prepare: Makes what runs on it, when the directory is owned.
        durability: ``"process"`` or ``"disk"``.
        shutdown_timeout: Seconds that a call which is under way has to finish when the shard is closed.
    """

    prepare: Callable[[StoreReader], Host]
    durability: str
    shutdown_timeout: float


class LocalShard:
    """The one shard of an in-process manager.

    Args:
        directory: Its data directory, of one shard.
        options: The options.
    """

    def __init__(self, directory: DataDir, options: LocalOptions) -> None:
        self._directory = directory
        self._options = options
        self._lock = OwnerLock(directory)
        self._client_id = secrets.token_hex(16)
        self._keeper = Keeper(self._tick)
        self._tenure: Tenure | None = None
        self._keeper_waits = False
        self._complaint = ""
        self._counted: Counter[str] = Counter()

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Take the directory and open its store.

        Raises:
            DataDirError: It is locked, damaged, of another layout, or cannot be used; or there is no thread to be had.
        """
        try:
            self._keeper.start()
        except RuntimeError as error:  # what the system has no thread for
            text = f"this process cannot start the threads that a manager needs: {error}"
            raise DataDirError(text, path=str(self._directory.path)) from error
        self._keeper.ask(self._open)
        self._keeper.wake()

    def stop(self) -> StoreError | None:
        """Write everything out, and give the directory back; return what could not be written. May be repeated."""
        if not self._keeper.is_running:
            return None
        try:
            return self._keeper.ask(self._shut, last=True)
        except ManagerClosed:
            return None  # by the call that this one interrupts, or that is a little earlier

    def drop(self) -> None:
        """In a forked child: let go of the lock's copy; nothing else of the parent's is touched."""
        self._lock.drop()

    @property
    def tenure(self) -> Tenure:
        """The tenure that there is.

        Raises:
            ManagerClosed: There is none.
        """
        tenure = self._tenure
        if tenure is None:
            raise ManagerClosed("the manager is closed")
        return tenure

    def was_kept(self, tenure: Tenure, sequence: int) -> bool:
        """Return whether a batch that was begun in a tenure, under that sequence, is kept."""
        return self._is_inherited(tenure, sequence) if tenure.dead else sequence <= tenure.store.last

    @property
    def counted(self) -> Counter[str]:
        """What the service has counted in tenures that are left behind."""
        return self._counted

    def is_inside(self) -> bool:
        """Return whether this thread is in the middle of a call, which this one interrupts."""
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
    ) -> Any:
        """Carry an operation out in a batch of its own, once, whatever becomes of the tenure; return its value.

        Args:
            operation: What to do; may be begun again, when what it did before was not kept.
            arguments: Its arguments.
            deliver: Takes the messages that were sent to the caller, when the batch is kept.
            now: When it was asked for, in microseconds since the epoch.
            thread: Who asked.
            begins: Called with the tenure whenever it is begun there, with the turn; what it raises ends the call.

        Raises:
            SpexError: What the operation or the store raised; nothing was changed.
            ManagerClosed: The shard is not open.
        """
        while True:
            messages: list[bytes] = []
            call = Call(os.getpid(), thread, self._client_id, messages, now)
            tenure = self._tenure
            # The straight way of nearly every call: nobody is inside, and nothing has gone wrong.
            if tenure is None or self._keeper_waits or not tenure.turn.take():
                tenure = self._enter()
            elif tenure.busy or tenure.dead:
                tenure.turn.give()
                tenure = self._enter()
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

    def _enter(self) -> Tenure:
        """Return the tenure, with its turn taken, and nobody cut off in it. Every use begins here."""
        pause = _FIRST_LOOK
        while True:
            tenure = self._tenure
            if tenure is None:
                raise ManagerClosed("the manager is closed")
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

    def _is_inherited(self, tenure: Tenure, kept: int) -> bool:
        """Return whether a batch that was kept while its tenure was being left behind is in the next one."""
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

    # ------------------------------------------------------------------ by the keeper

    def _open(self) -> None:
        """Take the directory and open its store, by the keeper."""
        self._directory.make()
        self._lock.acquire()
        try:
            self._directory.check_layout(1)
            stores = LocalStores(self._directory)
            self._host = self._options.prepare(lambda read: read_stores(stores, [0], read))
            for warning in self._host.warnings:
                logger.warning("%s", warning)
            store = StoreOptions(self._options.durability, waits_for_room=False)
            self._tenure = Tenure(open_shard(stores, 0, self._host, store, NOBODY, time.time_ns() // 1000))
        except BaseException:
            self._lock.release()
            raise

    def _shut(self) -> StoreError | None:
        """Close the store and give the directory back, by the keeper; return what could not be written out."""
        tenure, failure = self._tenure, None
        if tenure is None:
            return None
        deadline = time.monotonic() + self._options.shutdown_timeout
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
            self._lock.release()  # the directory is free, whatever its disk does
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
        self._counted.update(tenure.service.stats())
        # Where nobody is appending just now, the log goes on as it is, and only what runs on it is made anew.
        store = tenure.store
        if not suspended or store.may_be_appending():
            store = store.reopened()
        else:
            tenure.batch.detach()
            store.begin_view()
        tenure.inherited = store.last
        fresh = Tenure(shard_over(store, self._host, NOBODY, time.time_ns() // 1000))
        self._tenure = fresh
        return fresh

    def _tick(self) -> float:
        """Do a portion of what is due, by the keeper; return the seconds until the next."""
        tenure = self._tenure
        if tenure is None:
            return LONGEST_WAIT
        now = time.time_ns() // 1000
        due, upkeep = tenure.service.next_due(), tenure.store.next_upkeep
        wait = min(inf if due is None else (due - now) / 1_000_000, upkeep - time.monotonic())
        if wait > 0 and not tenure.busy:
            return min(wait, LONGEST_WAIT)
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
        if tenure.store.next_upkeep <= time.monotonic():
            tenure.upkeep()
        self._complaint = ""
        wait = min(inf if due is None else (due - now) / 1_000_000, tenure.store.next_upkeep - time.monotonic())
        return min(wait, LONGEST_WAIT)

    def _complain(self, text: str) -> None:
        # Once, and not with every attempt.
        if text != self._complaint:
            self._complaint = text
            logger.error("%s", text)
