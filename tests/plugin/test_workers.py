"""The plugin under pytest-xdist: workers learn, and the process that the user started saves and judges once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.places import WHOLE
from tests.support.plugin_runs import ALL, WRONG, model_text, project, text_of

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.process
MANY = """
@pytest.mark.parametrize("number", range(8))
def test_many(number):
    spex.init_instance(Payment, 1)
    spex.transition(1, f"step {number}", "done")
"""
CRASH = """
import os

def test_crash():
    spex.init_instance(Payment, 1)
    spex.transition(1, "crash", "gone")
    os._exit(3)
"""


def run(pytester: pytest.Pytester, *arguments: str, mode: str = "update") -> pytest.RunResult:
    """Run pytest in a process of its own."""
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", f"--spex={mode}", *arguments, timeout=120)


def files(pytester: pytest.Pytester) -> dict[str, Any]:
    """Return the models and what lies beside them, and remove them."""
    found = {path.name: path.read_text() for path in (pytester.path / "models").iterdir()}
    for path in (pytester.path / "models").iterdir():
        path.unlink()
    return found


@pytest.mark.long
def test_workers_teach_what_a_run_without_them_teaches(pytester: pytest.Pytester) -> None:
    """Model and sidecar are the same."""
    project(pytester, ALL, MANY)
    whole = run(pytester, "-n", "2")
    whole.assert_outcomes(passed=10)
    assert "step 7" in model_text(pytester)
    spread = files(pytester)
    run(pytester, "-n", "0").assert_outcomes(passed=10)
    one = files(pytester)
    assert spread["plugin.Payment.spex"] == one["plugin.Payment.spex"]
    shown, alone = (json.loads(found["plugin.Payment.spex.json"])["shown_by"] for found in (spread, one))
    assert [entry for entry in shown if len(entry[3]) < 3] == [entry for entry in alone if len(entry[3]) < 3]


@pytest.mark.long
def test_a_check_with_workers_fails_and_names_the_test(pytester: pytest.Pytester) -> None:
    """The process that the user started judges what the workers hand over; nothing is written."""
    project(pytester, WRONG)
    failed = run(pytester, "-n", "1", mode="check")
    failed.assert_outcomes(passed=1)
    assert failed.ret == 1
    assert "plugin.Payment: violation: new --[void]-> voided was seen and is not specified" in text_of(failed)
    assert "      shown by test_shop.py::test_wrong" in text_of(failed)
    assert not (pytester.path / "models").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments", [*([["-n", "1"], ["-n", "4"]] if WHOLE else []), ["-n", "2", "--dist", "loadscope"]], ids=" ".join
)
def test_the_number_and_kind_of_workers_changes_nothing(pytester: pytest.Pytester, arguments: list[str]) -> None:
    """One worker, more workers than processors, and a distribution by scopes."""
    project(pytester, ALL, MANY)
    run(pytester).assert_outcomes(passed=10)
    alone = files(pytester)["plugin.Payment.spex"]
    result = run(pytester, *arguments)
    result.assert_outcomes(passed=10)
    assert "partial" not in text_of(result).split("spex_shards: update")[1].replace(str(pytester.path), "")
    assert files(pytester)["plugin.Payment.spex"] == alone


@pytest.mark.long
def test_a_crashed_worker_costs_what_its_test_showed_and_no_more(pytester: pytest.Pytester) -> None:
    """What its earlier tests and the other workers learned is kept; the summary says that a worker crashed."""
    project(pytester, MANY, CRASH, ALL)
    result = run(pytester, "-n", "2")
    result.assert_outcomes(passed=10, failed=1)
    assert "1 worker" not in text_of(result)
    assert "This run was partial: a worker of pytest-xdist crashed" in text_of(result)
    learned = model_text(pytester)
    assert all(f"step {number}" in learned for number in range(8))
    assert "authorised --[void]-> voided" in learned
    assert "crash" not in learned


@pytest.mark.long
def test_stopping_at_a_failure_and_selections_keep_what_was_learned(pytester: pytest.Pytester) -> None:
    """With workers, -x, -k and --lf are partial runs."""
    project(pytester, ALL, "def test_fails():\n    assert 0\n", MANY)
    stopped = run(pytester, "-n", "2", "-x")
    assert "This run was partial: it stopped early. Nothing was removed." in text_of(stopped)
    chosen = run(pytester, "-n", "2", "-k", "captured or voided")
    chosen.assert_outcomes(passed=2)
    assert "This run was partial: -k 'captured or voided'" in text_of(chosen)
    assert "authorised --[void]-> voided" in model_text(pytester)
    project(pytester, ALL, "def test_fails():\n    assert 0\n")
    for _ in range(2):
        last = pytester.runpytest_subprocess("-n", "2", "--lf", "--spex=update", timeout=120)
    last.assert_outcomes(failed=1)
    assert "This run was partial: --lf" in text_of(last)


@pytest.mark.long
def test_a_specification_of_workers_is_judged_with_its_properties_and_ports(pytester: pytest.Pytester) -> None:
    """The process that gathers imports no test module, so the specification reaches it as data."""
    inside = """
class Inside(spex.Specification):
    name = "plugin.Inside"
    transitions = [("a", "go", "b"), ("b", "back", "a")]
    inputs = ["go"]
    properties = [spex.properties.at_most(1, "go")]

def test_it():
    spex.init_instance(Inside, 1)
    spex.transition(1, "go", "b")
    spex.transition(1, "back", "a")
"""
    project(pytester, inside)
    result = run(pytester, "-n", "1", mode="check")
    assert result.ret == 1
    assert "plugin.Inside: equivalent" in text_of(result)
    assert "spex: plugin.Inside breaks the property: at most 1 times go" in text_of(result)
    project(pytester, inside, ini="spex_relation = ioco")
    related = run(pytester, "-n", "1", mode="check")
    assert related.ret == 0, text_of(related)
    assert "plugin.Inside: ioco: holds" in text_of(related)


def test_runs_at_the_same_time_lose_nothing_of_each_other(tmp_path: Path) -> None:
    """They take turns at the folder, and leave no file there."""
    import subprocess
    import sys

    script = """
import sys, spex_shards as spex
from pathlib import Path
from spex_shards.testing.saving import Learned, save
for number in range(10):
    save(Path("models"), Learned({"shop": [spex.Transition("a", f"{sys.argv[1]} {number}", "b")]}))
"""
    started = [subprocess.Popen([sys.executable, "-c", script, name], cwd=tmp_path) for name in ("one", "two")]
    assert [process.wait(60) for process in started] == [0, 0]
    model = spex_model(tmp_path / "models" / "shop.spex")
    assert len(model) == 20
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["shop.spex"]


def spex_model(path: Path) -> list[str]:
    """Return the lines of a model file that are transitions."""
    return [line for line in path.read_text().splitlines() if "--[" in line]
