"""`diff`, `merge`, `minimise` and `convert` as their users see them."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import junitparser
import pytest

import spex_shards as spex
from spex_shards.cli.formats import ReportFormat
from spex_shards.domain.frequency import Frequencies
from spex_shards.review import sidecar_of
from spex_shards.review.sidecar import write_frequencies
from tests.cli.test_cli import GOOD, Done, project, run, write_model
from tests.cli.test_report_formats import VALIDATOR

__all__ = ["project", "run"]  # fixtures


@pytest.fixture
def two(project: Path) -> Path:
    """Return a folder with the directories old and new."""
    write_model(project / "old", "shop.Order", *GOOD[:2])
    write_model(project / "new", "shop.Order", *GOOD)
    write_model(project / "old", "shop.Refund", ("a", "grant", "b"))
    write_model(project / "new", "shop.Refund", ("a", "grant", "b"))
    write_model(project / "new", "shop.Strict", *GOOD)
    return project


# ---------------------------------------------------------------------- diff


def test_diff_shows_what_was_added_and_removed_with_the_verdicts(run: Callable[..., Done], two: Path) -> None:
    """It exits with 1, as diff(1) does, and with 0 without a difference."""
    done = run("diff", "old", "new", "--specification", "shop:Order")
    assert (done.code, done.err) == (1, "")
    assert done.out.splitlines() == [
        "shop.Order: changed: 1 added, 0 removed; incomplete → equivalent",
        "  + p --[cancel]-> c",
        "shop.Refund: no difference",
        "shop.Strict: new: 4 added, 0 removed; unknown → violation",
        "  + starts in start",
        "  + p --[cancel]-> c",
        "  + p --[ship]-> s",
        "  + start --[pay]-> p",
        "2 of 3 models changed",
    ]
    back = run("diff", "new/shop.Order.spex", "old/shop.Order.spex")
    assert back.out.splitlines() == [
        "shop.Order: changed: 0 added, 1 removed; equivalent → incomplete",
        "  - p --[cancel]-> c",
        "1 of 1 model changed",
    ]
    assert run("diff", "new", "new") == Done(0, "".join(
        f"shop.{name}: no difference\n" for name in ("Order", "Refund", "Strict")) + "no difference\n", "")  # fmt: skip


@pytest.mark.parametrize("form", [form.value for form in ReportFormat])
def test_diff_is_the_same_in_each_format(run: Callable[..., Done], two: Path, form: str) -> None:
    """The exit codes are the same too, and the formats for programs are valid."""
    assert run("diff", "new", "new", "--format", form).code == 0
    assert run("diff", "new", "gone", "--format", form).code == 2
    done = run("diff", "old", "new", "--specification", "shop:Order", "--format", form)
    assert done.code == 1
    if form == "json":
        order = done.plain["models"][0]
        assert order["added"] == [["p", "cancel", "c"]]
        assert order["verdict"] == {"before": "incomplete", "after": "equivalent"}
        assert (done.plain["different"], done.plain["models"][2]["is_new"]) == (True, True)
    if form == "sarif":
        plain = json.loads(done.out)
        VALIDATOR.validate(plain)
        assert plain["runs"][0]["results"][0]["locations"]
    if form == "junit":
        (suite,) = junitparser.JUnitXml.fromstring(done.out.encode())
        assert (suite.tests, suite.failures) == (3, 2)


def test_diff_refuses_what_it_cannot_compare(run: Callable[..., Done], two: Path) -> None:
    """It refuses an empty pair, and a malformed file."""
    (two / "empty").mkdir()
    done = run("diff", "empty", "empty")
    assert (done.code, done.err.startswith("error: there is no model in empty and empty")) == (2, True)
    (two / "old" / "bad.spex").write_text("nonsense")
    assert "bad.spex: line 1: the header" in run("diff", "old", "new").err


# ---------------------------------------------------------------------- merge


def test_merge_unites_the_models_of_each_specification(run: Callable[..., Done], two: Path) -> None:
    """Sources are files and directories; learning is off unless it is requested."""
    write_model(two / "third", "shop.Order", ("start", "fail", "f"), learning=True)
    done = run("merge", "old", "new", "third/shop.Order.spex", "-o", "all")
    assert done == Done(
        0,
        "shop.Order: 3 + 4 + 2 → 5 transitions, written to all/shop.Order.spex\n"
        "shop.Refund: 2 + 2 → 2 transitions, written to all/shop.Refund.spex\n"
        "shop.Strict: 4 → 4 transitions, written to all/shop.Strict.spex\n3 models written\n",
        "",
    )
    model = spex.ImplModel.deserialise((two / "all" / "shop.Order.spex").read_text())
    parts = [spex.ImplModel.deserialise((two / folder / "shop.Order.spex").read_text()) for folder in ("new", "third")]
    assert model.transitions == parts[0].transitions | parts[1].transitions
    assert not model.learning_mode
    assert run("merge", "third", "-o", "all", "--learning").code == 0
    assert spex.ImplModel.deserialise((two / "all" / "shop.Order.spex").read_text()).learning_mode


def test_merge_keeps_a_sidecar_that_all_share_and_no_other(run: Callable[..., Done], two: Path) -> None:
    """A sidecar that the sources do not share would be wrong for the result."""
    for folder in ("old", "new"):
        sidecar_of(two / folder / "shop.Order.spex").write_text('{"same": 1}')
    sidecar_of(two / "new" / "shop.Refund.spex").write_text('{"other": 1}')
    done = run("merge", "old", "new", "-o", "all")
    assert done.code == 0
    assert sorted(path.name for path in (two / "all").glob("*.json")) == ["shop.Order.spex.json"]
    assert (
        done.err == "the models of shop.Refund were learned with different specifications, or it is not known which\n"
    )


def test_merge_leaves_frequencies_out(run: Callable[..., Done], two: Path) -> None:
    """Whether the parts were learned from different instances is not known."""
    for folder in ("old", "new"):
        write_frequencies(two / folder / "shop.Order.spex", "shop.Order", Frequencies(1 if folder == "old" else 2, {}))
    done = run("merge", "old", "new", "-o", "all")
    assert (done.code, done.err) == (0, "")
    assert not list((two / "all").glob("*.json"))


def test_merge_writes_nothing_when_a_source_is_malformed_or_missing(run: Callable[..., Done], two: Path) -> None:
    """It exits with 2."""
    (two / "new" / "shop.Refund.spex").write_text("nonsense")
    done = run("merge", "old", "new", "-o", "all")
    assert (done.code, done.out) == (2, "")
    assert "(nothing was written)" in done.err
    assert run("merge", "gone", "-o", "all").code == 2
    (two / "empty").mkdir()
    assert run("merge", "empty", "-o", "all").code == 2
    assert not (two / "all").exists()


# ---------------------------------------------------------------------- minimise


def test_minimise_lists_the_classes_and_writes_the_quotient(run: Callable[..., Done], project: Path) -> None:
    """Unreachable states are left out and named."""
    path = write_model(project / "models", "shop.Order", *GOOD, ("x", "go", "y"))
    done = run("minimise", path, "small.spex", "--specification", "shop:Order")
    assert done == Done(
        0,
        "shop.Order: 6 to 3 states, 5 to 4 transitions (branching), written to small.spex\n"
        "  c stands for s too\n  cannot be reached, left out: x, y\n",
        "",
    )
    small = spex.ImplModel.deserialise((project / "small.spex").read_text())
    assert small.transitions == {
        (None, spex.INITIALISATION, "start"), ("start", "pay", "p"), ("p", "ship", "c"), ("p", "cancel", "c"),
    }  # fmt: skip
    plain = run("minimise", path, "--equivalence", "strong", "--format", "json").plain
    assert plain["classes"] == [["start"], ["p"], ["c", "s"]]
    assert (plain["states"], plain["equivalence"], plain["file"]) == ([6, 3], "strong", None)


def test_minimise_takes_the_specifications_equivalence_and_its_name(run: Callable[..., Done], project: Path) -> None:
    """MODULE:NAME stands for all transitions of a specification."""
    (project / "strong.py").write_text(
        "import spex_shards as spex\n\nclass S(spex.Specification):\n    equivalence = 'strong'\n"
        f"    transitions = [('a', '{spex.INTERNAL}', 'b'), ('b', 'go', 'c')]\n"
    )
    assert run("minimise", "strong:S").out == "strong.S: 3 to 3 states, 3 to 3 transitions (strong)\n"
    done = run("minimise", "strong:S", "--equivalence", "branching")
    assert done.out.startswith("strong.S: 3 to 2 states, 3 to 2 transitions (branching)\n")
    sys.modules.pop("strong", None)


# ---------------------------------------------------------------------- convert


def test_convert_goes_through_every_form_and_back(run: Callable[..., Done], project: Path) -> None:
    """All forms but .aut keep the model as it is."""
    path = write_model(project / "models", "shop.Order", *GOOD)
    chain = [path, "a.json", "b.dot", "c.spex"]
    for source, target in itertools.pairwise(chain):
        assert run("convert", source, target).code == 0
    assert Path("c.spex").read_text() == path.read_text()
    done = run("convert", "c.spex", "d.aut")
    assert done == Done(0, "shop.Order: 4 transitions written to d.aut\n", "")
    assert run("convert", "d.aut", "e.spex", "--name", "shop.Order").code == 0
    assert run("check", "e.spex", "--specification", "shop:Order").code == 0
    assert run("convert", path, "-", "--to", "mermaid").out.startswith("stateDiagram-v2\n")
    assert run("convert", "shop:Refund", "-", "--to", "aut").out == 'des (0, 1, 2)\n(0, "grant", 1)\n'


def test_convert_says_that_silent_actions_are_mapped(run: Callable[..., Done], project: Path) -> None:
    """This holds for CADP and for mCRL2."""
    path = write_model(project / "models", "x", ("a", spex.INTERNAL, "b"), ("a", "tau", "c"))
    done = run("convert", path, "x.aut", "--silent", "tau")
    assert done.out.splitlines()[1] == "  __internal__ and the actions i and tau are mapped"
    assert "(0, tau, 1)" in Path("x.aut").read_text()
    assert '"\'tau"' in Path("x.aut").read_text()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("gone.spex", "x.aut"), "gone.spex: there is no such file"),
        (("log.csv", "x.aut"), "log.csv: the ending must be one of .spex, "),
        (("shop:Order", "-"), "what is written to stdout must be named by --to"),
        (("shop:Order", "x.svg"), "svg is drawn by `render`; a text must be spex, aut, dot, mermaid, json"),
        (("shop:Nobody", "x.aut"), "the specification shop:Nobody cannot be imported"),
        (("bad.aut", "x.spex"), "bad.aut: line 2: a transition must be (SOURCE, LABEL, TARGET), got: 'nonsense'"),
        (("two.json", "x.aut"), "an .aut text has exactly one initial state, the model has 2"),
    ],
)
def test_convert_refuses_with_one_clear_line(
    run: Callable[..., Done], project: Path, arguments: tuple[str, str], error: str
) -> None:
    """It exits with 2 and writes nothing."""
    (project / "bad.aut").write_text("des (0, 1, 1)\nnonsense\n")
    (project / "two.json").write_text(
        '{"format": "spex_shards.model", "version": 1, "specification": "x", "learning_mode": false,'
        ' "initial_states": ["a", "b"], "transitions": []}'
    )
    done = run("convert", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {error}")
    assert not list(project.glob("x.*"))


@pytest.mark.long
@pytest.mark.process
def test_an_explanation_is_the_same_in_every_process(project: Path) -> None:
    """The order of a set differs between processes, but the output does not."""
    write_model(project / "models", "shop.Eager", *GOOD)
    command = [sys.executable, "-m", "spex_shards.cli", "check", "models", "--specification", "shop:Eager"]
    outputs = {
        subprocess.run(command, capture_output=True, text=True, timeout=60, env={"PYTHONHASHSEED": str(seed)}).stdout
        for seed in range(1, 5)
    }
    assert len(outputs) == 1
    assert "After " in outputs.pop()
