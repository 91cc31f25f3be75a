"""Support for test suites of programs that use this library: learn models from a test run, and mock instances.

::

    with spex_shards.testing.prepare_for_test_suite(impl_models_dir="spex_impl_models"):
        run_the_tests()

Within the block, the module-level calls use a manager with a temporary data directory, whose models all learn. At the
end, its models are merged with the model files and saved with learning off.
"""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .domain.impl_model import ImplModel
from .domain.specification import registered
from .facade import mock_instance
from .formats.model_files import paths_by_name, read_models, write_models
from .manager import InstanceManager, ShardedInstanceManager, SimpleInstanceManager, default
from .manager.options import UNSET
from .manager.settings import options_from
from .review import write_sidecar

__all__ = ["mock_instance", "prepare_for_test_suite"]


@contextmanager
def prepare_for_test_suite(
    manager: InstanceManager | type[InstanceManager] | str | None = None, impl_models_dir: Any = None
) -> Iterator[InstanceManager]:
    """Let all models learn while a test suite runs, and save them when it ends.

    A run that fails, or runs only a part of the tests, adds transitions and never removes any. Models that were read
    but not used, and empty models, are saved too. A file that cannot be read stays as it is. For each specification
    that had an instance at the end, or whose model grew, its declaration is saved beside the model
    (``NAME.spex.json``), so that ``spex-shards check`` can tell whether the specification has changed since.

    Args:
        manager: A manager class; ``"simple"`` or ``"sharded"``; a manager of your own that is not started yet (its own
            options apply; give it ``learning_mode=True``); or None: the option ``manager`` decides.
        impl_models_dir: The directory of the model files. Default: the option of that name.

    Yields:
        The started manager, which the module-level calls use as well.

    Raises:
        ImplModelError: There are two files for one specification.
        ExceptionGroup: The errors of models that could not be saved; the others were.
    """
    options = options_from({"impl_models_dir": UNSET if impl_models_dir is None else impl_models_dir})
    folder = Path(options["impl_models_dir"])
    with tempfile.TemporaryDirectory(prefix="spex-shards-", ignore_cleanup_errors=True) as data_dir:
        running = _made(manager, options["manager"], data_dir, folder)
        with running:
            before = default.use(running)
            try:
                yield running
            finally:
                default.use(before)
                running.flush()
                used = {instance.specification_name for instance in running.iter_instances(history_limit=0)}
                _save(folder, running.all_impl_models(), used)


def _made(
    manager: InstanceManager | type[InstanceManager] | str | None, kind: str, data_dir: str, folder: Path
) -> InstanceManager:
    if isinstance(manager, InstanceManager):
        return manager
    if manager is None or isinstance(manager, str):
        name = manager or kind
        if name not in ("simple", "sharded"):
            raise ValueError(f'manager must be "simple" or "sharded", a manager or its class, got: {manager!r}')
        manager = ShardedInstanceManager if name == "sharded" else SimpleInstanceManager
    if not (isinstance(manager, type) and issubclass(manager, InstanceManager)):
        raise TypeError(f'manager must be "simple" or "sharded", a manager or its class, got: {manager!r}')
    return manager(  # type: ignore[call-arg]
        data_dir=data_dir, impl_models_dir=folder, learning_mode=True, mode="enforce"
    )


def _save(folder: Path, learned: list[ImplModel], used: set[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parts of a suite that run at the same time must not lose each other's models
        grown = _merge(folder, learned)
        for name, path in paths_by_name(folder).items():
            cls = registered(name) if name in used | grown else None
            if cls is not None:
                write_sidecar(path, cls.declaration)


def _merge(folder: Path, learned: list[ImplModel]) -> set[str]:
    """Merge learned models into the files; return the names of the models that grew."""
    on_disk, malformed = read_models(folder)
    models = {name: set(model.transitions) for name, model in on_disk.items()}
    for model in learned:
        models.setdefault(model.specification, set()).update(model.transitions)
    write_models(
        folder,
        [
            ImplModel(specification=name, transitions=frozenset(transitions))
            for name, transitions in sorted(models.items())
            if name not in malformed
        ],
    )
    return {name for name, found in models.items() if name not in on_disk or found > on_disk[name].transitions}
