"""The default manager for the module-level calls: started at first use, flushed and closed at exit."""

from __future__ import annotations

import os
import threading
from typing import Any, Unpack

from . import InstanceManager
from .options import DefaultOptions
from .shared import default_options, manager_for

_lock = threading.RLock()
_given: dict[str, Any] = {}
_manager: InstanceManager | None = None


def configure(**options: Unpack[DefaultOptions]) -> None:
    """Set options of the default manager, before its first use or after its close.

    Args:
        **options: The options of the managers, and ``manager`` and ``connect``. With ``manager="simple"``, the default,
            one process at a time uses a data directory. With ``"sharded"``, any number of processes on a machine do:
            one of them serves it, and another takes over when that one ends. ``connect=DIR`` uses what ``spex-shards
            serve``, or a manager of another process, serves, and never serves it; calls wait up to `call_timeout` for
            it.

    Raises:
        TypeError: An option is unknown.
        ValueError: A value breaks its option's rule, or two options contradict each other.
        RuntimeError: The default manager is already running.
    """
    with _lock:
        if _manager is not None:
            raise RuntimeError(
                "the default manager is running: call spex_shards.configure() before its first use, or after "
                "spex_shards.close()"
            )
        wanted = {**_given, **options}
        default_options(wanted)
        _given.clear()
        _given.update(wanted)


def default_manager() -> InstanceManager:
    """Return the default manager; the first call starts it.

    Raises:
        RuntimeError: The caller is a handler that runs inside a shard.
    """
    global _manager
    manager = _manager
    if manager is not None:
        return manager
    from ..runtime.system.user_code import handler_running

    if handler_running():
        raise RuntimeError("a handler must not call a manager: it runs inside the shard")
    with _lock:
        if _manager is None:
            _manager = manager_for(_given).start()
        return _manager


def use(manager: InstanceManager | None) -> InstanceManager | None:
    """Make the module-level calls use `manager`; return the one before, which is not closed."""
    global _manager
    with _lock:
        before, _manager = _manager, manager
        return before


def close() -> None:
    """Flush and close the default manager; the next module-level call starts another."""
    manager = use(None)
    if manager is not None:
        manager.close()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)
