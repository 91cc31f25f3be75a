"""`SimpleInstanceManager`: a manager that starts no process."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Unpack

from ..runtime.client.call_site import locate
from ..runtime.lifetime import logger
from ..runtime.transport import Transport
from .base import InstanceManager
from .options import ManagerOptions
from .settings import manager_options

logger.addFilter(locate)


class SimpleInstanceManager(InstanceManager):
    """An instance manager without processes: it has the same calls and options as `ShardedInstanceManager`.

    Its data directory has one shard, and a `ShardedInstanceManager` with one shard can open it as well. Options about
    processes are checked and then ignored. A daemon thread carries out timers and pruning. A forked child cannot use
    it: its first call raises `DataDirLocked`. It cannot be sent to another process.
    """

    instead: ClassVar[str] = (
        "its shard is in this process; use a ShardedInstanceManager, or connect there to a directory that another "
        "process serves"
    )
    opens_shards = "ShardedInstanceManager(distribution_factor={})"

    def __init__(self, **options: Unpack[ManagerOptions]) -> None:
        super().__init__(_open_here, manager_options(options))


def load() -> None:
    """Import what `SimpleInstanceManager.start` needs, so that it can run in another thread while this one forks."""
    from ..engine import hosting
    from ..runtime.local import transport

    assert hosting
    assert transport


def _open_here(manager: InstanceManager) -> Transport:
    # Imported here: only a process that has a shard of its own needs the engine and the store.
    from ..engine.hosting import prepare
    from ..runtime.local.local_shard import LocalOptions
    from ..runtime.local.transport import LocalTransport

    options = manager.options
    local = LocalOptions(
        partial(prepare, manager.spex_options().plain()),
        options["durability"],
        options["shutdown_timeout"],
        options["store"],
    )
    return LocalTransport(manager.directory, local, manager.mailbox)
