"""Learning models from a test suite: the context manager and the pytest plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import spex_shards as spex
from spex_shards.testing import mock_instance, prepare_for_test_suite
from tests.support.helper_specs import Door
from tests.support.places import ROOT

pytest_plugins = ["pytester"]


@pytest.mark.process
@pytest.mark.parametrize("kind", ["simple", "sharded"])
def test_what_the_suite_did_is_saved_with_learning_off(tmp_path: Path, kind: str) -> None:
    """Module-level calls use a temporary manager; its models are written when the block ends."""
    with prepare_for_test_suite(kind, impl_models_dir=tmp_path):
        spex.init_instance(Door, 1)
        spex.transition(1, "open", "opened")
        mock_instance(Door, 2, "opened")
        spex.transition(2, "close", "closed")
    text = (tmp_path / "tests.Door.spex").read_text()
    assert text.startswith("Specification: tests.Door\nLearning mode: false\n")
    assert spex.check(spex.ImplModel.deserialise(text), Door).equivalent


def test_a_partial_or_failed_run_adds_transitions_and_removes_none(tmp_path: Path) -> None:
    """Models are united with the files, even if the suite ends with an error."""
    with prepare_for_test_suite(impl_models_dir=tmp_path):
        spex.init_instance(Door, 1)
        spex.transition(1, "open", "opened")
    before = spex.ImplModel.deserialise((tmp_path / "tests.Door.spex").read_text())

    def failing_run() -> None:
        with prepare_for_test_suite(impl_models_dir=tmp_path):
            mock_instance(Door, 1, "opened")
            spex.transition(1, "close", "closed")
            raise KeyError("a failing suite")

    with pytest.raises(KeyError):
        failing_run()
    after = spex.ImplModel.deserialise((tmp_path / "tests.Door.spex").read_text())
    assert after.transitions == before.transitions | {spex.Transition("opened", "close", "closed")}


def test_unused_and_empty_models_are_saved_and_malformed_ones_left_alone(tmp_path: Path) -> None:
    """Every written file has learning off; a file that cannot be read stays as it is."""
    (tmp_path / "unused.spex").write_text("Specification: unused\nLearning mode: true\nTransitions:\n")
    (tmp_path / "broken.spex").write_text("Specification: broken\nLearning mode: perhaps\n")
    with prepare_for_test_suite(impl_models_dir=tmp_path):
        pass
    assert (tmp_path / "unused.spex").read_text() == "Specification: unused\nLearning mode: false\nTransitions:\n"
    assert (tmp_path / "broken.spex").read_text() == "Specification: broken\nLearning mode: perhaps\n"


def test_the_manager_before_is_back_when_the_suite_has_ended(tmp_path: Path) -> None:
    """Blocks may be nested; the inner one does not affect the outer manager."""
    with prepare_for_test_suite(impl_models_dir=tmp_path / "outer") as outer:
        with prepare_for_test_suite(impl_models_dir=tmp_path / "inner"):
            spex.init_instance(Door, 1)
        assert spex.all_instances() == []
        assert outer.all_instances() == []


def test_a_wrong_manager_is_an_error_that_says_what_is_possible(tmp_path: Path) -> None:
    """The text lists the choices."""
    with pytest.raises(ValueError, match='"simple" or "sharded"'), prepare_for_test_suite("many", tmp_path):
        pass


@pytest.mark.process
def test_the_plugin_learns_for_a_project_that_says_where_its_models_are(pytester: pytest.Pytester) -> None:
    """A project sets one ini option; models are saved even if a test fails."""
    pytester.makeini("[pytest]\nspex_models_dir = models\nspex_mode = update")
    pytester.makepyfile(
        """
        import spex_shards as spex

        class Door(spex.Specification):
            name = "plugin.Door"
            transitions = [("closed", "open", "opened")]

        def test_opens():
            spex.init_instance(Door, 1)
            spex.transition(1, "open", "opened")

        def test_fails():
            assert spex.all_instances()
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    assert "closed --[open]-> opened" in (pytester.path / "models" / "plugin.Door.spex").read_text()
    assert not (pytester.path / "spex_data").exists()


@pytest.mark.long
@pytest.mark.process
def test_the_plugin_does_nothing_for_a_project_that_does_not_ask(pytester: pytest.Pytester) -> None:
    """Without the ini option no manager is started and nothing is written."""
    pytester.makepyfile("import sys\n\ndef test_it():\n    assert 'spex_shards.manager' not in sys.modules")
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


@pytest.mark.process
def test_a_module_of_unittest_learns_with_two_lines(tmp_path: Path) -> None:
    """As docs/testing.md shows it."""
    (tmp_path / "test_door.py").write_text(
        """
import unittest
import spex_shards as spex
from spex_shards.testing import prepare_for_test_suite
from tests.support.helper_specs import Door
from tests.support.places import ROOT

def setUpModule():
    unittest.enterModuleContext(prepare_for_test_suite("simple", "models"))

class DoorTest(unittest.TestCase):
    def test_it(self):
        spex.init_instance(Door, 1)
        spex.transition(1, "open", "opened")
"""
    )
    done = subprocess.run(
        [sys.executable, "-m", "unittest", "-q"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "closed --[open]-> opened" in (tmp_path / "models" / "tests.Door.spex").read_text()
    assert [path.name for path in tmp_path.joinpath("models").glob(".*")] == []
