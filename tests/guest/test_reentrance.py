"""Signal handlers and finalisers that call the manager, with real signals and real garbage collections."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from spex_shards.audit import verify
from tests.programs.injection.attack import ROOT, check, wait_for_directory
from tests.programs.injection.load import KINDS
from tests.support.places import LONG
from tests.support.reentrance_app import SCENARIOS, TIMES

pytestmark = pytest.mark.process
ENDING = [name for name in SCENARIOS if " while it " in name]


def run(kind: str, scenario: str, folder: Path) -> int:
    """Run a scenario until its process kills itself, and audit the directory; return the number of interruptions."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.support.reentrance_app", kind, scenario, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == -9, f"ended with {done.returncode}: {done.stderr[-4000:]}"
    if scenario != "interrupts":  # an exception out of a handler may come while the interpreter takes none
        assert "Exception ignored" not in done.stderr, done.stderr[-2000:]
    journal = json.loads((folder / "journal").read_text())
    wait_for_directory(folder)
    assert not verify(folder / "data")
    cls, options = KINDS[kind]
    with cls(data_dir=folder / "data", impl_models_dir=folder / "models", learning_mode=True, **options) as manager:
        check(manager, journal)
    return int(journal["interrupts"])


@pytest.mark.parametrize("kind", KINDS)
def test_finalisers_that_observe_in_the_middle_of_observations_lose_nothing(kind: str, tmp_path: Path) -> None:
    """They run at any allocation on any thread; everything that they or other calls acknowledged is stored."""
    assert run(kind, "finalisers", tmp_path) >= TIMES


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_handler_that_observes_reads_and_flushes_loses_nothing(kind: str, tmp_path: Path) -> None:
    """It runs hundreds of times in the middle of observations."""
    assert run(kind, "handlers", tmp_path) >= TIMES


@pytest.mark.parametrize("kind", KINDS)
def test_exceptions_out_of_signal_handlers_lose_nothing_that_was_acknowledged(kind: str, tmp_path: Path) -> None:
    """Ctrl-C, alarms and soft time limits hit the main thread anywhere; then the process is killed."""
    assert run(kind, "interrupts", tmp_path) >= TIMES


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scenario", ENDING)
def test_a_service_that_is_terminated_ends_in_its_handler_with_everything_kept(
    kind: str, scenario: str, tmp_path: Path
) -> None:
    """The handler of SIGTERM closes, flushes, posts or joins threads that observe, whatever it interrupts."""
    for turn in range(2 if LONG else 1):
        run(kind, scenario, tmp_path / str(turn))
