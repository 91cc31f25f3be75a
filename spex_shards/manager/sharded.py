"""`ShardedInstanceManager`: a supervisor process, one worker per shard, and a client in each process that uses it."""

from __future__ import annotations

import atexit
import logging
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from ..errors import ManagerClosed
from ..messages.specifications import describe
from ..runtime.client import Client, SupervisorOwner
from ..runtime.client.owner import search_path
from ..runtime.protocol.config import SupervisorConfig
from .attached import AttachedInstanceManager
from .base import logger
from .options import UNSET
from .reading import Life
from .settings import options_from

_US = timedelta(microseconds=1)


class ShardedInstanceManager(AttachedInstanceManager):
    """An instance manager on several processes; the same calls as `SimpleInstanceManager`.

    The constructor validates and starts nothing; ``with`` or `start` does, once. A forked child uses the same
    object as a new client of the same shards.

    Args:
        distribution_factor: Number of shards, 1 to 1024; fixed for a data directory. Default 4.
        data_dir: Where everything is kept. Default ``./spex_data``.
        impl_models_dir: Where model files are read from. Default ``./spex_impl_models``.
        check_transition_timeouts_on_start: Whether timeouts that fell due while nothing ran are reported.
        prune_interval: Time between pruning passes; None: only the one at the start. Default 6 hours.
        durability: ``"process"`` (survives the death of any process) or ``"disk"`` (a power loss as well).
        specifications: Classes or ``"module:Name"``; fails early on import errors, refreshes stored data.
        learning_mode: Whether every model learns, and missing ones are made without asking the handler.
        max_restarts, max_seconds: A shard that dies more often within that time is FAILED.
        retry_failed: Seconds after which a FAILED shard is tried again, doubled each time up to 60; None: never.
        call_timeout: Seconds that a call waits for its answer.
        max_unacknowledged: Most requests on their way to a shard that nobody waits for.
        max_frame_bytes: Most bytes of one request.
        hang_timeout: Seconds after which a shard without progress counts as hung; None: never.
        shutdown_timeout: Seconds that shards have to finish when the manager closes.
        on_message: Called with each message that a handler sends.

    Raises:
        ValueError: A value against its option's rule; names the option, the rule, the value and where it came from.
    """

    def __init__(
        self,
        *,
        distribution_factor: Any = UNSET,
        data_dir: Any = UNSET,
        impl_models_dir: Any = UNSET,
        check_transition_timeouts_on_start: Any = UNSET,
        prune_interval: Any = UNSET,
        durability: Any = UNSET,
        specifications: Any = UNSET,
        learning_mode: Any = UNSET,
        max_restarts: Any = UNSET,
        max_seconds: Any = UNSET,
        retry_failed: Any = UNSET,
        call_timeout: Any = UNSET,
        max_unacknowledged: Any = UNSET,
        max_frame_bytes: Any = UNSET,
        hang_timeout: Any = UNSET,
        shutdown_timeout: Any = UNSET,
        on_message: Any = UNSET,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self._prepare(options_from(given))
        self._owner: SupervisorOwner | None = None
        self._owner_pid = os.getpid()
        self._started_us = 0

    def start(self) -> Self:
        """Start the supervisor and the workers; returns when all shards are ready or given up."""
        with self._changing:
            if self._life is not Life.NEW:
                raise ManagerClosed(f"the manager is {self._life.value}: it starts once")
            self._life = Life.STARTING
            self._owner_pid = os.getpid()
            self._started_us = time.time_ns() // 1000
            try:
                self._client = self._new_client(self._new_owner())
                self._client.start()
                atexit.register(self._at_exit)
                self._life = Life.STARTED
            except BaseException:
                self._undo_start()
                raise
        return self

    def _undo_start(self) -> None:
        super()._undo_start()
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.stop(self._options["shutdown_timeout"])

    # ------------------------------------------------------------------ inside

    def _new_owner(self) -> SupervisorOwner:
        options = self._options
        interval = options["prune_interval"]
        config = SupervisorConfig(
            data_dir=str(self._directory.path),
            impl_models_dir=str(Path(options["impl_models_dir"]).absolute()),
            shards=options["distribution_factor"],
            durability=options["durability"],
            check_timeouts=options["check_transition_timeouts_on_start"],
            prune_interval_us=None if interval is None else interval // _US,
            learning_mode=options["learning_mode"],
            max_restarts=options["max_restarts"],
            max_seconds=options["max_seconds"],
            retry_failed=options["retry_failed"],
            max_frame_bytes=options["max_frame_bytes"],
            hang_timeout=options["hang_timeout"],
            shutdown_timeout=options["shutdown_timeout"],
            log_level=min(logging.WARNING, logger.getEffectiveLevel()) or logging.WARNING,
            started_us=self._started_us,
            embedded=True,
            search_path=search_path(),
            specifications=[describe(cls)[0].plain() for cls in self._specifications],
        )
        self._owner = SupervisorOwner(config)
        for warning in self._owner.warnings:
            logger.warning("%s", warning)
        return self._owner

    def _new_client(self, owner: SupervisorOwner) -> Client:
        return Client(self._directory.socket, self._client_options(), self._mailbox, self._succeed, owner.pidfd)

    def _succeed(self) -> int:
        # By the courier, when the supervisor has died: reap it, and start the next.
        if self._owner is not None and self._owner.pidfd >= 0:
            why = self._owner.reap()
            if self._client is not None:  # elsewhere: a log handler must not hold the courier up
                self._client.say(f"the supervisor (pid {self._owner.pid}) died: {why}; another is started")
        return self._new_owner().pidfd

    def _stop(self, client: Client) -> None:
        # In a forked child the supervisor is the parent's: detaching is all.
        super()._stop(client)
        if self._owner is not None and os.getpid() == self._owner_pid:
            for text in self._owner.stop(self._options["shutdown_timeout"]):
                logger.warning("%s", text)
        elif self._owner is not None:
            self._owner.let_go()
