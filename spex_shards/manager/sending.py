"""Managers that are sent to another process by pickle, as `multiprocessing` does: there they attach."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterable
from functools import partial
from typing import Any, Final, Self

from ..domain.specification import Specification
from ..runtime.lifetime import Life
from ..runtime.system.user_code import handler_running
from ..runtime.transport import Transport
from .base import InstanceManager
from .settings import load_specifications, options_from
from .sharded import AttachedInstanceManager, attach

_STAY: Final = frozenset({
    "manager", "connect", "data_dir", "distribution_factor", "impl_models_dir", "check_transition_timeouts_on_start",
    "prune_interval", "durability", "store", "namespace", "specifications", "learning_mode", "max_restarts",
    "max_seconds", "retry_failed", "hang_timeout", "shutdown_timeout", "on_message",
})  # fmt: skip
"""Options of the process that serves, or of this process alone; all others go along."""
_received: dict[Any, SentInstanceManager] = {}
_lock = threading.RLock()
logger = logging.getLogger("spex_shards")


class SentInstanceManager(AttachedInstanceManager):
    """An instance manager that came from another process; it attaches to the same directory at its first use.

    Args:
        data_dir: The absolute path of the data directory.
        options: Further options.
        names: The specifications, as ``module:Name``; those that cannot be imported here are left out.
    """

    def __init__(self, data_dir: str, options: dict[str, Any], names: tuple[str, ...]) -> None:
        every = options_from({**options, "data_dir": data_dir, "specifications": (), "on_message": None})
        InstanceManager.__init__(self, partial(attach, patient=True), every)
        self.sent = data_dir, options, names

    def start(self) -> Self:
        """Attach; the first call does that as well."""
        self.specifications = tuple(_importable(self.sent[2]))
        super().start()
        for name in ("multiprocessing.util", "multiprocess.util", "billiard.util"):
            if name in sys.modules:  # the processes of these packages do not run what is registered with `atexit`
                sys.modules[name].Finalize(self, self._at_exit, exitpriority=100)
        return self

    @property
    def _open(self) -> Transport:
        if self._life is Life.NEW and not handler_running():
            with self._changing:
                if self._life is Life.NEW:
                    self.start()
        return super()._open


def form_of(manager: InstanceManager) -> tuple[Any, ...]:
    """Return what pickle needs to know of a manager whose shards have processes of their own.

    Raises:
        TypeError: The manager is not started, or it is closed.
    """
    if isinstance(manager, SentInstanceManager):
        return received, manager.sent
    if manager.life is not Life.STARTED:
        raise TypeError(
            f"a {type(manager).__name__} cannot be sent to another process unless it is started, and it is "
            f"{manager.life.value}"
        )
    options = {name: value for name, value in manager.options.items() if name not in _STAY}
    options["mode"] = manager.mode  # it may have been changed since
    names = tuple(f"{cls.__module__}:{cls.__qualname__}" for cls in manager.specifications)
    return received, (os.fspath(manager.data_dir), options, names)


def received(data_dir: str, options: dict[str, Any], names: tuple[str, ...]) -> SentInstanceManager:
    """Return this process's manager for what `form_of` has made: always the same one until it is closed."""
    key = data_dir, repr(sorted(options.items())), names
    with _lock:
        found = _received.get(key)
        if found is None or found.life is Life.CLOSED:
            found = _received[key] = SentInstanceManager(data_dir, options, names)
        return found


def _importable(names: Iterable[str]) -> Iterable[type[Specification]]:
    for name in names:
        try:
            yield from load_specifications([name])
        except ValueError as error:
            logger.warning("a manager that came from another process leaves a specification out: %s", error)


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)
