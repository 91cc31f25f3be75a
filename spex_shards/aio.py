"""Instance managers for asyncio.

::

    from spex_shards.aio import AsyncInstanceManager

    async with AsyncInstanceManager(specifications=[Order]) as manager:
        await manager.init_instance(Order, 17)
        await manager.transition(17, "pay", "paid")

docs/asyncio.md is the guide.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Unpack

from .domain.specification import Specification
from .manager.async_clustered import AsyncClusterInstanceManager
from .manager.asynchronous import AsyncInstanceManager, attaching
from .manager.options import ModeOptions

__all__ = ["AsyncClusterInstanceManager", "AsyncInstanceManager", "connect"]


async def connect(
    data_dir: str | os.PathLike[str],
    *,
    specifications: Iterable[type[Specification] | str] = (),
    call_timeout: float | timedelta = 5.0,
    on_message: Callable[[Any], None] | None = None,
    **modes: Unpack[ModeOptions],
) -> AsyncInstanceManager:
    """Return a started manager that uses the shards of another process; its `close` detaches.

    It belongs to the running event loop.

    Args:
        data_dir: The data directory that ``spex-shards serve``, or a manager in another process, has open.
        specifications: Classes or ``"module:Name"``, declared to the shards from the start.
        call_timeout: Seconds that a call waits for its answer.
        on_message: Called with each message that a handler sends, on a thread.
        **modes: `mode`, `observe_timeout`, `sample` and `report_interval`; see `ShardedInstanceManager`.

    Raises:
        DataDirError: There is no data directory.
        ShardDown: No process serves it.
    """
    given = {"data_dir": data_dir, "call_timeout": call_timeout, "on_message": on_message, **modes}
    return await attaching({**given, "specifications": specifications}).start()
