"""What a test sees of other tests under the plugin: nothing; and what its outcome teaches."""

from __future__ import annotations

import json

import pytest

from tests.support.plugin_runs import ALL, model_text, project, run, text_of

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("specifications_as_before")
UPDATE = "--spex=update"

ISOLATED = """
import unittest

spex.init_instance(Payment, "import")

def ids():
    return sorted(str(instance.identifier) for instance in spex.all_instances())

@pytest.fixture(scope="session")
def of_session():
    spex.init_instance(Payment, "session")

@pytest.fixture(scope="module", params=["a", "b"])
def of_module(request, of_session):
    spex.init_instance(Payment, "module")  # the second parameter finds the identifier free
    yield request.param
    spex.transition("module", "authorise", "authorised")  # it is still there

@pytest.fixture
def of_function(of_module):
    spex.init_instance(Payment, "function")

@pytest.mark.parametrize("count", [1, 2])
def test_function(of_function, count):
    assert ids() == ["function", "import", "module", "session"]
    spex.init_instance(Payment, 1)
    spex.transition(1, "authorise", "authorised")
    assert spex.get_instance(1).current_state == "authorised"

@pytest.fixture(scope="class")
def late(request):
    return request.getfixturevalue("later")

@pytest.fixture(scope="class")
def later():
    spex.init_instance(Payment, "later")

class TestClass:
    @classmethod
    def setup_class(cls):
        spex.init_instance(Payment, "class")

    def test_first(self, late):
        spex.init_instance(Payment, 1)
        assert ids() == ["1", "class", "import", "later", "module", "session"]
        spex.delete_instance("later")

    def test_second(self):
        spex.init_instance(Payment, "later")
        assert ids() == ["class", "import", "later", "module", "session"]

class TestUnit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        spex.init_instance(Payment, "unit")

    def test_first(self):
        spex.init_instance(Payment, 1)
        assert ids() == ["1", "import", "module", "session", "unit"]

    def test_second(self):
        spex.init_instance(Payment, 1)

def test_last():
    assert ids() == ["import", "module", "session"]
    assert spex.delete_instances(lambda instance: instance.identifier == 1) == 0
"""


def test_each_test_has_its_own_instances(pytester: pytest.Pytester) -> None:
    """Identifiers are free for each test; those of fixtures live as long as their fixtures."""
    project(pytester, ISOLATED)
    result = run(pytester, UPDATE)
    result.assert_outcomes(passed=9)
    assert result.ret == 0


OUTCOMES = """
def show(action, state):
    spex.init_instance(Payment, 1)
    spex.transition(1, action, state)

def test_fails_first():
    show("both", "known")
    show_more()

def show_more():
    spex.transition(1, "failed", "wrong")
    assert 0

def test_passes_later():
    show("both", "known")

@pytest.mark.xfail
def test_is_expected_to_fail():
    show("expected", "wrong")
    assert 0

@pytest.fixture
def breaks():
    show("setup", "wrong")
    assert 0

def test_setup_fails(breaks):
    pass

@pytest.fixture
def breaks_late():
    yield
    assert 0

def test_teardown_fails(breaks_late):
    show("teardown", "wrong")

def test_is_skipped():
    show("skipped", "known")
    pytest.skip("in the middle")

@pytest.fixture(scope="module")
def wide():
    spex.init_instance(Payment, "wide")
    spex.transition("wide", "wide", "known")

def test_fails_with_a_fixture(wide):
    assert 0
"""
LEFT_OUT = ("expected", "failed", "setup", "teardown")


def test_failed_tests_teach_nothing(pytester: pytest.Pytester) -> None:
    """What another test or a wider fixture showed is learned; what was left out is listed with its test."""
    project(pytester, OUTCOMES)
    result = run(pytester, UPDATE)
    learned = model_text(pytester)
    assert {action for action in ("both", "skipped", "wide", *LEFT_OUT) if f"--[{action}]->" in learned} == {
        "both",
        "skipped",
        "wide",
    }
    shown = text_of(result)
    for action in LEFT_OUT:
        source = "known" if action == "failed" else "new"
        assert f"  ! {source} --[{action}]-> wrong  (only failed tests showed it, so it is left out)" in shown
    assert "      shown by test_shop.py::test_fails_first" in shown
    assert "new --[both]-> known  (learned)\n      shown by test_shop.py::test_passes_later\n" in shown


def test_failed_tests_teach_where_the_ini_file_says_so(pytester: pytest.Pytester) -> None:
    """Then nothing is left out."""
    project(pytester, OUTCOMES, ini="spex_learn_from_failures = true")
    assert "left out" not in text_of(run(pytester, UPDATE))
    learned = model_text(pytester)
    assert all(f"--[{action}]->" in learned for action in LEFT_OUT)


MARKED = """
pytestmark = pytest.mark.spex_instance(Payment, "module")

@pytest.fixture
def seen(spex_manager):
    return sorted(str(i.identifier) for i in spex_manager.all_instances())

@pytest.mark.spex_instance(Payment, 7, state="authorised", meta={"total": 12})
@pytest.mark.spex_instance(Payment, "module", state="captured")
def test_marked(seen, spex_manager):
    assert seen == ["7", "module"]
    assert spex_manager.get_instance(7).meta == {"total": 12}
    assert spex.get_instance("module").current_state == "captured"
    spex.transition(7, "capture", "captured")

def test_default(seen):
    assert spex.get_instance("module").current_state == "new"

@pytest.mark.spex_instance(Payment, state="new")
def test_wrong():
    pass
"""


@pytest.mark.parametrize("mode", ["update", "off"])
def test_a_marker_mocks_instances_and_the_fixture_gives_the_manager(pytester: pytest.Pytester, mode: str) -> None:
    """It is so where the plugin is off too; a mocked start is no step of the model."""
    project(pytester, MARKED)
    result = run(pytester, f"--spex={mode}", "--strict-markers")
    result.assert_outcomes(passed=2, errors=1)
    assert "missing 1 required positional argument: 'identifier'" in text_of(result)
    assert not (pytester.path / "spex_data").exists()
    if mode == "update":
        assert "nil" not in model_text(pytester)
    else:
        assert not (pytester.path / "models").exists()


def test_the_fixture_alone_is_enough_where_the_plugin_is_off(pytester: pytest.Pytester) -> None:
    """Each test gets a fresh manager, which the module-level calls use."""
    test = """
def test_{}(spex_manager):
    spex.init_instance(Payment, 1)
    assert len(spex_manager.all_instances()) == 1
"""
    project(pytester, test.format("one"), test.format("two"))
    run(pytester, "--spex=off").assert_outcomes(passed=2)


def test_a_test_may_close_the_manager(pytester: pytest.Pytester) -> None:
    """What it showed before is learned, and the next test has a manager on the same data directory."""
    closing = """
@pytest.fixture(scope="module")
def wide():
    spex.init_instance(Payment, "wide")

def test_closes(wide):
    spex.transition("wide", "authorise", "authorised")
    spex.close()

def test_after(wide, spex_manager):
    assert [instance.identifier for instance in spex_manager.all_instances()] == ["wide"]
    spex.transition("wide", "void", "voided")
"""
    project(pytester, closing)
    result = run(pytester, UPDATE)
    result.assert_outcomes(passed=2)
    assert result.ret == 0
    assert "new --[authorise]-> authorised" in model_text(pytester)
    assert "authorised --[void]-> voided" in model_text(pytester)


def test_steps_outside_of_tests_are_learned(pytester: pytest.Pytester) -> None:
    """What an import and the teardown of a session's fixture show belongs to the model, and to no test."""
    outside = """
spex.init_instance(Payment, "import")
spex.transition("import", "authorise", "authorised")

@pytest.fixture(scope="session")
def ends():
    yield
    spex.transition("import", "void", "voided")

def test_it(ends):
    pass
"""
    project(pytester, outside)
    run(pytester, UPDATE)
    assert "authorised --[void]-> voided" in model_text(pytester)
    assert "new --[authorise]-> authorised" in model_text(pytester)
    shown = json.loads((pytester.path / "models" / "plugin.Payment.spex.json").read_text())["shown_by"]
    assert shown == [["authorised", "void", "voided", ["test_shop.py::test_it"]]]


def test_random_order_teaches_the_same(pytester: pytest.Pytester) -> None:
    """Model and sidecar do not depend on the order, as long as no step has more than three tests."""
    project(pytester, ALL)
    run(pytester, UPDATE)
    models = {path.name: path.read_text() for path in (pytester.path / "models").iterdir()}
    pytester.makeconftest("def pytest_collection_modifyitems(items):\n    items.reverse()\n")
    for path in (pytester.path / "models").iterdir():
        path.unlink()
    run(pytester, UPDATE)
    assert {path.name: path.read_text() for path in (pytester.path / "models").iterdir()} == models
