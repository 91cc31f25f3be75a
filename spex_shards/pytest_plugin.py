"""The pytest plugin: a project that sets ``spex_models_dir`` in its pytest options learns its models from its tests."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

_stack = pytest.StashKey[ExitStack]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini option."""
    parser.addini(
        "spex_models_dir", "where spex_shards reads and saves implementation models; empty: do nothing", default=""
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start learning, if the project sets ``spex_models_dir``."""
    folder = session.config.getini("spex_models_dir")
    if not folder or session.config.option.collectonly:
        return
    from .testing import prepare_for_test_suite

    stack = ExitStack()
    stack.enter_context(prepare_for_test_suite(impl_models_dir=session.config.rootpath / Path(folder)))
    session.config.stash[_stack] = stack


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Save the learned models."""
    stack = session.config.stash.get(_stack, None)
    if stack is not None:
        del session.config.stash[_stack]
        stack.close()
