"""Shared fixtures: managers of each kind, deadlines instead of sleeps, and the proof that no child process is left.

``make test`` runs pytest twice: first the tests that are marked ``alone``, one after another, and then all others in
several processes. The first run writes down which tests it skipped, and the second run reports them at its end.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import spex_shards as spex
from spex_shards.domain.specification import OWN_MODES, _registered
from spex_shards.runtime.system.form import COMPILED

from .support.loop_manager import LoopManager
from .support.places import LONG, SHARED
from .support.processes import children, wait_until

_NOT_RUN = "TESTS_NOT_RUN"
"""The variable that names the file in which one run hands on to the next what it did not run."""
_not_run: dict[str, list[str]] = {}

# Whether examples are made quickly says something of the machine, and nothing of the library.
settings.register_profile("any machine", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure() -> None:
    """Handle Ctrl-C even if it was ignored, as behind a shell's ``&``, because started processes inherit that.

    Forked children that die of a signal do so on purpose, and print no traceback.
    """
    if "TESTS_COMPILED" in os.environ and not COMPILED:
        pytest.exit("the compiled form was to be tested, and the pure one was imported", 1)
    os.register_at_fork(after_in_child=faulthandler.disable)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need files, tools or time that are not available, and report them."""
    import shutil

    items[:] = [item for item in items if not ("[asyncio" in item.name and _name(item) in NOT_ON_A_LOOP)]
    for item in items:
        if "[asyncio" in item.name and _name(item) not in ALSO_ASYNCIO:
            item.add_marker(pytest.mark.long)
        if not LONG:
            _shorten(item)
        if item.get_closest_marker("shared") and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason="needs the data that lies beside the project (../shared)"))
        if COMPILED and item.get_closest_marker("pure"):
            item.add_marker(pytest.mark.skip(reason="replaces a part of a module that is compiled here"))
        for marker in item.iter_markers("tool"):
            name = marker.args[0]
            if shutil.which(name) is None:
                item.add_marker(pytest.mark.skip(reason=f"needs the system tool {name}"))


NOT_ON_A_LOOP = {
    "test_a_handler_knows_who_called",
    "test_an_initial_state_or_a_mocked_state_that_does_not_exist_is_refused",
    "test_an_iterator_ends_with_its_manager",
    "test_enforce_raises_and_observe_counts",
    "test_the_default_handler_logs_in_the_application_with_the_place_of_the_call",
    "test_the_place_of_a_call_is_found_in_a_package_named_like_this_one",
    "test_warn_warns_once_of_each_deviation_at_the_line_of_the_call",
}
"""Tests that are not run over the asyncio manager: its calls come from the thread of its loop, and never block."""
ALSO_ASYNCIO = {
    "test_an_instance_is_what_was_observed_of_it",
    "test_a_deviation_is_judged_and_the_instance_moves_all_the_same",
    "test_a_manager_starts_once_and_ends_for_good",
}
"""Tests that are run over the asyncio manager in every run, and not only in a long one."""


def _name(item: pytest.Item) -> str:
    return getattr(item, "originalname", item.name)


def _shorten(item: pytest.Item) -> None:
    """Skip a test that is marked `long`, and reduce the number of generated examples of other tests."""
    if item.get_closest_marker("long"):
        item.add_marker(pytest.mark.skip(reason="is left to the long run (TESTS_LENGTH=long, which .ci/run sets)"))
    made_up = getattr(getattr(item, "obj", None), "_hypothesis_internal_use_settings", None)
    if made_up is not None:
        fewer = settings(made_up, max_examples=min(made_up.max_examples, max(3, made_up.max_examples // 5)))
        getattr(item.obj, "__func__", item.obj)._hypothesis_internal_use_settings = fewer


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember skipped tests and the reasons; with several processes, the gathering process has them all."""
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _not_run.setdefault(reason.removeprefix("Skipped: "), []).append(report.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Make a report serialisable: a lone surrogate in a text would end the whole run."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, tuple):
        return tuple(map(_encodable, value))
    return value


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print a table of tests that this run and the run before it skipped, with the reasons."""
    handed_on = Path(os.environ[_NOT_RUN]) if _NOT_RUN in os.environ else None
    if handed_on is not None and terminalreporter.config.option.markexpr == "alone":
        handed_on.write_text(json.dumps(_not_run))
        return
    if handed_on is not None and handed_on.exists():
        for reason, tests in json.loads(handed_on.read_text()).items():
            _not_run.setdefault(reason, []).extend(tests)
    terminalreporter.section("not run, and why")
    if not _not_run:
        terminalreporter.write_line("everything was run")
    for reason, tests in sorted(_not_run.items()):
        terminalreporter.write_line(f"{len(tests):5}  {reason}")


@pytest.fixture
def specifications_as_before() -> Iterator[None]:
    """Remove the specifications that a test registers."""
    before, modes = dict(_registered), dict(OWN_MODES)
    yield
    _registered.clear()
    _registered.update(before)
    OWN_MODES.clear()
    OWN_MODES.update(modes)


@pytest.fixture
def no_process_left() -> Iterator[None]:
    """Prove that the test leaves no child process and no zombie behind."""
    before = children()
    yield
    wait_until(lambda: children() <= before, "all child processes are gone")


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Return fresh data and model directories as options."""
    return {"data_dir": tmp_path / "data", "impl_models_dir": tmp_path / "models"}


KINDS = {
    "in-process": (spex.SimpleInstanceManager, {}),
    "1 shard": (spex.ShardedInstanceManager, {"distribution_factor": 1}),
    "3 shards": (spex.ShardedInstanceManager, {"distribution_factor": 3}),
    "asyncio": (LoopManager, {"distribution_factor": 2}),
}


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.long) if name == "1 shard" else name for name in KINDS],
    ids=lambda name: name.replace(" ", "-"),
)
def make_manager(
    request: pytest.FixtureRequest, places: dict[str, Path], no_process_left: None
) -> Iterator[Callable[..., Any]]:
    """Return a function that starts a manager of each kind over the same directories; all are closed at the end."""
    cls, fixed = KINDS[request.param]
    made: list[Any] = []

    def make(**options: Any) -> Any:
        manager = cls(**{**places, **fixed, "call_timeout": 20.0, **options}).start()
        made.append(manager)
        return manager

    yield make
    for manager in made:
        manager.close()


@pytest.fixture
def manager(make_manager: Callable[..., Any]) -> Any:
    """Return a started manager of each kind."""
    return make_manager()


@pytest.fixture
def observed(places: dict[str, Path], specifications_as_before: None) -> Iterator[spex.SimpleInstanceManager]:
    """Return a manager that the module-level calls use during the test; its models learn."""
    from spex_shards.manager import default

    with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:
        before = default.use(manager)
        yield manager
        default.use(before)
