"""The readiness of a process to serve a data directory whenever no other process serves it.

Several processes may be candidates for one directory. The first one that takes the directory's lock starts a
supervisor, and passes the lock on to it; the others attach. When that supervisor ends, the lock is free again.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from dataclasses import replace

from ..data_dir import DataDir, OwnerLock
from ..holder import Role
from ..protocol.config import SupervisorConfig
from .owner import SupervisorOwner
from .ownership import Ownership


class Candidacy(Ownership):
    """Starts a supervisor if no process serves the directory, and again whenever that is so.

    Args:
        directory: The data directory.
        config: The options of each supervisor that this process starts.
        shutdown_timeout: Seconds that shards get to finish at the end.

    Attributes:
        was_served: Whether a supervisor has served this process, or the one that it was forked from. Then the next one
            continues that one's work, and leaves a database that another manager has taken meanwhile.
    """

    def __init__(self, directory: DataDir, config: SupervisorConfig, shutdown_timeout: float) -> None:
        self._directory = directory
        self._config = config
        self._shutdown_timeout = shutdown_timeout
        self._pid = os.getpid()
        self._owner: SupervisorOwner | None = None
        self._lock = OwnerLock(directory, role=Role.SHARDS)
        self.was_served = False

    @property
    def is_serving(self) -> bool:
        """Whether a supervisor runs that this process has started."""
        if self.pidfd < 0:
            return False
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return not poll.poll(0)

    def check(self) -> None:
        """Compare the directory's number of shards with this process's option.

        Raises:
            LayoutMismatch: They differ.
            DataDirError: The layout record is damaged.
        """
        self._directory.check_layout(self._config.shards, write=False)

    def stand(self) -> int:
        """Start a supervisor, and return its pidfd.

        Raises:
            DataDirLocked: Another process serves the directory, or is about to.
            SpexError: The supervisor could not start; the text says why.
        """
        self._directory.make()
        self.check()
        self._lock.take()
        try:
            config = replace(self._config, lock=self._lock.descriptor, resumes=self.was_served)
            self._owner = SupervisorOwner(config)
        finally:
            self._lock.drop()
        self._warn()
        return self._owner.pidfd

    def bury(self, say: Callable[[str, str], None]) -> None:
        """Reap this process's supervisor, which has died.

        Args:
            say: Logs an error on another thread.
        """
        owner = self._owner
        if owner is not None and owner.pidfd >= 0:
            text = f"the supervisor (pid {owner.pid}) died: {owner.reap()}; the next process that needs one starts it"
            say(text, "supervisor_died")

    def in_child(self) -> Ownership:
        """In a forked child: let go of the parent's supervisor and lock, and return the child's own candidacy."""
        super().in_child()
        self._lock.drop()
        heir = Candidacy(self._directory, self._config, self._shutdown_timeout)
        heir.was_served = self.was_served
        return heir
