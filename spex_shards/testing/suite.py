"""The context manager in which a whole test suite runs, with any test runner."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..domain.impl_model import ImplModel
from ..domain.specification import registered
from ..formats.model_files import read_models
from ..manager import InstanceManager, ShardedInstanceManager, SimpleInstanceManager, default
from ..manager.options import UNSET
from ..manager.settings import options_from
from .saving import Learned, save


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


def _save(folder: Path, models: list[ImplModel], used: set[str]) -> None:
    learned = {model.specification: model.transitions for model in models}
    before = read_models(folder).models
    grown = {name for name, found in learned.items() if name not in before or found > before[name].transitions}
    classes = {name: registered(name) for name in used | grown}
    save(folder, Learned(learned, {name: cls.declaration for name, cls in classes.items() if cls is not None}))
