"""The marker for mocked instances, the managers of test runs, and the one of a test where the plugin is off."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ..domain.specification import Specification
from ..manager import InstanceManager, ShardedInstanceManager, SimpleInstanceManager, default

MARKER = "spex_instance"


def mock_marked(item: pytest.Item, manager: InstanceManager) -> None:
    """Mock the instances that a test's markers name; those of the module and class first.

    Raises:
        TypeError, ValueError: The arguments of a marker are wrong; names the marker.
    """
    for marker in reversed(list(item.iter_markers(MARKER))):
        unknown = sorted(marker.kwargs.keys() - {"specification", "identifier", "state", "meta"})
        if unknown:
            raise TypeError(f"the marker {MARKER} has no argument {unknown[0]!r}: it takes state and meta")
        _mock(manager, *marker.args, **marker.kwargs)


def _mock(
    manager: InstanceManager,
    specification: type[Specification],
    identifier: Any,
    *,
    state: Any = None,
    meta: Any = None,
) -> None:
    chosen = specification.initial_state if state is None else state
    if chosen is None:
        raise ValueError(f"the marker {MARKER} needs a state: {specification.name} declares no initial state")
    manager.mock_instance(specification, identifier, chosen, meta)


def learning_manager(data_dir: str, models: Path, *, processes: bool = False) -> InstanceManager:
    """Return a manager whose models learn; it is not started. With `processes`, other processes may attach to it.

    Raises:
        ValueError: An option in the environment or in pyproject.toml breaks its rule.
    """
    # A mistake in a test must be seen there, and every instance counts, whatever the program's own options are.
    options: dict[str, Any] = {"mode": "enforce", "sample": 1.0, "learning_mode": True}
    options |= {"data_dir": data_dir, "impl_models_dir": models}
    if processes:
        return ShardedInstanceManager(distribution_factor=1, **options)
    return SimpleInstanceManager(**options)


@contextmanager
def manager_alone() -> Iterator[InstanceManager]:
    """Yield a manager for one test, which the module-level calls use meanwhile; nothing of it is kept."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="spex-shards-", ignore_cleanup_errors=True))
        manager = stack.enter_context(learning_manager(folder, Path(folder) / "models"))
        before = default.use(manager)
        stack.callback(default.use, before)
        yield manager
