"""Processes that tests start are observed where the ini file says so."""

from __future__ import annotations

import os

import pytest

from tests.support.plugin_runs import model_text, project, run, text_of

pytest_plugins = ["pytester"]
pytestmark = [pytest.mark.process, pytest.mark.usefixtures("specifications_as_before", "no_process_left")]

FORKED = """
import os

def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
            spex.flush()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

def test_forks():
    spex.init_instance(Payment, 1)
    in_child(lambda: spex.transition(1, "authorise", "authorised"))
    assert spex.get_instance(1).current_state == "authorised"

def test_after():
    assert spex.all_instances() == []
    in_child(lambda: spex.init_instance(Payment, 1))
    spex.transition(1, "failed", "wrong")
    assert 0
"""

STARTED = """
import subprocess, sys

CHILD = '''
import spex_shards as spex
from shop import Payment
spex.init_instance(Payment, 1)
spex.transition_nowait(1, "authorise", "authorised")
'''

def test_starts():
    subprocess.run([sys.executable, "-c", CHILD], check=True, timeout=60)
    assert spex.get_instance(1).current_state == "authorised"

def test_starts_again():
    subprocess.run([sys.executable, "-c", CHILD], check=True, timeout=60)
"""


def test_a_forked_child_speaks_for_the_test_that_forked_it(pytester: pytest.Pytester) -> None:
    """Its steps are learned, its instances deleted; what a failed test's child showed is left out."""
    project(pytester, FORKED, ini="spex_processes = true")
    result = run(pytester, "--spex=update")
    result.assert_outcomes(passed=1, failed=1)
    shown = text_of(result)
    assert "  + new --[authorise]-> authorised  (learned)\n      shown by test_shop.py::test_forks" in shown
    assert "  ! new --[failed]-> wrong  (only failed tests showed it" in shown
    assert "failed" not in model_text(pytester)
    assert "SPEX_SHARDS_CONNECT" not in os.environ


def test_the_module_level_calls_of_a_started_process_attach(pytester: pytest.Pytester) -> None:
    """Two tests may start processes that use the same identifier."""
    project(pytester, STARTED, ini="spex_processes = true")
    result = run(pytester, "--spex=update")
    result.assert_outcomes(passed=2)
    assert "      shown by test_shop.py::test_starts\n      shown by test_shop.py::test_starts_again" in text_of(result)
    assert "new --[authorise]-> authorised" in model_text(pytester)
    assert not (pytester.path / "spex_data").exists()
