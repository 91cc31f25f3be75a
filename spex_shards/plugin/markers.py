"""The marker for mocked instances, and the manager of a test where the plugin is off."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ..domain.specification import Specification
from ..manager import InstanceManager, SimpleInstanceManager, default

MARKER = "spex_instance"


def mock_marked(item: pytest.Item, manager: InstanceManager) -> None:
    """Mock the instances that a test's markers name; those of the module and class first.

    Raises:
        TypeError, ValueError: The arguments of a marker are wrong; names the marker.
    """
    for marker in reversed(list(item.iter_markers(MARKER))):
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


@contextmanager
def manager_alone() -> Iterator[InstanceManager]:
    """Yield a manager for one test, which the module-level calls use meanwhile; nothing of it is kept."""
    with tempfile.TemporaryDirectory(prefix="spex-shards-", ignore_cleanup_errors=True) as folder:
        models = Path(folder) / "models"
        with SimpleInstanceManager(data_dir=folder, impl_models_dir=models, learning_mode=True) as manager:
            before = default.use(manager)
            try:
                yield manager
            finally:
                default.use(before)
