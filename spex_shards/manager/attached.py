"""Managers whose engine lies in shards: what a process does with the shards of a running supervisor."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

from ..domain.instance import Instance
from ..domain.specification import Specification
from ..engine.handlers import handler_running
from ..errors import DataDirError, ManagerClosed, SpexError
from ..runtime.client import Client, ClientOptions
from ..runtime.client.mailbox import Mailbox
from ..runtime.protocol.requests import Kind
from ..runtime.protocol.shipping import ship
from ..runtime.shard_info import ShardInfo
from ..runtime.store.data_dir import DataDir
from .base import MESSAGES_WITHIN, InstanceManager, logger, raise_unapplied
from .options import UNSET
from .reading import Life
from .settings import load_specifications, options_from

_managers: weakref.WeakSet[AttachedInstanceManager] = weakref.WeakSet()


class AttachedInstanceManager(InstanceManager):
    """An instance manager on the shards of a supervisor that runs by itself; `connect` makes one.

    It attaches when it is started, and detaches when it is closed. When the supervisor is followed by another, it
    attaches to that by itself, and what was on its way is sent again.

    Args:
        data_dir: The data directory that is served.
        specifications: Classes or ``"module:Name"``, declared to the shards from the start.
        call_timeout: Seconds that a call waits for its answer.
        on_message: Called with each message that a handler sends.

    Raises:
        ValueError: A value against its option's rule.
    """

    _client: Client | None = None

    def __init__(
        self,
        data_dir: Any,
        *,
        specifications: Iterable[Any] = (),
        call_timeout: Any = UNSET,
        on_message: Callable[[Any], None] | None = None,
    ) -> None:
        given = {"data_dir": data_dir, "call_timeout": call_timeout, "on_message": on_message}
        self._prepare(options_from({**given, "specifications": specifications}))

    def _prepare(self, options: dict[str, Any]) -> None:
        self._options = options
        self._specifications = load_specifications(options["specifications"])
        self._life = Life.NEW
        self._changing = threading.RLock()
        _managers.add(self)
        self._mailbox = Mailbox(options["on_message"])
        self._directory = DataDir(Path(options["data_dir"]).absolute())
        self._shards = int(options["distribution_factor"])

    def start(self) -> Self:
        """Attach.

        Raises:
            DataDirError: There is no data directory.
            ShardDown: Nothing serves it.
        """
        with self._changing:
            if self._life is not Life.NEW:
                raise ManagerClosed(f"the manager is {self._life.value}: it starts once")
            self._life = Life.STARTING
            try:
                found = self._directory.shards()
                if found is None:
                    raise DataDirError(f"there is no data directory at {self._directory.path}: serve it first")
                self._shards = found
                self._client = Client(self._directory.socket, self._client_options(), self._mailbox)
                self._client.start()
                atexit.register(self._at_exit)
                self._life = Life.STARTED
            except BaseException:
                self._undo_start()
                raise
        return self

    def _undo_start(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close(0)
        atexit.unregister(self._at_exit)
        self._life = Life.NEW

    @property
    def data_dir(self) -> Path:
        """The data directory."""
        return self._directory.path

    def close(self) -> None:
        """Flush, and let go of the shards.

        A close that was cut off by an exception, or that is interrupted by a signal handler which closes as well, is
        done again from its beginning: each of its steps may be repeated.
        """
        deadline = time.monotonic() + self._options["shutdown_timeout"]
        with self._changing:
            client = self._client
            if client is None or self._life is Life.CLOSED:
                self._life = Life.CLOSED
                return
            if handler_running():
                self._check()
            self._life = Life.CLOSING
            errors: list[SpexError] = []
            try:
                errors = client.flush(self._options["shutdown_timeout"])
            except SpexError as error:
                errors = [error]
            finally:
                self._stop(client)
            self._life = Life.CLOSED
            # What another thread had sent between the flush and the end of the channels.
            errors += client.take_failures()
        # Not within: `on_message` may call `close` as well.
        self._mailbox.close(max(MESSAGES_WITHIN, deadline - time.monotonic()))
        raise_unapplied(errors)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything sent without waiting is applied and durable."""
        self._check()
        raise_unapplied(self._attached.flush(timeout))

    def shards(self) -> list[ShardInfo]:
        """Return what the supervisor says of each shard's process."""
        self._check()
        return self._attached.shards()

    def stats(self) -> list[dict[str, Any]]:
        """Return the counters of each shard."""
        reports = self._read_all(Kind.STATS, ())
        channels = self._attached.channels
        return [
            {
                "shard": index,
                **report,
                "unapplied": channels[index].lines.failures.total,
                "messages_dropped": self._mailbox.dropped[index],
            }
            for index, report in enumerate(reports)
        ]

    def revive(self, index: int) -> None:
        """Start a FAILED shard again, with its restart intensity counted anew; waits until it is ready."""
        self._check()
        if type(index) is not int or not 0 <= index < self._shard_count():
            raise ValueError(f"index must be a shard's, 0 to {self._shard_count() - 1}, got: {index!r}")
        self._attached.revive(index)

    # ------------------------------------------------------------------ inside

    def _client_options(self) -> ClientOptions:
        options = self._options
        return ClientOptions(
            shards=self._shards,
            call_timeout=options["call_timeout"],
            max_unacknowledged=options["max_unacknowledged"],
            max_frame_bytes=options["max_frame_bytes"],
            hang_timeout=options["hang_timeout"],
            specifications=self._specifications,
        )

    def _stop(self, client: Client) -> None:
        client.close()
        atexit.unregister(self._at_exit)

    @property
    def _attached(self) -> Client:
        """The client, for a call that was checked; one that closes meanwhile has it still."""
        assert self._client is not None
        return self._client

    def _at_exit(self) -> None:
        try:
            self.close()
        except ExceptionGroup as group:
            for error in group.exceptions:
                logger.error("%s", error)

    def _observe(self, kind: Kind, key: bytes, arguments: tuple[Any, ...]) -> SpexError | None:
        self._attached.call(key, kind, arguments)
        return None

    def _observe_nowait(self, kind: Kind, key: bytes, arguments: tuple[Any, ...]) -> None:
        self._attached.post(key, kind, arguments)

    def _read(self, key: bytes, kind: Kind, arguments: tuple[Any, ...]) -> Any:
        self._check()
        return self._attached.call(key, kind, arguments)

    def _read_all(self, kind: Kind, arguments: tuple[Any, ...]) -> list[Any]:
        self._check()
        return list(self._read_shards(kind, dict.fromkeys(range(self._shard_count()), arguments)).values())

    def _read_shards(self, kind: Kind, arguments: dict[int, tuple[Any, ...]]) -> dict[int, Any]:
        self._check()
        outcomes = self._attached.call_shards(kind, arguments)
        for outcome in outcomes.values():
            if isinstance(outcome, SpexError):
                raise outcome
        return outcomes

    def _change(self, key: bytes, kind: Kind, arguments: tuple[Any, ...]) -> None:
        self._read(key, kind, arguments)

    def _delete_where(self, predicate: Callable[[Instance], Any]) -> list[Any]:
        arguments = (ship(predicate),)
        everywhere = dict.fromkeys(range(self._shard_count()), arguments)
        return list(self._attached.call_shards(Kind.DELETE_WHERE, everywhere).values())

    def _declare(self, cls: type[Specification]) -> None:
        if not self._attached.knows(cls):
            self._attached.declare(cls)

    def _shard_count(self) -> int:
        return self._shards

    def __reduce__(self) -> tuple[Any, ...]:
        # A handler that is shipped may refer to its manager; in the shard that is one that cannot be called.
        return _elsewhere, (type(self),)


def _elsewhere(cls: type[AttachedInstanceManager]) -> AttachedInstanceManager:
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


def connect(
    data_dir: Any,
    *,
    specifications: Iterable[Any] = (),
    call_timeout: float = 5.0,
    on_message: Callable[[Any], None] | None = None,
) -> AttachedInstanceManager:
    """Return a started manager on the shards that another process serves; its `close` detaches.

    Args:
        data_dir: The data directory that ``spex-shards serve``, or a manager in another process, has open.
        specifications: Classes or ``"module:Name"``, declared to the shards from the start.
        call_timeout: Seconds that a call waits for its answer.
        on_message: Called with each message that a handler sends.

    Raises:
        DataDirError: There is no data directory.
        ShardDown: Nothing serves it.
    """
    return AttachedInstanceManager(
        data_dir, specifications=specifications, call_timeout=call_timeout, on_message=on_message
    ).start()
