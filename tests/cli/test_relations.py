"""``check --relation``, ``--hide`` and ``--rename`` as users see them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import spex_shards as spex
from spex_shards.formats.model_files import write_models
from tests.cli.test_cli import Done, project, run

SPECIFICATIONS = """
import spex_shards as spex

class Order(spex.Specification):
    transitions = [("new", "pay", "paid"), ("paid", "ship", "end"), ("paid", "cancel", "end")]

class Machine(spex.Specification):
    transitions = [("idle", "coin", "paid"), ("paid", "coffee", "idle")]
    inputs = ["coin"]
"""
PAID = [(None, spex.INITIALISATION, "new"), ("new", "pay", "paid")]
PARTS = (
    "After new --pay--> paid your implementation can do refund (paid --refund--> gone); the specification does not "
    "allow that: after the same actions it is in paid, where only cancel and ship are possible."
)
__all__ = ["project", "run"]  # fixtures
Run = Callable[..., Done]


@pytest.fixture
def store(project: Path) -> Callable[..., Path]:
    """Write a model of `shop:NAME` into models/."""
    (project / "shop.py").write_text(SPECIFICATIONS)

    def write(name: str, *transitions: tuple[str | None, str, str]) -> Path:
        folder = project / "models"
        folder.mkdir(exist_ok=True)
        model = spex.ImplModel(specification=f"shop.{name}", transitions=transitions)  # type: ignore[arg-type]
        write_models(folder, [model])
        return folder / f"shop.{name}.spex"

    return write


def test_a_model_that_does_less_is_a_refinement(run: Run, store: Callable[..., Path]) -> None:
    """It is not equivalent, and exits with 1; as a simulation it exits with 0."""
    store("Order", *PAID, ("paid", "ship", "end"))
    assert run("check", "models", "--specification", "shop:Order").code == 1
    done = run("check", "models", "--specification", "shop:Order", "--relation", "simulation")
    assert done.code == 0
    assert done.headlines[0] == "shop.Order: simulation: holds"
    assert done.headlines[-1] == "simulation holds for the only model"


def test_a_model_that_does_more_is_none_and_the_run_is_shown(run: Run, store: Callable[..., Path]) -> None:
    """In text and in JSON, with what would have been allowed."""
    store("Order", *PAID, ("paid", "refund", "gone"))
    asked = ("check", "models", "--specification", "shop:Order", "--relation", "trace_inclusion")
    done = run(*asked)
    assert done.code == 1
    assert done.out.splitlines() == [
        "shop.Order: trace_inclusion: violation: something was seen that is not allowed",
        f"  {PARTS}",
        "shop.Machine: no model",
        "trace_inclusion does not hold for 1 of 1 model",
    ]
    plain = run(*asked, "--format", "json").plain
    assert (plain["relation"], plain["holds"]) == ("trace_inclusion", False)
    found = plain["models"][0]["counterexample"]
    assert found["run"] == [["new", "pay", "paid"], ["paid", "refund", "gone"]]
    assert (found["kind"], found["allowed"], found["states"]) == ("action", ["cancel", "ship"], ["paid"])


def test_a_model_that_stops_is_incomplete(run: Run, store: Callable[..., Path]) -> None:
    """Nothing is forbidden that was seen; the text says where it stops, and every format takes it."""
    store("Order", *PAID)
    asked = ("check", "models", "--specification", "shop:Order", "--relation", "completed_simulation")
    done = run(*asked)
    assert done.code == 1
    assert "shop.Order: completed_simulation: incomplete: the model stops" in done.headlines[0]
    assert "goes on by cancel and ship, where your implementation was seen to do nothing more" in done.out
    for form in ("github", "junit", "sarif", "markdown"):
        written = run(*asked, "--format", form)
        assert written.code == 1
        assert "goes on by cancel and ship" in written.out


def test_ioco_takes_inputs_from_the_specification(run: Run, store: Callable[..., Path]) -> None:
    """Tea after a coin is no specified output; a specification without inputs is told to name them."""
    starts = (None, spex.INITIALISATION, "idle")
    store("Machine", starts, ("idle", "coin", "paid"), ("paid", "tea", "idle"), ("idle", "kick", "bent"))
    done = run("check", "models", "--specification", "shop:Machine", "--relation", "ioco")
    assert done.code == 1
    assert "your implementation can do kick" in done.out
    store("Machine", starts, ("idle", "coin", "paid"), ("paid", "coffee", "idle"))
    assert run("check", "models", "--specification", "shop:Machine", "--relation", "ioco").code == 0
    store("Order", *PAID)
    done = run("check", "models/shop.Order.spex", "--specification", "shop:Order", "--relation", "ioco")
    assert done.code == 1
    assert "the relation ioco needs a specification with inputs or outputs" in done.out


def test_a_malformed_file_and_an_unknown_specification_fail_as_ever(run: Run, store: Callable[..., Path]) -> None:
    """With the exit codes of a check without one."""
    asked = ("--relation", "simulation")
    unknown = store("Unheard", *PAID)
    assert run("check", "models", *asked).code == 2
    unknown.unlink()
    store("Order", *PAID).write_text("nonsense")
    done = run("check", "models", "--specification", "shop:Order", *asked)
    assert done.code == 1
    assert "no verdict" in done.out
    assert run("check", "models", "--relation", "likeness").code == 2


def test_actions_are_hidden_and_renamed(run: Run, store: Callable[..., Path]) -> None:
    """In a check by equivalence and by a relation, and in a drawing."""
    store("Order", *PAID, ("paid", "log", "x"), ("x", "deliver", "end"), ("x", "cancel", "end"))
    view = ("--hide", "log", "--rename", "deliver=ship")
    asked = ("check", "models", "--specification", "shop:Order")
    assert run(*asked).code == 1
    done = run(*asked, *view)
    assert (done.code, done.headlines[0]) == (0, "shop.Order: equivalent")
    assert "3 of 3 specified transitions shown" in done.out
    assert run(*asked, *view, "--relation", "ready_simulation").code == 0
    drawn = run("render", "models/shop.Order.spex", "-", "--to", "mermaid", *view).out
    assert "ship" in drawn
    assert "deliver" not in drawn
    assert "log" not in drawn
    assert run("render", "models", "report.html", "--specification", "shop:Order", *view).code == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--rename", "deliver"), "error: --rename must be OLD=NEW, got: 'deliver'"),
        (("--rename", "a=b", "--rename", "a=c"), "error: --rename must give an action one new name, got: a=b and a=c"),
        (("--hide", "__initialisation__"), "error: hide must not name the reserved action '__initialisation__'"),
        (("--hide", "a", "--rename", "a=b"), "error: an action must be hidden or renamed, not both, got: 'a'"),
    ],
)
def test_what_cannot_be_hidden_or_renamed_is_refused(
    run: Run,
    store: Callable[..., Path],
    options: tuple[str, ...],
    text: str,
) -> None:
    """One line that names the option; exit code 2."""
    store("Order", *PAID)
    for done in (run("check", "models", *options), run("render", "models", "x.html", *options)):
        assert (done.code, done.err.strip()) == (2, text)


def test_a_finding_points_at_the_specification(run: Run, store: Callable[..., Path]) -> None:
    """SARIF has the line of the class, and the rule of the verdict."""
    store("Order", *PAID, ("paid", "refund", "gone"))
    asked = ("check", "models", "--specification", "shop:Order", "--relation", "simulation", "--format", "sarif")
    results = json.loads(run(*asked).out)["runs"][0]["results"]
    assert results[0]["ruleId"] == "violation"
    assert results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "shop.py"
