"""The modes of the pytest plugin: update, check and off."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.plugin_runs import ALL, HEAD, WRONG, model_text, project, run, text_of

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("specifications_as_before")


@pytest.fixture(autouse=True)
def no_build_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as on a developer's machine."""
    monkeypatch.delenv("CI", raising=False)


def test_update_learns_and_check_passes_on_what_was_learned(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without CI models are updated; with CI, or if asked for, they are checked; then nothing is written."""
    project(pytester, ALL)
    first = run(pytester)
    assert first.ret == 0
    assert "spex_shards: update" in text_of(first)
    assert "  + authorised --[void]-> voided  (learned)\n      shown by test_shop.py::test_voided" in text_of(first)
    assert "plugin.Payment: equivalent\n  3 of 3 specified transitions shown (100 %)" in text_of(first)
    assert sorted(path.name for path in (pytester.path / "models").iterdir()) == [
        "plugin.Payment.spex",
        "plugin.Payment.spex.json",
    ]
    before = {path: path.stat().st_mtime_ns for path in (pytester.path / "models").iterdir()}
    monkeypatch.setenv("CI", "true")
    second = run(pytester)
    assert second.ret == 0
    assert "spex_shards: check" in text_of(second)
    assert "  + " not in text_of(second)
    assert {path: path.stat().st_mtime_ns for path in (pytester.path / "models").iterdir()} == before


def test_a_second_update_that_learns_nothing_touches_no_file(pytester: pytest.Pytester) -> None:
    """Models and sidecars stay as they are, whatever the order of the tests."""
    project(pytester, ALL)
    run(pytester)
    before = {path: path.stat().st_mtime_ns for path in (pytester.path / "models").iterdir()}
    again = run(pytester, "test_shop.py::test_voided", "test_shop.py::test_captured")
    assert "commit the folder" not in text_of(again)
    assert {path: path.stat().st_mtime_ns for path in (pytester.path / "models").iterdir()} == before


def test_check_fails_on_a_violation_and_names_its_test(pytester: pytest.Pytester) -> None:
    """The explanation is that of `spex-shards check`; all tests passed, and the session fails."""
    project(pytester, ALL)
    run(pytester)
    committed = model_text(pytester)
    project(pytester, ALL, WRONG)
    result = run(pytester, "--spex=check")
    result.assert_outcomes(passed=3)
    assert result.ret == 1
    shown = text_of(result)
    assert "plugin.Payment: violation: new --[void]-> voided was seen and is not specified" in shown
    assert "  + new --[void]-> voided  (not in the model file yet)\n      shown by test_shop.py::test_wrong" in shown
    assert "spex: plugin.Payment does what its specification does not allow" in shown
    assert model_text(pytester) == committed
    updated = run(pytester, "--spex=update")
    assert updated.ret == 0  # an update says it, and leaves the decision to the check
    done = subprocess.run(
        [sys.executable, "-m", "spex_shards.cli", "check", "models", "--specification", "shop:Payment"],
        cwd=pytester.path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert all(line in shown.splitlines() for line in done.stdout.splitlines() if "not seen" not in line)
    committed_cause = run(pytester, "--spex=check", "-k", "voided")
    assert "  ! new --[void]-> voided  (a cause of the verdict)\n      shown by test_shop.py::test_wrong" in text_of(
        committed_cause
    )


def test_off_and_an_empty_project_leave_everything_alone(pytester: pytest.Pytester) -> None:
    """No manager is started, nothing is imported and nothing written."""
    untouched = (
        "def test_untouched():\n    from spex_shards.manager import default\n    assert default.current is None\n"
    )
    project(pytester, untouched)
    assert run(pytester, "--spex=off").ret == 0
    pytester.makeini("[pytest]\npythonpath = .")
    assert run(pytester).ret == 0
    assert not (pytester.path / "models").exists()
    pytester.makepyfile(test_shop="def test_it():\n    pass")
    assert run(pytester, "--spex=update").ret == 0  # asked for without a folder: the usual one
    assert (pytester.path / "spex_impl_models").is_dir()


@pytest.mark.parametrize(
    ("ini", "arguments", "text"),
    [
        ("spex_mode = perhaps", [], "the ini option spex_mode must be check, update or off, got: 'perhaps'"),
        ("spex_complete = perhaps", [], "the ini option spex_complete must be true or false"),
        ("spex_specifications = Payment", [], "must have lines module:Name, got: 'Payment'"),
        ("spex_relation = similar", [], "the ini option spex_relation must be one of"),
        ("", ["--spex-report", "r.pdf"], "--spex-report must be a file that ends in .html, got: 'r.pdf'"),
    ],
)
def test_a_wrong_option_is_a_usage_error(pytester: pytest.Pytester, ini: str, arguments: list[str], text: str) -> None:
    """The message names the option, the rule and the value; no test is run."""
    project(pytester, ALL, ini=ini)
    result = run(pytester, *arguments)
    assert result.ret == 4
    assert text in "\n".join(result.errlines)


def test_two_files_of_one_model_are_a_usage_error(pytester: pytest.Pytester) -> None:
    """It is said before any test runs."""
    project(pytester, ALL)
    (pytester.path / "models").mkdir()
    for name in ("a", "b"):
        (pytester.path / "models" / f"{name}.spex").write_text("Specification: x\nLearning mode: false\nTransitions:\n")
    result = run(pytester)
    assert result.ret == 4
    assert "two files are models of x" in "\n".join(result.errlines)


def test_a_specification_that_no_test_used_is_named(pytester: pytest.Pytester) -> None:
    """What the ini file lists is judged in any case; only `complete` makes a failure of it."""
    project(pytester, "def test_nothing():\n    pass\n", ini="spex_specifications = shop:Payment")
    result = run(pytester, "--spex=check")
    assert result.ret == 0
    assert "plugin.Payment: no model" in text_of(result)
    complete = run(pytester, "--spex=check", "--spex-complete")
    assert complete.ret == 1
    assert "spex: plugin.Payment: no test has shown anything of it" in text_of(complete)
    project(pytester, ALL, ini="spex_specifications = shop:Payments")
    wrong = run(pytester)
    assert wrong.ret == 1
    assert "spex: the specification shop:Payments cannot be imported" in text_of(wrong)


def test_the_relation_of_the_ini_file_is_asked_for(pytester: pytest.Pytester) -> None:
    """A model that does less than is specified passes, and one that does something else fails."""
    some = ALL.split("def test_voided")[0]
    project(pytester, some, ini="spex_relation = trace_inclusion\nspex_complete = true")
    result = run(pytester, "--spex=check")
    assert result.ret == 0
    assert "plugin.Payment: trace_inclusion: holds" in text_of(result)
    project(pytester, some, WRONG, ini="spex_relation = trace_inclusion")
    assert run(pytester, "--spex=check", "--spex-report", "out.html").ret == 1
    page = (pytester.path / "out.html").read_text()
    assert "trace_inclusion: violation: something was seen that is not allowed" in page
    assert "The implementation does " in page


def test_the_report_is_written_in_html(pytester: pytest.Pytester) -> None:
    """The page shows the models as this run left them, also where nothing else is written."""
    project(pytester, ALL, WRONG)
    result = run(pytester, "--spex=check", "--spex-report", "out.html")
    page = (pytester.path / "out.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "plugin.Payment" in page
    assert "the HTML report is in out.html" in text_of(result)
    assert not (pytester.path / "models").exists()


def test_importing_the_plugin_brings_nothing_of_it_along() -> None:
    """The entry point is imported in every project."""
    script = (
        "import sys, spex_shards.pytest_plugin; print(sorted(name for name in sys.modules if name.startswith(tuple("
        "f'spex_shards.{part}' for part in ('plugin', 'manager', 'testing', 'cli', 'review')))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_what_a_complete_run_no_longer_shows_is_listed(pytester: pytest.Pytester) -> None:
    """A partial run removes nothing and says that it was partial; a failed one lists nothing either."""
    project(pytester, ALL)
    run(pytester)
    whole = model_text(pytester)
    partial = run(pytester, "-k", "captured")
    assert "This run was partial: -k 'captured'. Nothing was removed." in text_of(partial)
    assert "did not show it" not in text_of(partial)
    project(pytester, ALL.split("def test_voided")[0])
    complete = run(pytester)
    assert "  - authorised --[void]-> voided  (this run did not show it; spex-shards forget" in text_of(complete)
    assert "partial" not in text_of(complete)
    project(pytester, ALL.split("def test_voided")[0], "def test_fails():\n    assert not Payment\n")
    assert "did not show it" not in text_of(run(pytester))
    assert model_text(pytester) == whole


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["test_shop.py"], "only test_shop.py"),
        (["--deselect", "test_shop.py::test_voided"], "--deselect"),
        (["-x"], "it stopped early"),
        (["-m", "not slow"], "-m 'not slow'"),
    ],
)
def test_a_partial_run_says_why_it_is_partial(pytester: pytest.Pytester, arguments: list[str], why: str) -> None:
    """Selected files, deselected tests, markers, and a stop after a failure."""
    failing = "def test_fails():\n    assert 0\n\ndef test_after():\n    pass\n"
    project(pytester, ALL, failing if "-x" in arguments else "")
    assert f"This run was partial: {why}. Nothing was removed." in text_of(run(pytester, *arguments))


def test_a_run_of_the_folder_that_pytest_would_run_is_not_partial(pytester: pytest.Pytester) -> None:
    """Naming it on the command line changes nothing."""
    project(pytester, ALL)
    assert "run was partial" not in text_of(run(pytester, "."))


def test_a_known_test_that_is_gone_is_replaced_by_a_complete_run(pytester: pytest.Pytester) -> None:
    """Renamed tests do not stay in the sidecar."""
    project(pytester, ALL)
    run(pytester)
    pytester.makepyfile(test_shop=HEAD + ALL.replace("test_voided", "test_renamed"))
    run(pytester)
    plain = json.loads((pytester.path / "models" / "plugin.Payment.spex.json").read_text())
    assert ["authorised", "void", "voided", ["test_shop.py::test_renamed"]] in plain["shown_by"]


ELSEWHERE = """
def test_elsewhere():
    spex.init_instance(Payment, 1)
    spex.transition(1, "authorise", "waiting")
"""


def test_what_makes_an_equivalent_model_incomplete_fails(pytester: pytest.Pytester) -> None:
    """A model that was incomplete before may stay so, unless `complete` is asked for."""
    project(pytester, ALL.split("def test_voided")[0])
    run(pytester)
    assert run(pytester, "--spex=check").ret == 0
    complete = run(pytester, "--spex=check", "--spex-complete")
    assert complete.ret == 1
    assert "spex: plugin.Payment: no test has shown everything that is specified" in text_of(complete)
    project(pytester, ALL)
    run(pytester)
    assert run(pytester, "--spex=check", "--spex-complete").ret == 0
    project(pytester, ALL, ELSEWHERE)
    result = run(pytester, "--spex=check")
    assert result.ret == 1
    assert "spex: plugin.Payment was equivalent to its specification, and is not with what is new" in text_of(result)


def test_allowed_steps_that_are_not_committed_fail_where_models_are_frozen(pytester: pytest.Pytester) -> None:
    """Without the option they are listed, with what to do."""
    project(pytester, ALL)
    result = run(pytester, "--spex=check")
    assert result.ret == 0
    assert "To add what is new to the model files: pytest --spex=update." in text_of(result)
    frozen = run(pytester, "--spex=check", "--spex-frozen")
    assert frozen.ret == 1
    assert "spex: plugin.Payment has 4 new steps, and the models are frozen" in text_of(frozen)


def test_a_model_file_that_cannot_be_read_fails_a_check_and_stays_as_it_is(pytester: pytest.Pytester) -> None:
    """The other models are judged and updated all the same."""
    project(pytester, ALL)
    (pytester.path / "models").mkdir()
    broken = pytester.path / "models" / "broken.spex"
    broken.write_text("Specification: broken\nLearning mode: perhaps\n")
    assert run(pytester).ret == 0
    assert "authorised --[void]-> voided" in model_text(pytester)
    result = run(pytester, "--spex=check")
    assert result.ret == 1
    assert f"spex: broken: {broken}: line 2: the learning mode must be true or false" in text_of(result)
    assert broken.read_text() == "Specification: broken\nLearning mode: perhaps\n"


@pytest.mark.parametrize("option", ["--spex-complete", "--spex-frozen", "--spex-report=r.html"])
def test_an_option_that_would_do_nothing_is_refused(pytester: pytest.Pytester, option: str) -> None:
    """A build that is configured so would pass for ever."""
    pytester.makepyfile("def test_something(): pass")
    done = run(pytester, option)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"*{option.partition('=')[0]} does nothing where no models are: set spex_models_dir*"])
    assert run(pytester, option, "--spex=off").ret == 0


def test_a_misspelt_argument_of_a_marker_is_named(pytester: pytest.Pytester) -> None:
    """With those that there are."""
    project(pytester, "@pytest.mark.spex_instance(Payment, 7, stat='authorised')\ndef test_it(): pass\n")
    run(pytester).stdout.fnmatch_lines(["*the marker spex_instance has no argument 'stat': it takes state and meta*"])
