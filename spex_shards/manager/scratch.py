"""`scratch`: a manager whose state lasts no longer than it does."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Unpack
from weakref import finalize

from .base import InstanceManager
from .options import ManagerOptions
from .sharded import ShardedInstanceManager
from .simple import SimpleInstanceManager


def scratch(**options: Unpack[ManagerOptions]) -> InstanceManager:
    """Return a manager with a temporary data directory, which is deleted when the manager closes.

    For examples, experiments and scripts that are run again and again::

        with spex_shards.scratch(learning_mode=True) as manager:
            manager.init_instance(Order, 17)

    With a lasting directory, the second run of such a script fails: its instances exist already (`IdentifierInUse`).
    Creating them only if they do not exist would not help, because they would still be in the last state of the first
    run, and the first step of the second run would be a deviation. What must last is kept by the other managers.

    ``with`` or `start` starts the manager, and its `close` deletes the directory; if that is forgotten, it is deleted
    when the interpreter exits. A process that is killed leaves it in the system's folder for temporary files.

    Args:
        **options: The options of `ShardedInstanceManager`, except `data_dir`. With `distribution_factor`, the manager
            has that many shard processes; without it, it works in this process. Model files are read only if
            `impl_models_dir` is given.

    Raises:
        TypeError: An option is unknown, or is `data_dir`.
        ValueError: A value breaks its option's rule.
    """
    if "data_dir" in options:
        raise TypeError(
            "scratch() makes a data directory of its own and deletes it: to keep one, give data_dir to "
            "SimpleInstanceManager or ShardedInstanceManager"
        )
    folder = Path(tempfile.mkdtemp(prefix="spex-shards-"))
    cls = ShardedInstanceManager if "distribution_factor" in options else SimpleInstanceManager
    try:
        options["data_dir"] = folder / "data"
        options.setdefault("impl_models_dir", folder / "models")
        manager = cls(**options)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    manager.at_end = finalize(manager, _remove, folder, os.getpid())
    return manager


def _remove(folder: Path, maker: int) -> None:
    if os.getpid() == maker:  # a forked child must not delete what its parent uses
        shutil.rmtree(folder, ignore_errors=True)
