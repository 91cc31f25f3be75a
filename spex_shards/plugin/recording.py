"""The process that runs tests: its manager, and what each test showed, noted in the report of the test's teardown."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import pytest

from ..domain.specification import registered
from ..errors import ManagerClosed, SpexError
from ..manager import InstanceManager, default
from ..manager.options import ENVIRONMENT_PREFIX
from ..manager.sightings import Sighted, delete_created, stored_specification, take_sightings
from ..review.provenance import MOST_TESTS
from .isolation import Tenants
from .markers import learning_manager, mock_marked
from .portions import Portion, Step, declared_as
from .settings import Settings

NOTE: Final = "spex_shards"
"""The attribute of a report, and the key of a worker's output, that has a portion."""
MOST_PROBLEMS: Final = 10


class Recorder:
    """A plugin that learns while tests run.

    Args:
        settings: The options of the run.

    Attributes:
        manager: The manager that the module-level calls use.
        rest: What was shown outside of tests; known when the session has finished.
    """

    manager: InstanceManager

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = ExitStack()
        self._tenants = Tenants()
        self._steps: set[Step] = set()
        self._certain: set[Step] = set()
        self._outside: set[Step] = set()
        self._ever: set[Step] = set()
        self._told: Counter[Step] = Counter()
        self._declared: set[str] = set()
        self._problems: list[str] = []
        self._failed = False
        self._deselected = 0
        self._data_dir = ""
        self._before: set[Step] = set()
        self.rest: Portion | None = None

    # ------------------------------------------------------------------ the session

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Start the manager, and make the module-level calls use it.

        Raises:
            pytest.UsageError: An option of spex_shards breaks its rule, or the folder of models cannot be read.
        """
        folder = self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix="spex-shards-", ignore_cleanup_errors=True)
        )
        self._data_dir = folder
        try:
            self.manager = self._started()
        except (ValueError, SpexError, ExceptionGroup) as error:
            self._stack.close()
            raise pytest.UsageError(f"spex_shards: {error}") from error
        self._before = self._modelled()
        before = default.use(self.manager)
        self._stack.callback(default.use, before)
        # The module-level calls of a process that a test starts attach by it.
        if self._settings.processes:
            self._stack.enter_context(_exported(ENVIRONMENT_PREFIX + "CONNECT", folder))

    def pytest_collection_finish(self) -> None:
        """Keep what imports of test modules have created and shown, which belongs to no test."""
        self._collect()
        self._tenants.collected()
        self._outside, self._certain = self._certain, set()

    def pytest_deselected(self, items: list[Any]) -> None:
        """Count deselected tests: the run is partial."""
        self._deselected += len(items)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand on what was shown outside of tests, and close the manager."""
        self._collect()
        # A shard that was restarted has forgotten its sightings, and no transition that they taught.
        forgotten = self._modelled() - self._before - self._ever
        self.rest = self._portion(self._steps | self._outside | forgotten, failed=False)
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[NOTE] = self.rest.packed()
        try:
            self._stack.close()
        except (SpexError, ExceptionGroup) as error:
            self._problem(error)

    # ------------------------------------------------------------------ a test

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Mock the instances of the test's markers."""
        mock_marked(item, self.manager)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note whether the test failed; when it was torn down, what it showed. Then delete its instances."""
        report = yield
        if report.failed or (report.skipped and hasattr(report, "wasxfail")):
            self._failed = True
        if report.when == "teardown":
            self._collect()
            self._delete(self._tenants.of_test())
            setattr(report, NOTE, self._portion(self._steps, failed=self._failed).packed())
            self._failed = False
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        """Keep the instances of a fixture that outlives the test."""
        if fixturedef.scope == "function":
            return (yield)
        self._collect()
        self._tenants.enter(fixturedef)
        try:
            value = yield
            self._collect()
        except BaseException:
            self._tenants.leave()
            raise
        self._tenants.leave()
        return value

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Delete the instances of a fixture that has ended."""
        self._delete(self._tenants.of(fixturedef))

    # ------------------------------------------------------------------ inside

    def _collect(self) -> None:
        """Ask the shards what they saw, and note it for the test or for the fixture that is being set up."""
        sighted = self._sighted()
        if sighted.steps:
            self._ever |= sighted.steps
            (self._certain if self._tenants.wider else self._steps).update(sighted.steps)
        if sighted.created:
            self._tenants.add(sighted.created)

    def _sighted(self) -> Sighted:
        try:
            return take_sightings(self.manager)
        except ManagerClosed:  # a test has called `spex_shards.close`
            self._reopen()
            return Sighted(frozenset(), frozenset())
        except (SpexError, ExceptionGroup) as error:
            self._problem(error)
            return Sighted(frozenset(), frozenset())

    def _started(self) -> InstanceManager:
        manager = learning_manager(self._data_dir, self._settings.folder, processes=self._settings.processes)
        manager.notes_sightings = True
        return self._stack.enter_context(manager)

    def _reopen(self) -> None:
        """Start a manager on the data directory of the one that was closed, for the next tests."""
        try:
            self.manager = self._started()
        except (SpexError, ExceptionGroup) as error:
            self._problem(error)
        else:
            default.use(self.manager)

    def _delete(self, created: set[bytes]) -> None:
        try:
            delete_created(self.manager, created)
        except (SpexError, ExceptionGroup) as error:
            self._problem(error)

    def _problem(self, error: BaseException) -> None:
        if len(self._problems) < MOST_PROBLEMS and str(error) not in self._problems:
            self._problems.append(str(error))

    def _portion(self, steps: Iterable[Step], *, failed: bool) -> Portion:
        """Return what was shown since the last portion, without what enough tests have shown already."""
        told = frozenset(step for step in steps if self._told[step] < MOST_TESTS)
        if not failed:
            self._told.update(told)
        certain, problems = frozenset(self._certain), tuple(self._problems)
        declared = self._new_declarations({name for name, _ in told | certain})
        deselected, self._deselected = self._deselected, 0
        self._steps, self._certain = set(), set()
        self._problems.clear()
        return Portion(told, certain, failed, declared, problems, deselected)

    def _new_declarations(self, names: set[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in sorted(names - self._declared):
            cls = registered(name)
            plain = self._stored(name) if cls is None else None
            if cls is not None or plain is not None:
                found[name] = {"plain": plain, "ports": {}} if cls is None else declared_as(cls)
        self._declared |= found.keys()
        return found

    def _stored(self, name: str) -> list[Any] | None:
        """Return a specification that only a process that a test started has declared."""
        try:
            return stored_specification(self.manager, name)
        except SpexError as error:
            self._problem(error)
            return None

    def _modelled(self) -> set[Step]:
        try:
            return {(model.specification, t) for model in self.manager.all_impl_models() for t in model.transitions}
        except (SpexError, ExceptionGroup) as error:
            self._problem(error)
            return set()


@contextmanager
def _exported(variable: str, value: str) -> Iterator[None]:
    """Set an environment variable for the processes that are started meanwhile."""
    before = os.environ.get(variable)
    os.environ[variable] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before
