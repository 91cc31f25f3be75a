"""The daemon thread of an in-process manager. It alone opens, re-reads, switches and closes files.

No signal handler ever runs on this thread, so none of this work can be cut off or run twice at the same time.
Finalisers may run on it, as on every thread. They may leave observations. A call that would have to wait for this
thread, which the finaliser is holding up, is refused.
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
    """A piece of work for the keeper, whose caller waits for the result."""

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
        except BaseException as error:  # raised in the waiting thread
            self._error = error
        self._done.release()

    def wait(self, alive: Callable[[], bool]) -> _T:
        while not self._done.acquire(timeout=_LOOK_EVERY):
            if not alive() and not self._done.acquire(timeout=0):
                raise ManagerClosed("the manager is closed: create another one")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[no-any-return]


class Keeper:
    """Runs the work that callers order, and in between the work that is due by itself.

    Args:
        tick: Does the work that is due; returns the seconds after which it must be called again at the latest.
    """

    def __init__(self, tick: Callable[[], float]) -> None:
        self._tick = tick
        # A SimpleQueue, because a signal handler may call `put` in the middle of another `put` of the same thread.
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
        """Have the keeper call `tick` at once; never blocks."""
        self._orders.put(None)

    def ask(self, work: Callable[[], _T], *, last: bool = False) -> _T:
        """Have the keeper call `work`, and wait; return its result, or raise its exception.

        Args:
            work: The function to call.
            last: Whether the thread ends afterwards.

        Raises:
            RuntimeError: The caller is a finaliser on the keeper's own thread.
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
            elif not self._orders.empty():
                continue  # several calls have woken this thread: one look answers them all
            wait = max(0.0, self._tick())
