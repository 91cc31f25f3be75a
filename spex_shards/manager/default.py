"""The default manager of the module-level calls: started at its first use, flushed and closed at exit."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Unpack

from ..errors import CallTimeout
from . import InstanceManager, SimpleInstanceManager
from .ledger import Losses
from .options import DefaultOptions
from .shared import default_options, manager_for
from .simple import load
from .starting import Starter

_lock = threading.RLock()
_given: dict[str, Any] = {}
current: InstanceManager | None = None
"""The default manager, which may not be started yet; None: there is none yet."""


def configure(**options: Unpack[DefaultOptions]) -> None:
    """Set options of the default manager, before its first use or after its close.

    Args:
        **options: The options of the managers, and ``manager`` and ``connect``. With ``manager="simple"``, the default,
            one process at a time uses a data directory. With ``"sharded"``, any number of processes on a machine do:
            one of them serves it, and another takes over when that one ends. ``connect=DIR`` uses what ``spex-shards
            serve``, or a manager of another process, serves, and never serves it; calls wait up to `call_timeout` for
            it. The default of ``mode`` is ``"observe"`` here.

    Raises:
        TypeError: An option is unknown.
        ValueError: A value breaks its option's rule, or two options contradict each other.
        RuntimeError: The default manager is already running.
    """
    with _lock:
        starter = _starter_of(current)
        if current is not None and (starter is None or starter.has_begun):
            raise RuntimeError(
                "the default manager is running: call spex_shards.configure() before its first use, or after "
                "spex_shards.close()"
            )
        wanted = {**_given, **options}
        default_options(wanted)
        use(None)
        _given.clear()
        _given.update(wanted)


def observing_manager() -> InstanceManager:
    """Return the default manager for calls that observe.

    With ``mode="enforce"`` the first call starts it. In the other modes it may not be started yet: its observing calls
    start it in another thread, or not at all (``"off"``).

    Raises:
        RuntimeError: The caller is a handler that runs inside a shard.
    """
    manager = current
    return _make() if manager is None else manager


def default_manager() -> InstanceManager:
    """Return the default manager once it is started; the first call starts it, whatever its mode is.

    Raises:
        RuntimeError: The caller is a handler that runs inside a shard.
    """
    manager = observing_manager()
    starter = _starter_of(manager)
    return manager if starter is None else starter.finish()


def _make() -> InstanceManager:
    global current
    from ..runtime.system.user_code import handler_running

    if handler_running():
        raise RuntimeError("a handler must not call a manager: it runs inside the shard")
    with _lock:
        if current is None:
            made = manager_for(_given)
            if made.mode == "enforce":
                made.start()
            else:
                Starter(made, load if isinstance(made, SimpleInstanceManager) else lambda: None)
            current = made
        return current


def _starter_of(manager: InstanceManager | None) -> Starter | None:
    """Return what stands for a manager that is not started yet, or None."""
    behind = None if manager is None else manager.observer.behind
    return behind if isinstance(behind, Starter) else None


def flush(timeout: float | None = None) -> None:
    """Flush the default manager; do nothing if it was never used, or could not be started.

    Raises:
        CallTimeout: It took longer than `timeout` seconds.
        ExceptionGroup: With ``mode="enforce"``: the errors of observations that could not be applied.
    """
    manager = current
    starter = _starter_of(manager)
    began = time.monotonic()
    if starter is not None and not starter.end(timeout):
        raise CallTimeout(f"the manager did not start within {timeout} s", maybe_executed=True)
    if manager is not None and _starter_of(manager) is None:
        manager.flush(None if timeout is None else max(0.0, timeout - (time.monotonic() - began)))


def losses() -> Losses:
    """Return what became of the observations of module-level calls in this process; it starts nothing."""
    manager = current
    return Losses() if manager is None else manager.losses()


def use(manager: InstanceManager | None) -> InstanceManager | None:
    """Make the module-level calls use `manager`; return the one before, which is not closed."""
    global current
    with _lock:
        before, current = current, manager
        return before


def close() -> None:
    """Flush and close the default manager; the next module-level call starts another."""
    manager = use(None)
    if manager is not None:
        starter = _starter_of(manager)
        if starter is not None:
            starter.end()
        manager.close()


def _after_fork_in_child() -> None:
    global _lock, current
    _lock = threading.RLock()
    if _starter_of(current) is not None:  # the thread that starts it, and sends what it holds, is the parent's
        current = None


os.register_at_fork(after_in_child=_after_fork_in_child)
