"""Shared fixtures: managers of each kind, deadlines instead of sleeps, and the proof that no child process is left.

``make test`` runs pytest twice: first the tests that are marked ``alone``, one after another, and then all others in
several processes. The first run writes down which tests it skipped, and the second run reports them at its end.
"""

from __future__ import annotations

import faulthandler
import json
import os
import secrets
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import spex_shards as spex
from spex_shards.domain.specification import OWN_MODES, _registered
from spex_shards.runtime.system.form import COMPILED

from .support import postgres as private_postgres
from .support import ray_nodes
from .support.cluster_here import ClusterHere, ClusterOnALoop
from .support.loop_manager import LoopManager
from .support.places import LONG, SHARED, WHOLE
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

    items[:] = [item for item in items if not ("asyncio" in _kind_of(item) and _name(item) in NOT_ON_A_LOOP)]
    items[:] = [item for item in items if not ("[postgres" in item.name and _name(item) in NOT_IN_A_DATABASE)]
    items[:] = [item for item in items if not ("cluster" in _kind_of(item) and _name(item) in NOT_IN_A_CLUSTER)]
    items[:] = [item for item in items if not _is_left_to_the_whole(item)]
    for item in items:
        if any(kind in item.name for kind in ("[asyncio", "[postgres")) and _name(item) not in ALSO_THERE:
            item.add_marker(pytest.mark.long)
        if "[3-shards" in item.name and _name(item) in BEFORE_ANYTHING_IS_SENT:
            item.add_marker(pytest.mark.long)
        if not WHOLE:
            _shorten(item)
        if item.get_closest_marker("shared") and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason="needs the data that lies beside the project (../shared)"))
        if COMPILED and item.get_closest_marker("pure"):
            item.add_marker(pytest.mark.skip(reason="replaces a part of a module that is compiled here"))
        if item.get_closest_marker("ray") and (why := ray_nodes.missing()):
            item.add_marker(pytest.mark.skip(reason=why))
        if item.get_closest_marker("postgres") and (why := private_postgres.missing()):
            item.add_marker(pytest.mark.skip(reason=why))
        for marker in item.iter_markers("tool"):
            name = marker.args[0]
            if shutil.which(name) is None:
                item.add_marker(pytest.mark.skip(reason=f"needs the system tool {name}"))


NOT_IN_A_CLUSTER = {
    "test_a_manager_starts_once_and_ends_for_good",
    "test_the_directory_of_one_manager_is_refused_to_another",
    "test_what_comes_from_code_raises_and_what_comes_from_data_is_counted",
}
"""Tests about a manager's data directory, or about options that are those of a cluster's members."""
NOT_ON_A_LOOP = {
    "test_a_pipeline_creates_instances_and_moves_them",
    "test_a_pipeline_that_an_exception_ends_has_sent_what_was_gathered",
    "test_an_identifier_in_use_is_one_error_of_a_pipeline",
    "test_a_handler_knows_who_called",
    "test_an_initial_state_or_a_mocked_state_that_does_not_exist_is_refused",
    "test_an_iterator_ends_with_its_manager",
    "test_enforce_raises_and_observe_counts",
    "test_the_default_handler_logs_in_the_application_with_the_place_of_the_call",
    "test_the_place_of_a_call_is_found_in_a_package_named_like_this_one",
    "test_warn_warns_once_of_each_deviation_at_the_line_of_the_call",
}
"""Tests that are not run over the asyncio manager: its calls come from the thread of its loop and never block, and it
has no `pipeline`."""
NOT_IN_A_DATABASE = {"test_a_directory_is_read_offline_whatever_its_number_of_shards"}
"""Tests about the files of a data directory."""
ALSO_THERE = {
    "test_an_instance_is_what_was_observed_of_it",
    "test_a_deviation_is_judged_and_the_instance_moves_all_the_same",
    "test_a_manager_starts_once_and_ends_for_good",
}
"""Tests that are run over the asyncio manager and over PostgreSQL in every run, and not only in a long one."""


BEFORE_ANYTHING_IS_SENT = {
    "test_any_timedelta_above_zero_is_a_timeout",
    "test_any_duration_is_an_interval",
    "test_the_longest_call_timeout_waits_as_long_as_it_takes",
    "test_a_wrong_entry_is_named_and_what_came_before_it_is_observed",
    "test_arguments_of_init_are_checked_in_the_calling_thread",
    "test_arguments_of_transition_are_checked_in_the_calling_thread",
    "test_what_no_identifier_may_be_is_refused_with_its_type_or_rule",
    "test_arguments_are_checked_before_anything_is_sent",
    "test_a_handler_that_misbehaves_becomes_a_handler_error",
    "test_prunable_states_say_which",
}
"""Tests of what all managers have in common; in a short run they are run over a manager in this process only."""


def _is_left_to_the_whole(item: pytest.Item) -> bool:
    """Return whether a test of the contract is run over a kind of manager only where TESTS_LENGTH=whole is set.

    That goes for one shard, and for shards in PostgreSQL.
    """
    if "[1-shard" in item.name and item.path.stem.startswith(("test_contract", "test_ancestor")) and not WHOLE:
        return True  # three shards are no different, but for the number
    chosen = WHOLE or _name(item) in ALSO_THERE or item.path.stem == "test_contract_models"
    return "[postgres-" in item.name and not chosen


def _name(item: pytest.Item) -> str:
    return getattr(item, "originalname", item.name)


def _kind_of(item: pytest.Item) -> str:
    """Return the kind of manager that a test of the contract is run over, or a text that names none."""
    return item.callspec.id if "make_manager" in getattr(item, "fixturenames", ()) else ""  # type: ignore[attr-defined]


def _shorten(item: pytest.Item) -> None:
    """Skip a test that is marked `long` in a short run, and reduce the number of generated examples of other tests."""
    if item.get_closest_marker("long") and not LONG:
        item.add_marker(pytest.mark.skip(reason="is left to the long run (TESTS_LENGTH=long, which .ci/run sets)"))
    made_up = getattr(getattr(item, "obj", None), "_hypothesis_internal_use_settings", None)
    if made_up is not None:
        fewer = settings(
            made_up, max_examples=min(made_up.max_examples, max(3, made_up.max_examples // (2 if LONG else 8)))
        )
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


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of the test run's PostgreSQL server; it is started by the first test that needs it."""
    base = tmp_path_factory.getbasetemp()
    return private_postgres.shared_url(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@pytest.fixture
def store_url(postgres_url: str) -> Iterator[str]:
    """Return the URL of a namespace in PostgreSQL that does not exist yet; it is removed at the end."""
    name = f"t_{secrets.token_hex(8)}"
    yield f"{postgres_url}&namespace={name}"
    private_postgres.drop(postgres_url, name)


KINDS = {
    "in-process": (spex.SimpleInstanceManager, {}),
    "1 shard": (spex.ShardedInstanceManager, {"distribution_factor": 1}),
    "3 shards": (spex.ShardedInstanceManager, {"distribution_factor": 3}),
    "asyncio": (LoopManager, {"distribution_factor": 2}),
    "postgres in-process": (spex.SimpleInstanceManager, {}),
    "postgres 2 shards": (spex.ShardedInstanceManager, {"distribution_factor": 2}),
    "postgres cluster": (ClusterHere, {"distribution_factor": 2}),
    "postgres asyncio cluster": (ClusterOnALoop, {"distribution_factor": 2}),
}


def _kind(name: str) -> Any:
    if "postgres" in name:
        return pytest.param(name, marks=pytest.mark.postgres)
    return pytest.param(name, marks=pytest.mark.long) if name == "1 shard" else name


@pytest.fixture(
    params=[_kind(name) for name in KINDS],
    ids=lambda name: name.replace(" ", "-"),
)
def make_manager(
    request: pytest.FixtureRequest, places: dict[str, Path], no_process_left: None
) -> Iterator[Callable[..., Any]]:
    """Return a function that starts a manager of each kind over the same directories; all are closed at the end."""
    cls, fixed = KINDS[request.param]
    if "postgres" in request.param:
        fixed = {**fixed, "store": request.getfixturevalue("store_url")}
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
