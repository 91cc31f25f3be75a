"""A manager from its start to its end: its way to the shards, its end at exit, and its forked children."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Final, Self

from ..domain.specification import Specification
from ..errors import DataDirLocked, ManagerClosed, SpexError
from ..messages.host_options import SpexOptions
from ..messages.specifications import describe
from ..runtime.client.mailbox import Mailbox
from ..runtime.data_dir import DataDir
from ..runtime.system.user_code import handler_running
from ..runtime.transport import Transport
from .reader import Reader
from .settings import load_specifications

MESSAGES_WITHIN: Final = 0.1
"""Seconds that `on_message` has at least, when a manager closes, for what has arrived."""
logger = logging.getLogger("spex_shards")
_managers: weakref.WeakSet[Lifetime] = weakref.WeakSet()


class Life(Enum):
    """Where a manager is."""

    NEW = "not started yet"
    STARTING = "just being started"
    STARTED = "started"
    CLOSING = "just being closed"
    CLOSED = "closed"


class Lifetime:
    """What a manager is between its start and its end, whatever it is asked.

    Args:
        connect: Opens the way to the shards, when the manager is started.
        options: Every option's value.

    Attributes:
        transport: The way to the shards; None before the start.
        options: Every option's value.
        specifications: The classes that are declared from the start.
        directory: The data directory.
        mailbox: Where messages are until they are taken.
    """

    transport: Transport | None = None

    def __init__(self, connect: Callable[[Any], Transport], options: dict[str, Any]) -> None:
        self._connect = connect
        self.options = options
        self.specifications = load_specifications(options["specifications"])
        self.directory = DataDir(Path(options["data_dir"]).absolute())
        self.mailbox = Mailbox(options["on_message"])
        self._life = Life.NEW
        self._changing = threading.RLock()
        self._known: set[type[Specification]] = set()
        _managers.add(self)

    # ------------------------------------------------------------------ life

    def start(self) -> Self:
        """Start; returns when everything is ready. A manager starts once.

        Raises:
            DataDirError: The directory is locked, damaged or of another layout.
            ShardDown: Nothing serves it, where it is served by another process.
            ManagerClosed: It was closed already.
        """
        with self._changing:
            if self._life is not Life.NEW:
                raise ManagerClosed(f"the manager is {self._life.value}: it starts once")
            self._life = Life.STARTING
            try:
                self.transport = self._connect(self)
                self._reader = Reader(self.transport)
                atexit.register(self._at_exit)
                self._life = Life.STARTED
            except BaseException:
                self._undo_start()
                raise
        return self

    def _undo_start(self) -> None:
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.close(0)
        atexit.unregister(self._at_exit)
        self._life = Life.NEW

    @property
    def data_dir(self) -> Path:
        """The data directory."""
        return self.directory.path

    def close(self) -> None:
        """Flush, stop, and return when all is gone and the directory is free; idempotent; also done at exit.

        A close that was cut off by an exception, or that is interrupted by a signal handler which closes as well, is
        done again from its beginning: each of its steps may be repeated.

        Raises:
            ExceptionGroup: Observations sent without waiting that could not be applied and were not reported yet.
        """
        timeout = self.options["shutdown_timeout"]
        deadline = time.monotonic() + timeout
        with self._changing:
            transport = self.transport
            if transport is None or self._life is Life.CLOSED:
                self._life = Life.CLOSED
                return
            if handler_running():
                self._check()
            self._life = Life.CLOSING
            errors: list[SpexError] = []
            failure: SpexError | None = None
            try:
                errors = transport.close(timeout)
            except DataDirLocked:
                self._life = Life.STARTED  # it is the parent's of this forked child
                raise
            except SpexError as error:
                failure = error
            atexit.unregister(self._at_exit)
            self._life = Life.CLOSED
        # Not within: `on_message` may call `close` as well.
        self.mailbox.close(max(MESSAGES_WITHIN, deadline - time.monotonic()))
        if failure is not None:
            raise failure
        raise_unapplied(errors)

    def _at_exit(self) -> None:
        try:
            self.close()
        except DataDirLocked:
            pass  # a forked child has nothing to close
        except ExceptionGroup as group:
            for error in group.exceptions:
                logger.error("%s", error)

    def spex_options(self) -> SpexOptions:
        """Return what shards that are started now are told of the options."""
        options, interval = self.options, self.options["prune_interval"]
        return SpexOptions(
            impl_models_dir=Path(options["impl_models_dir"]).absolute(),
            learning_mode=options["learning_mode"],
            prune_interval_us=None if interval is None else interval // timedelta(microseconds=1),
            silent_before_us=0 if options["check_transition_timeouts_on_start"] else time.time_ns() // 1000,
            specifications=[describe(cls)[0].plain() for cls in self.specifications],
        )

    def __enter__(self) -> Self:
        return self if self._life is Life.STARTED else self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def _open(self) -> Transport:
        """The way to the shards, for one call; one that closes meanwhile has it still."""
        self._check()
        assert self.transport is not None
        self.transport.check()
        return self.transport

    def _check(self) -> None:
        # In this order: what a handler sees of its own manager, in a shard, is a closed one.
        if handler_running():
            raise RuntimeError("a handler must not call a manager: it runs inside the shard")
        if self._life is not Life.STARTED:
            raise ManagerClosed(f"the manager is {self._life.value}")

    def __reduce__(self) -> tuple[Any, ...]:
        # A handler that is shipped may refer to its manager; in the shard that is one that cannot be called.
        return _elsewhere, (type(self),)


def _elsewhere(cls: type[Lifetime]) -> Lifetime:
    manager = cls.__new__(cls)
    manager._life = Life.CLOSED
    manager._changing = threading.RLock()
    return manager


def _after_fork_in_child() -> None:
    for manager in list(_managers):
        manager._changing = threading.RLock()  # a thread that is not here may have it
        if manager._life is Life.CLOSING:
            manager._life = Life.CLOSED  # which it was doing


os.register_at_fork(after_in_child=_after_fork_in_child)


def raise_unapplied(errors: Iterable[SpexError]) -> None:
    """Raise what could not be applied, as one group; nothing when there is nothing."""
    listed = list(errors)
    if listed:
        raise ExceptionGroup("observations sent without waiting could not be applied", listed)
