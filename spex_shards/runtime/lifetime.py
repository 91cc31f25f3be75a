"""Whoever has shards, from the start to the end: the way to them, the end at exit, and forked children."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from ..errors import DataDirLocked, ManagerClosed, SpexError
from .client.mailbox import Mailbox
from .data_dir import DataDir
from .system.user_code import handler_running
from .transport import Transport

MESSAGES_WITHIN: Final = 0.1
"""Seconds that `on_message` has at least, when a manager closes, for what has arrived."""
logger = logging.getLogger("spex_shards")
_all: weakref.WeakSet[Lifetime] = weakref.WeakSet()


class Life(Enum):
    """Where it is."""

    NEW = "not started yet"
    STARTING = "just being started"
    STARTED = "started"
    CLOSING = "just being closed"
    CLOSED = "closed"


class Lifetime:
    """What a manager, or `Shards`, is between its start and its end, whatever it is asked.

    Args:
        connect: Opens the way to the shards, when it is started.
        data_dir: The data directory.
        shutdown_timeout: Seconds that shards have to finish when it is closed.
        on_message: Called with each message that arrives; None: they wait in the mailbox.

    Attributes:
        transport: The way to the shards; None before the start.
        directory: The data directory.
        mailbox: Where messages are until they are taken.
    """

    transport: Transport | None = None
    what: ClassVar[str] = "manager"
    """What it is called in errors."""

    def __init__(
        self,
        connect: Callable[[], Transport],
        *,
        data_dir: str | os.PathLike[str],
        shutdown_timeout: float,
        on_message: Callable[[Any], None] | None,
    ) -> None:
        self._connect = connect
        self._shutdown_timeout = shutdown_timeout
        self.directory = DataDir(Path(data_dir).absolute())
        self.mailbox = Mailbox(on_message)
        self._life = Life.NEW
        self._changing = threading.RLock()
        _all.add(self)

    # ------------------------------------------------------------------ life

    def start(self) -> Self:
        """Start; returns when everything is ready. Once.

        Raises:
            DataDirError: The directory is locked, damaged or of another layout.
            ShardDown: Nothing serves it, where it is served by another process.
            ManagerClosed: It was closed already.
        """
        with self._changing:
            if self._life is not Life.NEW:
                raise ManagerClosed(f"the {self.what} is {self._life.value}: it starts once")
            self._life = Life.STARTING
            try:
                self.transport = self._connect()
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
        timeout = self._shutdown_timeout
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
            raise RuntimeError(f"a handler must not call a {self.what}: it runs inside the shard")
        if self._life is not Life.STARTED:
            raise ManagerClosed(f"the {self.what} is {self._life.value}")

    def __reduce__(self) -> tuple[Any, ...]:
        # A handler that is shipped may refer to its manager; in the shard that is one that cannot be called.
        return _elsewhere, (type(self),)


def _elsewhere(cls: type[Lifetime]) -> Lifetime:
    manager = cls.__new__(cls)
    manager._life = Life.CLOSED
    manager._changing = threading.RLock()
    return manager


def _after_fork_in_child() -> None:
    for one in list(_all):
        one._changing = threading.RLock()  # a thread that is not here may have it
        if one._life is Life.CLOSING:
            one._life = Life.CLOSED  # which it was doing


os.register_at_fork(after_in_child=_after_fork_in_child)


def raise_unapplied(errors: Iterable[SpexError]) -> None:
    """Raise what could not be applied, as one group; nothing when there is nothing."""
    listed = list(errors)
    if listed:
        raise ExceptionGroup("observations sent without waiting could not be applied", listed)
