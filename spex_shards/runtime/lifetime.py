"""The lifetime of a manager or of `Shards`: start, close, close at exit, and forked children."""

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

from ..errors import DataDirLocked, LayoutMismatch, ManagerClosed, SpexError
from ..log_fields import about
from .client.mailbox import Mailbox
from .data_dir import DataDir
from .protocol.shipping import is_shipping
from .system.user_code import handler_running
from .transport import Transport

MESSAGES_WITHIN: Final = 0.1
"""When a manager closes, `on_message` gets at least this many seconds to handle the messages that have arrived."""
logger = logging.getLogger("spex_shards")
_all: weakref.WeakSet[Lifetime] = weakref.WeakSet()


class Life(Enum):
    """The state of a `Lifetime`; the values are used in error messages."""

    NEW = "not started: start it by `with` or start()"
    STARTING = "just being started: wait until start() has returned"
    STARTED = "started already"
    CLOSING = "just being closed: create another one when close() has returned"
    CLOSED = "closed: create another one"


class Lifetime:
    """The common part of managers and `Shards`: opening the transport, closing it, and refusing calls outside of that.

    Args:
        connect: Opens and returns the transport; called by `start`.
        data_dir: The data directory.
        shutdown_timeout: Seconds that shards get to finish when it is closed.
        on_message: Called with each message that arrives; None: messages wait in the mailbox.

    Attributes:
        transport: The transport to the shards; None before the start.
        directory: The data directory.
        mailbox: Holds messages until they are taken.
        at_end: Called when it is closed, and may be called again; None: nothing is.
    """

    transport: Transport | None = None
    at_end: Callable[[], object] | None = None
    what: ClassVar[str] = "manager"
    """The word for this object in error messages."""
    instead: ClassVar[str] = "connect to its data directory there, with spex_shards.runtime.connect"
    """What to do instead of sending this object to another process."""
    opens_shards: ClassVar[str]
    """How to open a directory that has another number of shards, for error messages; ``{}`` stands for the number."""

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
        """Open the transport, and return this object when all shards are ready. It can start only once.

        Raises:
            DataDirError: The directory is locked, damaged or has another layout.
            ShardDown: For a `connect`: no process serves the directory.
            ManagerClosed: It was already started or closed.
        """
        with self._changing:
            if self._life is not Life.NEW:
                raise ManagerClosed(f"the {self.what} is {self._life.value}; it starts once")
            self._life = Life.STARTING
            try:
                self.transport = self._connect()
                atexit.register(self._at_exit)
                self._life = Life.STARTED
            except LayoutMismatch as error:
                self._undo_start()
                raise self._mismatch(error) from None
            except BaseException:
                self._undo_start()
                raise
        return self

    def _mismatch(self, error: LayoutMismatch) -> LayoutMismatch:
        opens = self.opens_shards.format(error.context["found"])
        if "place" in error.context:  # a database's number of shards is fixed
            return LayoutMismatch(f"{error}; open it with {opens}", **error.context)
        change = f"spex-shards reshard {self.directory.path} --to {error.context['wanted']}"
        return LayoutMismatch(f"{error}; open it with {opens}, or change it with: {change}", **error.context)

    def _undo_start(self) -> None:
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.close(0)
        atexit.unregister(self._at_exit)
        self._life = Life.NEW

    @property
    def data_dir(self) -> Path:
        """The data directory's path."""
        return self.directory.path

    def close(self) -> None:
        """Flush, stop the shards, and return when they have ended and the directory is free.

        It can be called again, and is called at exit. If an exception cut a close off, or a signal handler interrupts
        one with another close, the close is repeated from its beginning: each of its steps may be repeated.

        Raises:
            ExceptionGroup: The errors of observations sent without waiting that could not be applied and were not yet
                raised.
        """
        try:
            self._close()
        finally:
            if self._life is Life.CLOSED and self.at_end is not None:
                self.at_end()

    def _close(self) -> None:
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
                self._life = Life.STARTED  # this is a forked child, and the transport belongs to its parent
                raise
            except SpexError as error:
                failure = error
            atexit.unregister(self._at_exit)
            self._life = Life.CLOSED
        # Outside the lock, because `on_message` may call `close` as well.
        self.mailbox.close(max(MESSAGES_WITHIN, deadline - time.monotonic()))
        if failure is not None:
            raise failure
        self._unapplied(errors)

    def _unapplied(self, errors: list[SpexError]) -> None:
        """Raise the errors of what was sent without waiting; overridden where they are only counted."""
        raise_unapplied(errors)

    def _at_exit(self) -> None:
        try:
            self.close()
        except DataDirLocked:
            pass  # a forked child owns nothing that it could close
        except ExceptionGroup as group:
            for error in group.exceptions:
                logger.error("%s", error, extra=about("unapplied"))

    def __enter__(self) -> Self:
        return self if self._life is Life.STARTED else self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def _open(self) -> Transport:
        """The transport, for one call; a `close` in another thread meanwhile does not take it away from that call."""
        self._check()
        assert self.transport is not None
        self.transport.check()
        return self.transport

    def _check(self) -> None:
        # The handler is checked first: a manager that was shipped to a shard is closed there (`__reduce__`), and
        # "closed" would be the wrong explanation.
        if handler_running():
            raise RuntimeError(f"a handler must not call a {self.what}: it runs inside the shard")
        if self._life is not Life.STARTED:
            raise ManagerClosed(f"the {self.what} is {self._life.value}")

    @property
    def life(self) -> Life:
        """Where it is between its creation and its end."""
        return self._life

    def __reduce__(self) -> tuple[Any, ...]:
        if is_shipping():
            # A handler that is sent to a shard may refer to its manager; in the shard, that one refuses calls.
            return _elsewhere, (type(self),)
        return self._sent()

    def _sent(self) -> tuple[Any, ...]:
        """Return what pickle needs to send this object to another process.

        Raises:
            TypeError: It cannot be sent; the text says what to do instead.
        """
        raise TypeError(f"a {type(self).__name__} cannot be sent to another process: {self.instead}")


def _elsewhere(cls: type[Lifetime]) -> Lifetime:
    manager = cls.__new__(cls)
    manager._life = Life.CLOSED
    manager._changing = threading.RLock()
    return manager


def _after_fork_in_child() -> None:
    for one in list(_all):
        one._changing = threading.RLock()  # a thread that does not exist in the child may hold the old lock
        if one._life is Life.CLOSING:
            one._life = Life.CLOSED  # the thread that was closing it does not exist in the child


os.register_at_fork(after_in_child=_after_fork_in_child)


def raise_unapplied(errors: Iterable[SpexError]) -> None:
    """Raise `errors` as one `ExceptionGroup`; do nothing if there are none."""
    listed = list(errors)
    if listed:
        raise ExceptionGroup("observations sent without waiting could not be applied", listed)
