"""The process that the user started: collects what tests showed, saves or judges the models, and tells the result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from ..domain.specification import Specification
from ..domain.transition import Transition
from ..review.provenance import MOST_TESTS
from .concluding import Conclusion, conclude
from .portions import Portion, Step, specification_of
from .recording import NOTE, Recorder
from .settings import Settings
from .summary import tell

StepTests = dict[str, dict[Transition, list[str]]]


class Gathered:
    """What all tests of a run showed.

    Attributes:
        shown: Specification → transition → the first tests that showed it and passed; none: it was shown outside of
            tests.
        failed_only: The same for tests that failed, if they teach nothing. It may have what `shown` has too.
        classes: The specifications that the run used.
        ran: The tests that were run.
        problems: What could not be noted, in sentences.
        crashed: How many processes of pytest-xdist crashed.
        deselected: How many tests were deselected.
    """

    def __init__(self, *, failures_teach: bool) -> None:
        self._failures_teach = failures_teach
        self.shown: StepTests = {}
        self.failed_only: StepTests = {}
        self.classes: dict[str, type[Specification]] = {}
        self.ran: set[str] = set()
        self.problems: list[str] = []
        self.crashed = 0
        self.deselected = 0

    def add(self, portion: Portion, test: str | None) -> None:
        """Add what a test showed; None: it was shown outside of tests."""
        for name, data in portion.declared.items():
            self.classes.setdefault(name, specification_of(data))
        left_out = portion.failed and not self._failures_teach
        self._note(self.failed_only if left_out else self.shown, portion.steps, test)
        self._note(self.shown, portion.certain, test)
        self.problems += [text for text in portion.problems if text not in self.problems]
        self.deselected = max(self.deselected, portion.deselected)

    @staticmethod
    def _note(into: StepTests, steps: Iterable[Step], test: str | None) -> None:
        for name, transition in steps:
            tests = into.setdefault(name, {}).setdefault(transition, [])
            if test is not None and test not in tests and len(tests) < MOST_TESTS:
                tests.append(test)


class Gatherer:
    """A plugin of the process that the user started.

    Args:
        settings: The options of the run.
        recorder: What learns in this process; None: other processes run the tests.
    """

    def __init__(self, settings: Settings, recorder: Recorder | None) -> None:
        self._settings = settings
        self._recorder = recorder
        self._gathered = Gathered(failures_teach=settings.failures_teach)
        self._conclusion: Conclusion | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test showed."""
        self._gathered.ran.add(report.nodeid)
        packed = getattr(report, NOTE, None)
        if isinstance(packed, str) and report.when == "teardown":
            self._gathered.add(Portion.unpacked(packed), report.nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: Any) -> None:
        """Take what a process of pytest-xdist hands over at its end; count those that crashed."""
        packed = getattr(node, "workeroutput", {}).get(NOTE)
        if isinstance(packed, str):
            self._gathered.add(Portion.unpacked(packed), None)
        elif error:
            self._gathered.crashed += 1

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Save or judge the models; the session fails if they are not as they should be."""
        if self._recorder is not None and self._recorder.rest is not None:
            self._gathered.add(self._recorder.rest, None)
        partial = why_partial(session, exitstatus, self._gathered)
        whole = not partial and not session.testsfailed
        self._conclusion = conclude(self._settings, self._gathered, partial=partial, whole=whole)
        if self._conclusion.failures and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the summary."""
        if self._conclusion is not None:
            tell(terminalreporter, self._conclusion)


def why_partial(session: pytest.Session, exitstatus: int, gathered: Gathered) -> list[str]:
    """Return why a run did not run all tests; nothing: as far as is known it ran all."""
    option, reasons = session.config.option, []
    for name, flag in (("keyword", "-k"), ("markexpr", "-m")):
        if getattr(option, name, ""):
            reasons.append(f"{flag} {getattr(option, name)!r}")
    reasons += ["--lf"] if getattr(option, "lf", False) else []
    reasons += ["--deselect"] if getattr(option, "deselect", None) else []
    if session.config.args_source is pytest.Config.ArgsSource.ARGS and not _names_everything(session.config):
        reasons.append(f"only {' '.join(session.config.args[:3])}{' …' if len(session.config.args) > 3 else ''}")
    if not reasons and gathered.deselected:
        reasons.append(f"{gathered.deselected} deselected")
    if session.shouldfail or session.shouldstop or exitstatus == pytest.ExitCode.INTERRUPTED:
        reasons.append("it stopped early")
    if gathered.crashed:
        crashed = "a worker" if gathered.crashed == 1 else f"{gathered.crashed} workers"
        reasons.append(f"{crashed} of pytest-xdist crashed; what the tests that ran there then showed is not known")
    return reasons


def _names_everything(config: pytest.Config) -> bool:
    """Return whether the arguments of the command line are the folders in which pytest would look without them."""
    given = {(config.invocation_params.dir / arg).resolve() for arg in config.args}
    usual = {(config.rootpath / path).resolve() for path in config.getini("testpaths")} or {config.rootpath.resolve()}
    return usual <= given or config.rootpath.resolve() in given
