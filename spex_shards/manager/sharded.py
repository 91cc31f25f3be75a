"""`ShardedInstanceManager`: a supervisor process, one worker per shard, and a client in each process that uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Unpack

from ..errors import DataDirError
from ..messages.specifications import declaration_arguments, undeclared_handlers
from ..runtime.client import ClientOptions
from ..runtime.client.opening import attached, owned
from ..runtime.transport import Transport
from .base import InstanceManager
from .options import UNSET, ManagerOptions
from .settings import manager_options, options_from

HOST: Final = "spex_shards.engine.hosting:prepare"
"""What a supervisor runs on its shards; nothing of it is imported here."""


class ShardedInstanceManager(InstanceManager):
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

    def __init__(self, **options: Unpack[ManagerOptions]) -> None:
        super().__init__(_own, manager_options(options))


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

    def __init__(
        self,
        data_dir: Any,
        *,
        specifications: Iterable[Any] = (),
        call_timeout: Any = UNSET,
        on_message: Callable[[Any], None] | None = None,
    ) -> None:
        given = {"data_dir": data_dir, "call_timeout": call_timeout, "on_message": on_message}
        super().__init__(_attach, options_from({**given, "specifications": specifications}))


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


def _own(manager: InstanceManager) -> Transport:
    """Start a supervisor, and attach to it."""
    of_client = _client_options(manager, manager.options["distribution_factor"])
    host = HOST, manager.spex_options().plain()
    return owned(manager.directory, of_client, manager.mailbox, host, manager.options)


def _attach(manager: InstanceManager) -> Transport:
    """Attach to the supervisor of another process."""
    shards = manager.directory.shards()
    if shards is None:
        raise DataDirError(f"there is no data directory at {manager.directory.path}: serve it first")
    return attached(manager.directory, _client_options(manager, shards), manager.mailbox)


def _client_options(manager: InstanceManager, shards: int) -> ClientOptions:
    options = manager.options
    return ClientOptions(
        shards=shards,
        call_timeout=options["call_timeout"],
        max_unacknowledged=options["max_unacknowledged"],
        max_frame_bytes=options["max_frame_bytes"],
        declared=[(cls.name, declaration_arguments(cls, ships=True)) for cls in manager.specifications],
        undeclared=undeclared_handlers,
    )
