"""The supervisor of a process that owns its shards, and that supervisor's successors."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace

from ...log_fields import about
from ..protocol.config import SupervisorConfig
from .owner import SupervisorOwner

logger = logging.getLogger("spex_shards")


class Ownership:
    """Starts a supervisor, starts another whenever it has died, and ends it, but only in the process that made it.

    Args:
        config: The options of each supervisor.
        shutdown_timeout: Seconds that shards get to finish at the end.

    Raises:
        SpexError: The supervisor could not start; the text says why.
    """

    def __init__(self, config: SupervisorConfig, shutdown_timeout: float) -> None:
        self._config = config
        self._shutdown_timeout = shutdown_timeout
        self._pid = os.getpid()
        self._owner: SupervisorOwner | None = None
        self._start()

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self._owner is not None
        return self._owner.pid

    @property
    def pidfd(self) -> int:
        """A descriptor that becomes readable when the supervisor has ended; -1: there is none."""
        return -1 if self._owner is None else self._owner.pidfd

    def _start(self) -> int:
        self._owner = SupervisorOwner(self._config)
        self._warn()
        return self._owner.pidfd

    def _warn(self) -> None:
        for warning in self._owner.warnings if self._owner is not None else ():
            logger.warning("%s", warning, extra=about("start_warning"))

    def succeed(self, say: Callable[[str, str], None]) -> int:
        """Reap a supervisor that has died, and start the next one; return its pidfd.

        Args:
            say: Logs an error on another thread: a slow log handler must not hold the caller up.

        Raises:
            SpexError: The next one could not start.
        """
        owner = self._owner
        if owner is not None and owner.pidfd >= 0:
            say(f"the supervisor (pid {owner.pid}) died: {owner.reap()}; another is started", "supervisor_died")
        self._config = replace(self._config, resumes=True)
        return self._start()

    def end(self, timeout: float | None = None) -> None:
        """Have the supervisor and its workers end, and wait for that. It may be called again.

        Args:
            timeout: Seconds that shards get to finish; None: the `shutdown_timeout`.
        """
        owner = self._owner
        if owner is None or os.getpid() != self._pid:
            return
        for text in owner.stop(self._shutdown_timeout if timeout is None else timeout):
            logger.warning("%s", text, extra=about("process_killed"))

    def in_child(self) -> Ownership | None:
        """In a forked child: let go of the parent's supervisor, and return the child's own right to one, if any."""
        if self._owner is not None:
            self._owner.let_go()
        return None
