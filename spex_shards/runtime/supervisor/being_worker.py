"""What a forked child of the supervisor does: it opens its shard and serves it."""

from __future__ import annotations

import socket
import time
from typing import NamedTuple

from ..data_dir import OwnerLock
from ..protocol.config import SupervisorConfig
from ..service import Host
from ..shard import Shard, open_shard
from ..store.port import StoreOptions, Stores
from ..worker import PageWatch, WorkerOptions
from ..worker import run as run_worker
from ..worker.shard_page import ShardPage
from .policy import ShardPolicy


class Means(NamedTuple):
    """What a supervisor has for all its workers.

    Attributes:
        config: Its options.
        lock: The directory's lock, which workers hold as well.
        stores: The stores.
        host: What runs in the shards.
        owner: The owner's pidfd, or -1.
    """

    config: SupervisorConfig
    lock: OwnerLock
    stores: Stores
    host: Host
    owner: int


def be_worker(means: Means, shard: ShardPolicy, page: ShardPage, control: socket.socket) -> int:
    """Open a shard and serve it until the supervisor says to drain; return the exit code."""
    config, index, kept = means.config, shard.index, [means.lock.descriptor]
    watch = PageWatch(index, page, shard.suspects)
    store = StoreOptions(config.durability, kept, on_wait=watch.bump, resumes=shard.claim)

    def boot() -> Shard:
        means.lock.check_place()
        return open_shard(means.stores, index, means.host, store, watch, time.time_ns() // 1000)

    options = WorkerOptions(
        index, config.max_frame_bytes, config.log_level, means.owner, watch, kept, config.hosts is not None
    )
    return run_worker(boot, control, options)
