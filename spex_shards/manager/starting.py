"""Starts the default manager on a thread of its own, so that no observation waits for a start, or fails with one.

# Guarantees:
#
# * What is observed before the manager is started is kept in a bounded queue, and sent before anything else, in order.
# * The thread is no daemon: a program that ends right after its first observations ends when they are kept, or when the
#   start has failed. At the exit, threads that are needed for a start could not be created any more.
# * All imports happen before the thread starts. A child that is forked in the middle of an import of another thread
#   could never finish that import.
# * A forked child does not use a `Starter` of its parent: the default manager makes another, with an empty queue.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from ..domain.specification import Specification
from ..errors import CallTimeout, DataDirError, SpexError, rebuild, words
from ..runtime.protocol.operations import Operation
from ..runtime.system.threads import Helper
from .base import InstanceManager
from .observer import Observing


class Held(NamedTuple):
    """An observation that waits for the start."""

    cls: type[Specification] | None
    key: bytes
    operation: Operation
    arguments: tuple[Any, ...]
    waits: bool


class Starter:
    """Stands for a manager until that is started; for its `Observer` it is what is behind it.

    Args:
        manager: The manager, not started yet.
        prepare: Called before each attempt, in the thread that observes: imports what the attempt needs.

    Attributes:
        manager: The manager.
        done: Whether the manager is started, and all that was held is sent.
    """

    def __init__(self, manager: InstanceManager, prepare: Callable[[], None]) -> None:
        self.manager = manager
        self.done = False
        self._prepare = prepare
        self._most = manager.options["max_unacknowledged"]
        self._timeout = manager.options["observe_timeout"]
        self._pause = manager.options["report_interval"]
        self._lock = threading.RLock()
        self._held: deque[Held] = deque()
        self._thread: Helper | None = None
        self._failure: SpexError | None = None
        self._next_attempt = 0.0
        self._is_patient = True
        manager.observer.behind = self
        atexit.register(manager.ledger.report_if_due, closing=True)

    def transport_for(self, cls: type[Specification] | None, within: float | None = None) -> Observing:
        """Return the manager's transport if it is started in time; else one that holds observations until then.

        Raises:
            SpexError: The start has failed. Another attempt is made one `report_interval` later.
        """
        if not self.done:
            thread = self._attempt()
            if not self._is_patient or not thread.wait(self._timeout):
                self._is_patient = False  # the next calls need not wait as well
            if not self.done:
                self._raise_failure()
                return _Holding(self, cls)
        return self.manager.transport_for(cls, within)

    def finish(self) -> InstanceManager:
        """Return the manager when it is started, after another attempt if the last one has failed.

        Raises:
            SpexError: The start has failed.
        """
        if not self.done:
            self._attempt(at_once=True).wait()
            if not self.done:
                self._raise_failure()
        return self.manager

    @property
    def has_begun(self) -> bool:
        """Whether there was an attempt to start the manager."""
        return self._thread is not None

    def end(self, within: float | None = None) -> bool:
        """Wait up to `within` seconds until no attempt is under way; return whether that is so."""
        thread = self._thread
        return thread is None or thread is threading.current_thread() or thread.wait(within)

    def hold(self, held: Held) -> bool:
        """Keep an observation until the start; return False if the manager has been started meanwhile.

        Raises:
            CallTimeout: Too many wait already.
            SpexError: The start has failed.
        """
        with self._lock:
            if self.done:
                return False
            self._raise_failure()
            if len(self._held) >= self._most:
                raise CallTimeout(
                    f"the manager is being started, and {self._most} observations wait already", maybe_executed=False
                )
            self._held.append(held)
        return True

    # ------------------------------------------------------------------ the thread

    def _attempt(self, *, at_once: bool = False) -> Helper:
        """Return the thread of the attempt that is under way, or else of another that is due, or wanted `at_once`."""
        with self._lock:
            thread = self._thread
            if thread is None or (thread.ended and (at_once or time.monotonic() >= self._next_attempt)):
                self._failure, self._is_patient = None, True
                self._thread = thread = Helper(self._run, "spex-shards-start")
                thread.daemon = False
                try:
                    self._prepare()
                    thread.start()
                except (RuntimeError, OSError, ImportError) as error:  # the system gives no thread, or no descriptor
                    self._failed(DataDirError(f"this process cannot start what a manager needs: {words(error)}"))
                    thread.ended = True
            return thread

    def _raise_failure(self) -> None:
        failure = self._failure
        if failure is not None:
            raise rebuild(type(failure), failure.message, dict(failure.context))  # each caller gets one of its own

    def _run(self) -> None:
        try:
            self.manager.start()
        except SpexError as error:
            self._failed(error)
        except Exception as error:  # whatever it is, it must not be raised where something is observed
            self._failed(DataDirError(f"the manager could not be started: {words(error)}"))
        else:
            self._send_held()

    def _failed(self, error: SpexError) -> None:
        with self._lock:
            self._failure, self._next_attempt = error, time.monotonic() + self._pause
            held, self._held = self._held, deque()
        late = sum(one.waits for one in held)
        self.manager.ledger.not_started(error, late, len(held) - late)

    def _send_held(self) -> None:
        while True:
            with self._lock:
                if not self._held:
                    self.done = True
                    self.manager.observer.behind = self.manager
                    return
            self._send(self._held.popleft())

    def _send(self, held: Held) -> None:
        within = self.manager.options["call_timeout"]
        try:
            transport = self.manager.transport_for(held.cls)
            transport.offer(held.key, held.operation, held.arguments, within, waits=held.waits)
        except Exception as error:
            self.manager.ledger.failed_later(error, waited=held.waits)


class _Holding:
    """The transport for one observation that comes before the start."""

    def __init__(self, starter: Starter, cls: type[Specification] | None) -> None:
        self._starter, self._cls = starter, cls

    def offer(
        self, key: bytes, operation: Operation, arguments: tuple[Any, ...], within: float, *, waits: bool
    ) -> None:
        """Hold the observation; raise `CallTimeout` if its caller `waits`, as for any other that is late."""
        if not self._starter.hold(Held(self._cls, key, operation, arguments, waits)):
            self._starter.manager.transport_for(self._cls).offer(key, operation, arguments, within, waits=waits)
        elif waits:
            raise CallTimeout("the manager is being started", maybe_executed=True, starting=True)

    def call(self, key: bytes, operation: Operation, arguments: tuple[Any, ...]) -> Any:
        """Wait for the start, and carry the operation out."""
        return self._starter.finish().transport_for(self._cls).call(key, operation, arguments)

    def post(self, key: bytes, operation: Operation, arguments: tuple[Any, ...]) -> None:
        """Wait for the start, and send the operation."""
        self._starter.finish().transport_for(self._cls).post(key, operation, arguments)
