"""The command line as its users see it: exit codes, streams, formats, and the texts of errors."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import spex_shards as spex
import spex_shards.cli.check
from spex_shards.cli import app
from spex_shards.domain.specification import _registered
from tests.event_log.test_replay import model_of, reference
from tests.support.places import LONG, ROOT, SHARED
from tests.support.processes import children, wait_until

CSV = """case,activity,result,time
a,pay,paid,2024-05-01T10:00:00Z
b,pay,paid,2024-05-01T11:00:00Z
b,ship,shipped,2024-05-01T13:00:00Z
a,cancel,cancelled,2024-05-01T12:00:00Z
"""
READ_CSV = ("--case", "case", "--action", "activity", "--timestamp", "time")
SHOP = """
import spex_shards as spex

class Order(spex.Specification):
    transitions = [("new", "pay", "paid"), ("paid", "ship", "end"), ("paid", "cancel", "end")]

class Refund(spex.Specification):
    transitions = [("asked", "grant", "granted")]

class Eager(spex.Specification):
    transitions = [*Order.transitions, ("end", "return", "new")]

class Strict(spex.Specification):
    transitions = [("new", "pay", "paid"), ("paid", "ship", "end")]
"""
XES = """<?xml version="1.0" encoding="UTF-8"?>
<log><trace><string key="concept:name" value="c1"/>
<event><string key="concept:name" value="open"/><string key="lifecycle:transition" value="start"/>
<date key="time:timestamp" value="2024-05-01T10:00:00+00:00"/></event>
<event><string key="concept:name" value="close"/><string key="lifecycle:transition" value="end"/>
<date key="time:timestamp" value="2024-05-01T11:00:00+00:00"/></event>
</trace><trace><string key="concept:name" value="empty"/></trace></log>
"""

NO_MODELS = "gone: there is no such file or directory of models; a test suite or `replay --learn` makes one"


@dataclass
class Done:
    """The result of a run of the command line."""

    code: int
    out: str
    err: str

    @property
    def plain(self) -> Any:
        """The JSON on stdout: one object, on one line."""
        assert self.out.count("\n") == 1
        return json.loads(self.out)

    @property
    def headlines(self) -> list[str]:
        """The lines of stdout without the details below them."""
        return [line for line in self.out.splitlines() if not line.startswith("  ")]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a log and a module of specifications, as the current directory."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "log.csv").write_text(CSV)
    (folder / "shop.py").write_text(SHOP)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    for name in [name for name in os.environ if name.startswith("SPEX_SHARDS_")]:
        monkeypatch.delenv(name)
    return folder


@pytest.fixture
def run(project: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs the command line in this process."""
    before = dict(_registered)

    def invoke(*arguments: object) -> Done:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        return Done(done.exit_code, done.stdout, done.stderr)

    yield invoke
    sys.modules.pop("shop", None)
    _registered.clear()
    _registered.update(before)


def run_process(*arguments: object, **environment: str) -> Done:
    """Run the command line as a process of its own, in the current directory."""
    done = subprocess.run(
        [sys.executable, "-m", "spex_shards.cli", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, env={**os.environ, **environment},
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def write_model(folder: Path, name: str, *steps: tuple[str, str, str], learning: bool = False) -> Path:
    """Write a model whose initialisation is the first step's source."""
    folder.mkdir(exist_ok=True)
    transitions = [(None, spex.INITIALISATION, steps[0][0]), *steps]
    model = spex.ImplModel(specification=name, transitions=transitions, learning_mode=learning)
    path = folder / f"{name}.spex"
    path.write_text(model.serialise())
    return path


GOOD = [("start", "pay", "p"), ("p", "ship", "s"), ("p", "cancel", "c")]


# ---------------------------------------------------------------------- the program


@pytest.mark.process
def test_the_program_shows_its_version_and_its_commands(project: Path) -> None:
    """This works as a module and as a console script."""
    assert run_process("--version") == Done(0, f"spex-shards {spex.__version__}\n", "")
    script = Path(sys.executable).with_name("spex-shards")
    if script.exists():
        done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, f"spex-shards {spex.__version__}\n")
    assert {"check", "export", "replay"} <= set(run_process("--help").out.split())


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("fly",),
        ("check", "--fast"),
        ("check", "--format", "xml"),
        ("replay",),
        ("replay", "log.csv", "--shards", "x"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(run: Callable[..., Done], arguments: tuple[str, ...]) -> None:
    """Nothing goes to stdout, except the help of the bare command."""
    done = run(*arguments)
    assert done.code == 2
    assert not arguments or (done.out == "" and "Usage:" in done.err)


def test_a_value_against_an_options_rule_is_one_clear_line(run: Callable[..., Done]) -> None:
    """This holds for every source of the value; there is no traceback."""
    done = run("replay", "log.csv", "--learn", "Order", *READ_CSV, "--shards", "0")
    assert done == Done(2, "", "error: --shards must be an int from 1 to 1024, got: 0\n")


@pytest.mark.process
def test_a_wrong_environment_is_one_clear_line(project: Path) -> None:
    """The line names the variable."""
    done = run_process("check", SPEX_SHARDS_MAX_RESTARTS="many")
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(r"error: the option max_restarts must be .*SPEX_SHARDS_MAX_RESTARTS\)\n", done.err)


def test_what_nobody_expected_is_one_line_too(run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error's line says how to see the traceback."""
    monkeypatch.setattr(spex_shards.cli.check, "chosen_from", lambda **_: {}["nothing"])
    done = run("check")
    assert (done.code, done.out) == (2, "")
    expected = "error: KeyError: 'nothing' (unexpected; python -X dev -m spex_shards shows where)\n"
    assert done.err == expected


# ---------------------------------------------------------------------- check


def test_check_says_how_many_models_are_equivalent(run: Callable[..., Done], project: Path) -> None:
    """It exits with 0 and prints a line for each model, and one for all."""
    path = write_model(project / "models", "shop.Order", *GOOD)
    done = run("check", path, "--specification", "shop:Order")
    shown = "shop.Order: equivalent\n  3 of 3 specified transitions shown (100 %)\n"
    assert done == Done(0, f"{shown}the only model is equivalent\n", "")
    write_model(project / "models", "shop.Refund", ("a", "grant", "b"))
    done = run("check", "models", "--specification", "shop:Order")
    assert (done.code, done.err, done.out.splitlines()[-1]) == (0, "", "all 2 models are equivalent")


EAGER = (
    "shop.Eager: incomplete: After start --pay--> p --cancel--> c your implementation has not been seen to do return."
)
RULE = "after start --pay--> p the specification, in paid, allows only ship."
STRICT = f"shop.Strict: violation: p --[cancel]-> c was seen and is not specified: {RULE}"


def test_check_names_each_failing_model_and_counts_them(run: Callable[..., Done], project: Path) -> None:
    """It exits with 1, and distinguishes what is missing from what is wrong."""
    write_model(project / "models", "shop.Order", *GOOD)
    write_model(project / "models", "shop.Eager", *GOOD)
    write_model(project / "models", "shop.Strict", *GOOD)
    done = run("check", "models", "--specification", "shop:Order")
    assert done.code == 1
    assert done.headlines == [
        EAGER,
        "shop.Order: equivalent",
        STRICT,
        "shop.Refund: no model",
        "2 of 3 models are not equivalent",
    ]


def test_check_takes_one_file(run: Callable[..., Done], project: Path) -> None:
    """Other files beside it are ignored."""
    path = write_model(project / "models", "shop.Order", *GOOD)
    write_model(project / "models", "shop.Strict", *GOOD)
    assert run("check", path, "--specification", "shop:Order").code == 0


def test_check_as_json_is_exactly_one_object(run: Callable[..., Done], project: Path) -> None:
    """The exit codes are the same."""
    write_model(project / "models", "shop.Order", *GOOD)
    write_model(project / "models", "shop.Strict", *GOOD)
    done = run("check", "models", "--specification", "shop:Order", "--format", "json")
    assert (done.code, done.err) == (1, "")
    assert (done.plain["equivalent"], done.plain["specifications_without_model"]) == (
        False,
        ["shop.Eager", "shop.Refund"],
    )
    order, strict = done.plain["models"]
    expected = {"specification": "shop.Order", "transitions": 4, "verdict": "equivalent", "decided": True,
                "error": None, "file": "models/shop.Order.spex", "explanation": None, "findings": [],
                "specification_changed": None, "naming": None, "properties": []}  # fmt: skip
    assert {key: order[key] for key in expected} == expected
    assert (order["coverage"]["shown"], order["coverage"]["of"], order["coverage"]["percent"]) == (3, 3, 100.0)
    assert (strict["verdict"], strict["coverage"]["unexplained"]) == ("violation", [["p", "cancel", "c"]])
    assert set(order) == set(strict) == {*expected, "coverage"}


def test_check_as_json_has_the_cause_and_its_kind(run: Callable[..., Done], project: Path) -> None:
    """For programs: the transitions responsible, the one to blame, the runs, and what was not seen."""
    write_model(project / "models", "shop.Strict", *GOOD)
    write_model(project / "models", "shop.Eager", *GOOD)
    done = run("check", "models", "--specification", "shop:Order", "--format", "json")
    eager, strict = (model["explanation"] for model in done.plain["models"])
    assert (strict["kind"], strict["step"]) == ("unspecified-step", ["p", "cancel", "c"])
    assert strict["cause"] == strict["trace"] == [["start", "pay", "p"], ["p", "cancel", "c"]]
    assert strict["runs"] == [strict["cause"]]
    assert strict["text"].startswith(strict["sentence"])
    assert (eager["kind"], eager["cause"], eager["step"]) == ("not-seen", [], None)
    assert eager["unseen"][0][:2] == ["c", "return"]


def test_check_notes_a_state_of_another_name_and_fails_where_names_must_agree(
    run: Callable[..., Done], project: Path
) -> None:
    """The note leaves the exit code alone; a model with names of its own gets none."""
    (project / "parcels.py").write_text(
        "import spex_shards as spex\n\nclass Parcel(spex.Specification):\n"
        '    transitions = [("new", "send", "sent"), ("sent", "arrive", "there"), ("sent", "vanish", "lost")]\n'
    )
    steps = ("new", "send", "sent"), ("sent", "arrive", "lost"), ("sent", "vanish", "lost")
    write_model(project / "models", "parcels.Parcel", *steps)
    noted = run("check", "models", "--specification", "parcels:Parcel")
    sentence = "sent --[arrive]-> lost was seen: the specification calls this state there"
    assert (noted.code, noted.headlines[0]) == (0, "parcels.Parcel: equivalent")
    assert f"  names: {sentence}\n" in noted.out
    assert run("check", "models", "--specification", "parcels:Parcel", "--strict").code == 0
    failed = run("check", "models", "--specification", "parcels:Parcel", "--names-must-agree")
    assert (failed.code, failed.headlines[0]) == (
        1, f"parcels.Parcel: violation: {sentence}, and names must agree."
    )  # fmt: skip
    assert "  names: " not in failed.out
    for options, verdict in (((), "equivalent"), (("--names-must-agree",), "violation")):
        run("render", "models", "report.html", "--specification", "parcels:Parcel", *options)
        assert f'<p class="verdict {verdict}">' in (project / "report.html").read_text()
    write_model(project / "models", "parcels.Parcel", ("a", "send", "b"), ("b", "arrive", "c"), ("b", "vanish", "c"))
    assert "  names: " not in run("check", "models", "--specification", "parcels:Parcel").out


def test_a_malformed_file_is_no_equivalent_model(run: Callable[..., Done], project: Path) -> None:
    """It is named with its line and counted, and does not affect the others; the exit code is 1."""
    write_model(project / "models", "shop.Order", *GOOD)
    bad = write_model(project / "models", "shop.Refund", ("a", "grant", "b"))
    bad.write_text(bad.read_text().replace("false", "maybe"))
    done = run("check", "models", "--specification", "shop:Order")
    assert done.code == 1
    _, second, *_, last = done.headlines
    assert re.match(r"shop\.Refund: no verdict: models/shop\.Refund\.spex: line 2: ", second)
    assert last == "1 of 2 models are not equivalent"
    assert run("check", bad, "--specification", "shop:Order").code == 1
    entry = run("check", bad, "--specification", "shop:Order", "--format", "json").plain["models"][0]
    assert (entry["verdict"], entry["transitions"]) == (None, None)
    assert "line 2" in entry["error"]


def test_a_model_of_an_unknown_specification_is_reported_with_what_to_do(
    run: Callable[..., Done], project: Path
) -> None:
    """The exit code is 2 because it cannot be checked; the others are checked."""
    write_model(project / "models", "shop.Strict", *GOOD)
    write_model(project / "models", "elsewhere.Gone", *GOOD)
    done = run("check", "models", "--specification", "shop:Strict")
    assert done.code == 2
    unknown = "no imported module has this specification; name it with --specification MODULE:NAME"
    assert done.headlines == [
        f"elsewhere.Gone: no verdict: {unknown}",
        STRICT,
        *(f"shop.{name}: no model" for name in ("Eager", "Order", "Refund")),
        "2 of 2 models are not equivalent",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nowhere:Order", "the specification nowhere:Order cannot be imported: ModuleNotFoundError: No module named"),
        ("shop:Nobody", "the specification shop:Nobody cannot be imported: AttributeError: "),
        ("shop:spex", "a specification must be a subclass of spex_shards.Specification, got: 'shop:spex'"),
        ("shop", "a specification must be named as \"module:Name\", got: 'shop'"),
        ("quits:Order", "importing quits:Order ended the program (SystemExit: 0); guard it by __main__"),
        ("broken:Order", "the specification broken:Order cannot be imported: SyntaxError: "),
    ],
)
def test_a_specification_that_cannot_be_imported_exits_with_2(
    run: Callable[..., Done], project: Path, name: str, text: str
) -> None:
    """This holds even if its module ends the program with success."""
    (project / "quits.py").write_text("import sys\nsys.exit(0)\n")
    (project / "broken.py").write_text("class\n")
    write_model(project / "models", "shop.Order", *GOOD)
    for arguments in (("check", "models"), ("replay", "log.csv", *READ_CSV)):
        done = run(*arguments, "--specification", name)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"error: {text}")
        assert done.err.count("\n") == 1


def test_nothing_to_check_exits_with_2_and_says_so(run: Callable[..., Done], project: Path) -> None:
    """An empty directory is not a success, and a missing one is not created."""
    (project / "models").mkdir()
    (project / "models" / "README").touch()
    assert run("check", "models") == Done(2, "", "error: there is no model in models: no file there ends in .spex\n")
    done = run("check", "gone")
    assert done == Done(2, "", f"error: {NO_MODELS}\n")
    assert not (project / "gone").exists()


def test_an_error_as_json_is_one_object_and_on_stderr_as_well(run: Callable[..., Done]) -> None:
    """So a program can always read stdout."""
    done = run("check", "gone", "--format", "json")
    assert (done.code, done.plain) == (2, {"error": NO_MODELS})
    assert done.err == f"error: {NO_MODELS}\n"


def test_two_files_for_one_specification_exit_with_2(run: Callable[..., Done], project: Path) -> None:
    """The error names both files."""
    path = write_model(project / "models", "shop.Order", *GOOD)
    path.with_name("copy.spex").write_text(path.read_text())
    done = run("check", "models", "--specification", "shop:Order")
    assert (done.code, done.out) == (2, "")
    assert {"models/copy.spex", "models/shop.Order.spex"} <= set(re.split(r"[\s;]+", done.err))


@pytest.mark.process
@pytest.mark.parametrize("where", ["pyproject", "environment"])
def test_check_needs_no_flag_in_a_project(project: Path, where: str) -> None:
    """`specifications` and `impl_models_dir` are options; modules are imported from the current directory."""
    write_model(project / "kept", "shop.Order", *GOOD)
    environment = {}
    if where == "pyproject":
        text = '[tool.spex_shards]\nspecifications = ["shop:Order"]\nimpl_models_dir = "kept"\n'
        (project / "pyproject.toml").write_text(text)
    else:
        environment = {"SPEX_SHARDS_SPECIFICATIONS": "shop:Order", "SPEX_SHARDS_IMPL_MODELS_DIR": "kept"}
    done = run_process("check", **environment)
    assert (done.code, done.headlines[-1], done.err) == (0, "the only model is equivalent", "")


@pytest.mark.process
def test_what_a_module_prints_does_not_mix_with_the_result(project: Path) -> None:
    """It goes to stderr."""
    (project / "shop.py").write_text(SHOP + "print('hello')\n")
    write_model(project / "models", "shop.Order", *GOOD)
    done = run_process("check", "models", "--specification", "shop:Order", "--format", "json")
    assert (done.code, done.err, done.plain["equivalent"]) == (0, "hello\n", True)


# ---------------------------------------------------------------------- export


@pytest.fixture
def learned(project: Path) -> Path:
    """Return a data directory of three shards in which two models were learned."""
    order = spex.Specification.define("Order", GOOD)
    refund = spex.Specification.define("Refund", [("asked", "grant", "granted")])
    with spex.ShardedInstanceManager(
        data_dir=project / "data", impl_models_dir=project / "none", distribution_factor=3, learning_mode=True
    ) as manager:
        for number in range(12):
            manager.init_instance(order, number)
            manager.transition(number, *GOOD[0][1:])
            manager.transition(number, *GOOD[1 + number % 2][1:])
        manager.init_instance(refund, "r")
    return project / "data"


@pytest.mark.process
@pytest.mark.usefixtures("learned")
def test_export_writes_the_united_models_of_all_shards(project: Path) -> None:
    """It works for any number of shards, and writes what a manager over the same directory would export."""
    done = run_process("export", "--data-dir", "data", "--models-dir", "models")
    assert done == Done(0, "models/Order.spex\nmodels/Refund.spex\n2 files written\n", "")
    with spex.ShardedInstanceManager(data_dir="data", impl_models_dir="none", distribution_factor=3) as manager:
        exported = dict(manager.export_impl_models())
    assert {path.name: path.read_text() for path in Path("models").glob("*.spex")} == exported
    assert len(spex.ImplModel.deserialise(exported["Order.spex"]).transitions) == 4


@pytest.mark.process
@pytest.mark.usefixtures("learned")
def test_export_adds_to_a_learning_file_and_keeps_one_that_is_not(run: Callable[..., Done], project: Path) -> None:
    """It treats existing files as a manager does."""
    order = write_model(project / "models", "Order", ("new", "steal", "gone"), learning=True)
    refund = write_model(project / "models", "Refund", ("x", "y", "z"))
    kept = refund.read_text()
    done = run("export", "--data-dir", "data", "--models-dir", "models")
    assert (done.code, done.out) == (0, "models/Order.spex\n1 file written\n")
    assert done.err == "kept as it is: the model of Refund, whose file says 'Learning mode: false'\n"
    united = spex.ImplModel.deserialise(order.read_text())
    assert len(united.transitions) == 6
    assert united.learning_mode
    assert refund.read_text() == kept


@pytest.mark.process
@pytest.mark.usefixtures("learned")
def test_export_writes_nothing_over_a_malformed_file(run: Callable[..., Done], project: Path) -> None:
    """It exits with 2 and names the malformed line."""
    path = write_model(project / "models", "Order", *GOOD)
    path.write_text("Specification: Order\nnonsense\n")
    done = run("export", "--data-dir", "data", "--models-dir", "models")
    assert (done.code, done.out) == (2, "")
    assert re.match(r"error: models/Order\.spex: line 2: .*; repair or remove that file first", done.err)
    assert [path.name for path in (project / "models").iterdir()] == ["Order.spex"]


@pytest.mark.process
def test_export_of_what_is_in_use_or_is_nothing_exits_with_2(run: Callable[..., Done], project: Path) -> None:
    """Each error is one clear line, and nothing is created."""
    done = run("export", "--data-dir", "gone", "--models-dir", "models")
    assert done == Done(
        2, "", "error: there is no data directory at gone; give the directory that a manager was started with\n"
    )
    with spex.SimpleInstanceManager(data_dir=project / "data", impl_models_dir=project / "none"):
        done = run("export", "--data-dir", "data", "--models-dir", "models")
    path = project / "data"
    assert done.err == (
        f"error: this process has the data directory {path} open already, by an in-process manager: "
        "use that one, or close it first\n"
    )
    done = run("export", "--data-dir", "data", "--models-dir", "models")
    assert done == Done(2, "", "error: the data directory data has no models: nothing was learned in it\n")
    assert not (project / "models").exists()
    assert not (project / "gone").exists()


# ---------------------------------------------------------------------- replay


@pytest.mark.process
def test_replay_learns_a_model_and_writes_it(project: Path) -> None:
    """The model has learning off, the exit code is 0, and the output has the counts and the file."""
    done = run_process(
        "replay", "log.csv", "--learn", "Order", *READ_CSV, "--state", "result", "--models-dir", "models"
    )
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(
        r"4 events of 2 instances in \d+\.\d\d s \(\d+ a second\), 0 deviations, 0 restarts\n"
        r"Order: 4 transitions learned, written to models/Order\.spex\n",
        done.out,
    )
    assert (project / "models" / "Order.spex").read_text() == (
        "Specification: Order\nLearning mode: false\nTransitions:\n"
        "nil --[__initialisation__]-> start\n"
        "paid --[cancel]-> cancelled\npaid --[ship]-> shipped\nstart --[pay]-> paid\n"
    )


@pytest.mark.process
def test_replay_checks_a_fresh_model(run: Callable[..., Done], project: Path) -> None:
    """It exits with 0 or 1; a model in the models directory is neither read nor changed."""
    path = write_model(project / "spex_impl_models", "shop.Order", ("x", "steal", "y"))
    before = path.read_text()
    done = run("replay", "log.csv", "--specification", "shop:Order", *READ_CSV)
    assert (done.code, done.out.splitlines()[1]) == (0, "shop.Order: 4 transitions learned, equivalent")
    done = run("replay", "log.csv", "--specification", "shop:Strict", *READ_CSV)
    assert (done.code, done.out.splitlines()[1]) == (1, "shop.Strict: 4 transitions learned, violation")
    done = run("replay", "log.csv", "--specification", "shop:Eager", *READ_CSV)
    assert (done.code, done.out.splitlines()[1]) == (1, "shop.Eager: 4 transitions learned, incomplete")
    assert path.read_text() == before
    assert [path.name for path in path.parent.iterdir()] == ["shop.Order.spex"]


@pytest.mark.process
def test_replay_as_json_is_exactly_one_object(project: Path) -> None:
    """The object has the documented keys."""
    done = run_process("replay", "log.csv", "--specification", "shop:Strict", *READ_CSV, "--format", "json")
    assert (done.code, done.err) == (1, "")
    plain = done.plain
    seconds, speed = plain.pop("seconds"), plain.pop("events_per_second")
    assert speed == pytest.approx(4 / seconds, rel=0.01)
    assert plain == {
        "events": 4,
        "instances": 2,
        "deviations": 0,
        "restarts": 0,
        "models": [{"specification": "shop.Strict", "transitions": 4, "verdict": "violation"}],
    }


def test_replay_needs_exactly_one_of_learn_and_specification(run: Callable[..., Done]) -> None:
    """With neither or both it exits with 2."""
    expected = "error: give either --specification MODULE:NAME (to check) or --learn NAME (to learn a model)\n"
    assert run("replay", "log.csv", *READ_CSV) == Done(2, "", expected)
    assert run("replay", "log.csv", *READ_CSV, "--learn", "A", "--specification", "shop:Order") == Done(2, "", expected)


@pytest.mark.process
def test_replay_reads_xes_by_its_defaults_and_jsonl(run: Callable[..., Done], project: Path) -> None:
    """Several attributes are joined; a case without events is an instance."""
    (project / "log.xes").write_text(XES)
    plain = run("replay", "log.xes", "--learn", "Plain", "--models-dir", "models", "--format", "json").plain
    assert (plain["events"], plain["instances"], plain["models"][0]["transitions"]) == (2, 2, 3)
    run("replay", "log.xes", "--learn", "Joined", "--models-dir", "models",
        "--action", "concept:name+lifecycle:transition", "--state", "concept:name")  # fmt: skip
    joined = spex.ImplModel.deserialise((project / "models" / "Joined.spex").read_text())
    assert {tuple(t)[1:] for t in joined.transitions} == {
        (spex.INITIALISATION, "start"), ("open/start", "open"), ("close/end", "close"),
    }  # fmt: skip
    (project / "log.jsonl").write_text('{"id": 7, "do": "go", "at": 1}\n')
    jsonl = run("replay", "log.jsonl", "--learn", "J", "--models-dir", "models", "--format", "json",
                "--case", "id", "--action", "do", "--timestamp", "at")  # fmt: skip
    assert (jsonl.code, jsonl.plain["events"]) == (0, 1)


@pytest.mark.parametrize(
    ("content", "arguments", "text"),
    [
        (CSV, ("--case", "case"), "log.csv: a csv log needs --action, --timestamp: the names of its attributes"),
        (CSV.replace("T12", "noon"), READ_CSV, "log.csv: line 5, case 'a': the timestamp 'time' must be an ISO"),
        (CSV, (*READ_CSV[:-1], "when"), "log.csv: line 1: the header must have 'when' exactly once, got: 'case'"),
        (
            CSV.replace("cancel,", "__initialisation__,"), READ_CSV,
            "log.csv: case 'a', event 2 in time order: the action must not be the reserved",
        ),
    ],
)  # fmt: skip
def test_replay_of_a_log_that_cannot_be_used_says_where(
    run: Callable[..., Done], project: Path, content: str, arguments: tuple[str, ...], text: str
) -> None:
    """It exits with 2 and writes nothing."""
    (project / "log.csv").write_text(content)
    done = run("replay", "log.csv", *arguments, "--learn", "Order", "--data-dir", "data", "--models-dir", "models")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {text}")
    assert done.err.count("\n") == 1
    assert not (project / "data").exists()
    assert not (project / "models").exists()


def test_replay_of_no_log_or_under_no_name_exits_with_2(run: Callable[..., Done]) -> None:
    """This happens before anything is started."""
    done = run("replay", "gone.csv", *READ_CSV, "--learn", "Order")
    assert done == Done(2, "", "error: gone.csv: there is no such file\n")
    done = run("replay", "shop.py", *READ_CSV, "--learn", "Order")
    assert done.err.startswith("error: shop.py: the format of an event log must be one of .xes, .xes.gz, ")
    done = run("replay", "log.csv", *READ_CSV, "--learn", "a/b")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: a name of a model file must have 1 to 200 bytes, no leading dot, no slash")


@pytest.mark.process
def test_a_data_directory_that_is_given_is_kept_and_used_again_with_its_shards(
    run: Callable[..., Done], project: Path
) -> None:
    """The second run does not need --shards; a temporary directory leaves nothing behind."""
    first = run("replay", "log.csv", *READ_CSV, "--learn", "Order", "--data-dir", "data", "--shards", "2")
    assert first.code == 0
    (project / "more.csv").write_text(CSV.replace("\na,", "\nc,").replace("\nb,", "\nd,"))
    second = run("replay", "more.csv", *READ_CSV, "--learn", "Order", "--data-dir", "data")
    assert second.code == 0
    with spex.ShardedInstanceManager(data_dir="data", impl_models_dir="none", distribution_factor=2) as manager:
        assert sorted(instance.identifier for instance in manager.all_instances()) == ["a", "b", "c", "d"]
    third = run("replay", "log.csv", *READ_CSV, "--learn", "Order", "--data-dir", "data", "--shards", "3")
    assert third.code == 2


@pytest.mark.process
def test_a_data_directory_that_holds_the_logs_cases_is_refused_before_anything_is_written(
    run: Callable[..., Done], project: Path
) -> None:
    """It exits with 2; no byte of the stores changes, nor does the model."""
    arguments = ("replay", "log.csv", *READ_CSV, "--learn", "Order", "--data-dir", "data", "--models-dir", "models")
    assert run(*arguments).code == 0
    (project / "log.csv").write_text(CSV + "new,pay,paid,2024-05-02T10:00:00Z\n")

    def content() -> dict[str, str]:
        files = [path for path in project.rglob("*") if path.name in ("data.mdb", "layout", "Order.spex")]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = content()
    assert len(before) >= 3
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(
        r"error: the data directory data holds 2 of the log's cases already, '[ab]' among them; "
        r"give another --data-dir, or none for a temporary one\n",
        done.err,
    )
    assert content() == before


@pytest.mark.long
@pytest.mark.process
@pytest.mark.parametrize("durability", ["process", pytest.param("disk", marks=pytest.mark.long)])
def test_a_temporary_data_directory_is_removed_at_the_end(project: Path, durability: str, tmp_path: Path) -> None:
    """This holds for every result of the replay; no process is left."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    before = children()
    for specification, code in (("shop:Order", 0), ("shop:Strict", 1), ("shop:Gone", 2)):
        arguments = ("replay", "log.csv", *READ_CSV, "--specification", specification, "--durability", durability)
        assert run_process(*arguments, TMPDIR=str(temporary)).code == code
        assert not list(temporary.iterdir())
    assert children() <= before


@pytest.mark.long
@pytest.mark.process
def test_log_records_of_shards_go_to_stderr(project: Path) -> None:
    """A timeout is reported there, and stdout stays one object."""
    (project / "slow.py").write_text(
        "import spex_shards as spex\nclass Slow(spex.Specification):\n    transition_timeout = 0.001\n"
        "    transitions = [('new', 'pay', 'paid'), ('paid', 'ship', 'end'), ('paid', 'cancel', 'end')]\n"
    )
    rows = "".join(f"c{number},pay,paid,{number}\nc{number},ship,shipped,{number}\n" for number in range(4000))
    (project / "log.csv").write_text("case,activity,result,time\n" + rows)
    done = run_process("replay", "log.csv", *READ_CSV, "--specification", "slow:Slow", "--format", "json")
    assert done.plain["events"] == 8000
    assert re.search(r"^error: \[shard \d, pid \d+\] .*c\d", done.err, re.MULTILINE)


BIG = 120_000 if LONG else 40_000
"""Events of a log whose replay can be interrupted."""


def big_log(path: Path, cases: int = 300, events: int = BIG) -> dict[str, list[str]]:
    """Write a log that takes seconds, and return case → actions."""
    expected: dict[str, list[str]] = {f"c{number}": [] for number in range(cases)}
    with path.open("w") as file:
        file.write("case,activity,time\n")
        for number in range(events):
            name, action = f"c{number % cases}", f"a{number * 7 % 11}"
            expected[name].append(action)
            file.write(f"{name},{action},{number}\n")
    return expected


def size_of(data_dir: Path) -> int:
    """Return the bytes of all stores of a data directory."""
    return sum(path.stat().st_size for path in data_dir.glob("shard-*/data.mdb"))


@pytest.mark.long
@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_replay_leaves_a_consistent_data_directory(project: Path, number: signal.Signals) -> None:
    """It exits with 130 and a message, with nothing on stdout; each history is a prefix of its case's events."""
    expected = big_log(project / "log.csv")
    command = [sys.executable, "-m", "spex_shards.cli", "replay", "log.csv", *READ_CSV, "--learn", "Big"]
    process = subprocess.Popen(
        [*command, "--data-dir", "data", "--models-dir", "models", "--shards", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: size_of(project / "data") > BIG * 8 or process.poll() is not None, "something is stored")
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    found = re.fullmatch(rf"interrupted after (\d+) of {BIG} events; these are kept in data\n", err)
    assert found, err
    assert not (project / "models" / "Big.spex").exists()
    with spex.ShardedInstanceManager(data_dir="data", impl_models_dir="none", distribution_factor=2) as manager:
        stored = {instance.identifier: instance.history[1:] for instance in manager.iter_instances()}
    for case, history in stored.items():
        assert [entry.action for entry in history] == expected[case][: len(history)]
    assert sum(map(len, stored.values())) == int(found[1])
    assert 0 < int(found[1]) < 120_000


@pytest.mark.process
def test_an_interrupted_reading_exits_with_130_too(project: Path) -> None:
    """Nothing has been started by then."""
    os.mkfifo(project / "pipe.csv")
    process = subprocess.Popen(
        [sys.executable, "-m", "spex_shards.cli", "replay", "pipe.csv", *READ_CSV, "--learn", "B", "--format", "json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        with (project / "pipe.csv").open("w"):  # opened: the command reads
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, json.loads(out), err) == (130, {"error": "interrupted"}, "interrupted\n")


@pytest.mark.process
@pytest.mark.long
def test_a_terminal_gets_a_progress_bar_that_is_removed(project: Path) -> None:
    """The bar is on stderr; stdout has only the result."""
    big_log(project / "log.csv", events=30_000)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "spex_shards.cli", "replay", "log.csv", *READ_CSV, "--learn", "Big", "--format", "json"],
        stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while piece := _read_terminal(ours):
            shown += piece
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        os.close(ours)
    assert json.loads(out)["events"] == 30_000
    assert b"replaying" in shown
    assert b"/30000" in shown
    assert shown.endswith((b"\x1b[2K", b"\x1b[?25h"))  # the line is erased, the cursor is there again


def _read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # a terminal that nobody has open any more
        return b""


@pytest.mark.long
@pytest.mark.process
def test_a_replay_survives_workers_killed_from_outside(project: Path) -> None:
    """Nothing is lost, and the restarts are counted."""
    expected = big_log(project / "log.csv")
    process = subprocess.Popen(
        [sys.executable, "-m", "spex_shards.cli", "replay", "log.csv", *READ_CSV, "--learn", "Big", "--format", "json",
         "--data-dir", "data", "--shards", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: size_of(project / "data") > BIG * 4, "something is stored")
        for worker in json.loads((project / "data" / "lock").read_text())["workers"]:
            os.kill(worker[0], signal.SIGKILL)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    plain = json.loads(out)
    assert (process.returncode, plain["events"], plain["restarts"]) == (0, BIG, 2)
    with spex.ShardedInstanceManager(data_dir="data", impl_models_dir="none", distribution_factor=2) as manager:
        stored = {i.identifier: [entry.action for entry in i.history[1:]] for i in manager.iter_instances()}
    assert stored == expected


@pytest.mark.long
@pytest.mark.shared
@pytest.mark.process
@pytest.mark.parametrize(
    ("log", "action", "counts"),
    [
        ("helpdesk.xes.gz", "concept:name", (21348, 4580)),
        pytest.param(
            "bpic2013_incidents.xes.gz", "concept:name+lifecycle:transition", (65533, 7554), marks=pytest.mark.long
        ),
    ],
)
def test_the_real_logs_are_replayed(
    project: Path, run: Callable[..., Done], log: str, action: str, counts: tuple[int, int]
) -> None:
    """Every event and case goes through four shards; the model equals that of a reference without the library."""
    path = SHARED / "data" / log
    arguments = ("--learn", "Real", "--action", action, "--models-dir", "models", "--shards", "4", "--format", "json")
    done = run("replay", path, *arguments)
    assert (done.code, done.err) == (0, "")
    assert (done.plain["events"], done.plain["instances"]) == counts
    model = spex.ImplModel.deserialise((project / "models" / "Real.spex").read_text())
    assert model.transitions == set(model_of(reference(path, tuple(action.split("+")))))
    assert (done.plain["models"][0]["transitions"], model.learning_mode) == (len(model.transitions), False)


@pytest.mark.process
def test_a_learned_model_is_drawn_with_its_frequencies(project: Path, run: Callable[..., Done]) -> None:
    """As the replay counted them, or as the data directory has them; both say the same. Hiding shows none."""
    learn = ("replay", "log.csv", *READ_CSV, "--learn", "Order", "--models-dir", "models", "--data-dir", "data")
    assert run(*learn).code == 0
    assert run("render", "models/Order.spex", "beside.html").code == 0
    counted = re.findall(r'class="count"> ?(\d+)<', (project / "beside.html").read_text())
    assert counted
    assert run("render", "models", "folder.html").code == 0
    assert re.findall(r'class="count"> ?(\d+)<', (project / "folder.html").read_text()) == counted
    (project / "models" / "Order.spex.json").unlink()
    assert run("render", "models/Order.spex", "plain.html").code == 0
    assert 'class="count"' not in (project / "plain.html").read_text()
    assert run("render", "models/Order.spex", "kept.html", "--data-dir", "data").code == 0
    assert re.findall(r'class="count"> ?(\d+)<', (project / "kept.html").read_text()) == counted
    (project / "models" / "Order.spex.json").write_text("{}")
    done = run("render", "models/Order.spex", "broken.html")
    assert (done.code, done.err) == (2, "error: models/Order.spex.json: it must be an object of format 1 or 2\n")
    assert run("render", "models/Order.spex", "hidden.html", "--hide", "pay").code == 0


DOCS = ROOT / "docs"


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "least"),
    [
        pytest.param("cli.md", 20, marks=pytest.mark.long),
        *(pytest.param(page, 9, marks=pytest.mark.long) for page in ("review.md", "testing.md")),
        ("tutorial.md", 4),
    ],
)
def test_the_examples_of_the_documentation_print_what_it_says(tmp_path: Path, page: str, least: int) -> None:
    """Each command of the page runs in order in a folder with its files, and prints that output, except for speeds."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    commands = {"spex-shards": "-m spex_shards.cli", "python": "-W error", "pytest": "-m pytest -p no:cacheprovider"}
    for name, arguments in commands.items():
        (bin_dir / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
        (bin_dir / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{bin_dir}:{os.environ['PATH']}", "COLUMNS": "80"}
    environment.pop("CI", None)
    folder = tmp_path / "shop"
    folder.mkdir()
    ran = 0
    for kind, title, text in re.findall(
        r'^```(\w+)(?: title="([^"\n]*)")?\n(.*?)^```', (DOCS / page).read_text(), re.MULTILINE | re.DOTALL
    ):
        if title:
            (folder / title).write_text(text)
        if kind != "console":
            continue
        for line, expected in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", text, re.MULTILINE):
            done = subprocess.run(
                line, shell=True, cwd=folder, env=environment, text=True, timeout=60,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            assert _without_speed(done.stdout) == _without_speed(expected), line
            ran += 1
    assert ran >= least


def _without_speed(text: str) -> str:
    text = re.sub(r"\d+\.\d\d s \(\d+ a second\)", "T s (N a second)", text)
    text = re.sub(r"passed in \d+\.\d\ds", "passed in Ts", text)
    return re.sub(r'"(seconds|events_per_second)": [\d.]+', r'"\1": T', text)


@pytest.mark.process
def test_a_reader_of_stdout_that_leaves_early_gets_no_error(tmp_path: Path) -> None:
    """As `head` does: what was read is whole, and nothing is said about a broken pipe."""
    steps = frozenset(spex.Transition(f"s{n}", "go", f"s{n + 1}") for n in range(30_000))
    start = spex.Transition(None, spex.INITIALISATION, "s0")
    (tmp_path / "Big.spex").write_text(spex.ImplModel(specification="Big", transitions=steps | {start}).serialise())
    with subprocess.Popen(
        [sys.executable, "-m", "spex_shards.cli", "convert", "Big.spex", "-", "--to", "json"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": ""},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 1
