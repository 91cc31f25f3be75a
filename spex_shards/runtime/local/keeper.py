"""The daemon thread of an in-process manager: whatever opens, reads anew, switches or closes files is done by it alone.

No signal handler ever runs on it, so that none of this is cut off or done twice at a time. Finalisers may run on it,
as on every thread: they can leave observations, and are refused what would have to wait for the very thread that they
hold up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

from ...errors import ManagerClosed
from ..system.threads import Helper

_LOOK_EVERY: Final = 0.1
_T = TypeVar("_T")


class _Order(Generic[_T]):
    """Something to be done by the keeper, for a caller who waits."""

    def __init__(self, work: Callable[[], _T], *, last: bool) -> None:
        self._work = work
        self.last = last
        self._done = threading.Lock()
        self._done.acquire()
        self._error: BaseException | None = None
        self._value: Any = None

    def carry_out(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:  # for who waits
            self._error = error
        self._done.release()

    def wait(self, alive: Callable[[], bool]) -> _T:
        while not self._done.acquire(timeout=_LOOK_EVERY):
            if not alive() and not self._done.acquire(timeout=0):
                raise ManagerClosed("the manager is closed")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[no-any-return]


class Keeper:
    """Carries out orders, and what is due by itself between them.

    Args:
        tick: Does what is due; returns the seconds until it is to be called again, at most.
    """

    def __init__(self, tick: Callable[[], float]) -> None:
        self._tick = tick
        # `put` may be called in the middle of another `put` of the same thread, as by a signal handler.
        self._orders: SimpleQueue[_Order[Any] | None] = SimpleQueue()
        self._thread = Helper(self._run, "spex-shards-keeper")

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: The system gives no thread.
        """
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is the keeper."""
        return threading.current_thread() is self._thread

    @property
    def is_running(self) -> bool:
        """Whether the thread was started and has not ended."""
        return self._thread.is_running

    def wake(self) -> None:
        """Have it look at once for what is due; never blocks."""
        self._orders.put(None)

    def ask(self, work: Callable[[], _T], *, last: bool = False) -> _T:
        """Have something done, and wait for it; return or raise what it does.

        Args:
            work: What to do.
            last: Whether the thread is to end afterwards.

        Raises:
            RuntimeError: This is the keeper itself, on which a finaliser runs.
            ManagerClosed: The thread has ended.
        """
        if self.is_current:
            raise RuntimeError(
                "a finaliser that runs on the manager's own thread must not wait for the manager: use transition_nowait"
            )
        order = _Order(work, last=last)
        self._orders.put(order)
        return order.wait(lambda: self._thread.is_running)

    def join(self) -> None:
        """Wait until the thread has ended, after its last order."""
        if not self.is_current:
            self._thread.wait()

    def _run(self) -> None:
        wait = 0.0
        while True:
            try:
                order = self._orders.get(timeout=wait)
            except Empty:
                order = None
            if order is not None:
                order.carry_out()
                if order.last:
                    return
            wait = max(0.0, self._tick())
