"""The pytest plugin: a project that sets ``spex_models_dir`` in its pytest options learns its models from its tests.

pytest imports this module in every project, so it imports the plugin's parts only where a project uses them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .manager import InstanceManager
    from .plugin.recording import Recorder

_RECORDER = "spex_shards_recorder"
_alone = pytest.StashKey["InstanceManager"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("spex", "models of what the program does (spex_shards)")
    group.addoption("--spex", choices=["check", "update", "off"], help="check the models, update them, or do nothing")
    group.addoption("--spex-models-dir", metavar="DIR", help="where the model files are (ini: spex_models_dir)")
    group.addoption("--spex-complete", action="store_true", help="check: fail on what no test has shown yet")
    group.addoption("--spex-frozen", action="store_true", help="check: fail on steps that are not in the model files")
    group.addoption("--spex-report", metavar="FILE.html", help="write the HTML report of the models")
    parser.addini("spex_mode", "check, update or off; default: check where CI is set, else update", default="")
    parser.addini("spex_models_dir", "where the model files are; empty: do nothing", default="")
    parser.addini("spex_specifications", "specifications (module:Name) that are judged in any case", "linelist", [])
    parser.addini("spex_relation", "a relation that is asked for in place of equivalence", default="")
    parser.addini("spex_complete", "check: fail on what no test has shown yet", "bool", default=False)
    parser.addini("spex_frozen", "check: fail on steps that are not in the model files", "bool", default=False)
    parser.addini("spex_learn_from_failures", "learn what only failed tests showed", "bool", default=False)
    parser.addini("spex_processes", "observe processes that tests start", "bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; where the project uses the plugin, register its parts."""
    config.addinivalue_line(
        "markers",
        "spex_instance(Specification, identifier, state=..., meta=...): before the test, put an instance into a state "
        "(default: its specification's initial state)",
    )
    # Nothing more is imported without one of these: this runs in projects that do not use the library.
    if config.getoption("--spex") is None and not (
        config.getoption("--spex-models-dir") or config.getini("spex_models_dir")
    ):
        for option in ("--spex-complete", "--spex-frozen", "--spex-report"):
            if config.getoption(option):
                text = f"{option} does nothing where no models are: set spex_models_dir in pytest's options, or give"
                raise pytest.UsageError(f"{text} --spex-models-dir, or --spex=check")
        return
    from .plugin.settings import settings_of

    settings = settings_of(config)
    if settings is None:
        return
    from .plugin.recording import Recorder

    # With pytest-xdist, its workers run the tests; their own option --dist is "no".
    recorder = Recorder(settings) if getattr(config.option, "dist", "no") == "no" else None
    if recorder is not None:
        config.pluginmanager.register(recorder, _RECORDER)
    if not hasattr(config, "workerinput"):
        from .plugin.gathering import Gatherer

        config.pluginmanager.register(Gatherer(settings, recorder), "spex_shards_gatherer")


@pytest.fixture
def spex_manager(request: pytest.FixtureRequest) -> Iterator[InstanceManager]:
    """The manager of the test run, which the module-level calls use; where the plugin is off, one for this test."""
    recorder: Recorder | None = request.config.pluginmanager.getplugin(_RECORDER)
    if recorder is not None:
        yield recorder.manager
    elif _alone in request.node.stash:
        yield request.node.stash[_alone]
    else:
        from .plugin.markers import manager_alone

        with manager_alone() as manager:
            yield manager


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Where the plugin is off, give a test with mocked instances a manager of its own."""
    if item.get_closest_marker("spex_instance") is None or item.config.pluginmanager.hasplugin(_RECORDER):
        return (yield)
    from .plugin.markers import manager_alone

    with ExitStack() as stack:
        item.stash[_alone] = stack.enter_context(manager_alone())
        try:
            return (yield)
        finally:
            del item.stash[_alone]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where the plugin is off, mock the instances of a test's markers."""
    manager = item.stash.get(_alone, None)
    if manager is not None:
        from .plugin.markers import mock_marked

        mock_marked(item, manager)
