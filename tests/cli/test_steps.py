"""`why` and `forget`: one step of a stored model; and where `check` looks for specifications."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import spex_shards as spex
from spex_shards.domain.frequency import Frequencies
from spex_shards.review import sidecar_of, write_sidecar
from spex_shards.review.sidecar import read_tests, write_frequencies
from tests.cli.test_cli import GOOD, Done, project, run, write_model

__all__ = ["project", "run"]  # fixtures
SHIP = spex.Transition("p", "ship", "s")
START = spex.Transition(None, spex.INITIALISATION, "start")


@pytest.fixture
def model(project: Path) -> Path:
    """Return the file of a model with a sidecar that names tests."""
    write_model(project / "models", "shop.Order", *GOOD)
    path = project / "models" / "shop.Order.spex"
    cls = spex.Specification.define("shop.Order", [("new", "pay", "paid")])
    write_sidecar(path, cls.declaration, {SHIP: ("tests/test_shop.py::test_ship",), START: ("t::a", "t::b")})
    return path


@pytest.mark.usefixtures("specifications_as_before")
@pytest.mark.parametrize("step", [["p --[ship]-> s"], ["p", "ship", "s"]])
@pytest.mark.parametrize("named", ["models/shop.Order.spex", "models", "shop.Order"])
def test_why_prints_the_tests_that_showed_a_step(
    run: Callable[..., Done], model: Path, step: list[str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is a file, a folder or a name; the step is one text or three."""
    monkeypatch.setenv("SPEX_SHARDS_IMPL_MODELS_DIR", "models")
    done = run("why", named, *step)
    assert done == Done(0, "shop.Order: p --[ship]-> s\n  shown by tests/test_shop.py::test_ship\n", "")


@pytest.mark.usefixtures("specifications_as_before")
def test_why_knows_starts_and_says_what_is_not_noted(run: Callable[..., Done], model: Path) -> None:
    """A start is named as in the file or as in other outputs; the exit code tells whether there is an answer."""
    for start in ("nil --[__initialisation__]-> start", "starts in start"):
        assert run("why", str(model), start).out == "shop.Order: starts in start\n  shown by t::a\n  shown by t::b\n"
    silent = run("why", str(model), "start", "pay", "p")
    assert (silent.code, silent.err) == (1, "")
    assert "it is not noted which test showed it" in silent.out
    plain = run("why", str(model), "p --[ship]-> s", "--format", "json").plain
    assert plain["steps"][0]["tests"] == ["tests/test_shop.py::test_ship"]


def test_why_says_how_often_an_event_log_took_a_step(run: Callable[..., Done], project: Path) -> None:
    """The frequencies of a replayed log are an answer too."""
    write_model(project / "models", "shop.Order", *GOOD)
    path = project / "models" / "shop.Order.spex"
    write_frequencies(path, "shop.Order", Frequencies(17, {SHIP: 9}))
    assert run("why", str(path), "p --[ship]-> s").out.endswith("  taken by 9 of 17 instances of an event log\n")


@pytest.mark.usefixtures("specifications_as_before")
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["models", "p --[shipp]-> s"], "no model in models has the step p --[shipp]-> s; the nearest is: {}"),
        (["models", "p", "ship"], "a step must be one argument, or source, action and target, got: 'p ship'"),
        (["gone", "p --[ship]-> s"], "there is no file or directory gone, and no model of that name in {}"),
        (["models/broken.spex", "x"], "models/broken.spex: line 1: the header 'Specification:' is missing, got: ''"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["why", "forget"])
def test_a_step_that_is_not_there_is_one_clear_error(
    run: Callable[..., Done], model: Path, command: str, arguments: list[str], error: str
) -> None:
    """Both commands say what is nearest, and change nothing."""
    if "broken" in arguments[0]:
        (model.parent / "broken.spex").write_text("")
    before = model.read_bytes()
    done = run(command, *arguments)
    error = error.format("spex_impl_models" if "gone" in arguments else "p --[ship]-> s")
    assert (done.code, done.err) == (2, f"error: {error}\n")
    assert model.read_bytes() == before


@pytest.mark.usefixtures("specifications_as_before")
def test_forget_removes_a_step_and_what_is_noted_about_it(run: Callable[..., Done], model: Path) -> None:
    """A dry run says the same and changes nothing; nothing else of the model changes."""
    before = model.read_bytes(), sidecar_of(model).read_bytes()
    dry = run("forget", "models", "p --[ship]-> s", "--dry-run")
    assert dry.out.splitlines() == [
        "shop.Order: p --[ship]-> s would be forgotten; 3 transitions left",
        "  would change: models/shop.Order.spex, models/shop.Order.spex.json",
        "  a test that shows it teaches it again; these did:",
        "    tests/test_shop.py::test_ship",
    ]
    assert (model.read_bytes(), sidecar_of(model).read_bytes()) == before
    done = run("forget", "models", "p --[ship]-> s")
    assert done.code == 0
    assert done.out.splitlines()[0] == "shop.Order: p --[ship]-> s forgotten; 3 transitions left"
    left = spex.ImplModel.deserialise(model.read_text()).transitions
    assert left == spex.ImplModel.deserialise(before[0].decode()).transitions - {SHIP}
    assert read_tests(model) == {START: ("t::a", "t::b")}
    assert json.loads(sidecar_of(model).read_text())["digest"] == json.loads(before[1])["digest"]
    assert run("forget", "models", "p --[ship]-> s").code == 2
    assert run("forget", "models", "start", "pay", "p", "--format", "json").plain["files"] == ["models/shop.Order.spex"]
    assert sorted(path.name for path in model.parent.iterdir()) == ["shop.Order.spex", "shop.Order.spex.json"]


@pytest.mark.usefixtures("specifications_as_before")
def test_forget_asks_which_model_is_meant(run: Callable[..., Done], model: Path) -> None:
    """A step that two models have is forgotten in neither."""
    write_model(model.parent, "shop.Refund", *GOOD)
    done = run("forget", "models", "p --[ship]-> s")
    assert (done.code, done.err) == (
        2, "error: 2 models have the step: shop.Order, shop.Refund; name one of their files\n",
    )  # fmt: skip


@pytest.mark.usefixtures("specifications_as_before")
def test_merge_unites_the_tests_of_models(run: Callable[..., Done], project: Path) -> None:
    """The parts of a build's matrix each know some tests."""
    cls = spex.Specification.define("shop.Order", [("new", "pay", "paid")])
    for part in ("one", "two"):
        write_model(project / part, "shop.Order", *GOOD)
        write_sidecar(project / part / "shop.Order.spex", cls.declaration, {SHIP: (f"test_{part}",)})
    assert run("merge", "one", "two", "-o", "all").err == ""
    assert read_tests(project / "all" / "shop.Order.spex") == {SHIP: ("test_one", "test_two")}


CONFIGURATIONS = {
    "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["lib", "src"]\n',
    "pytest.toml": '[pytest]\npythonpath = ["src"]\n',
    "pytest.ini": "[pytest]\npythonpath = src\n",
    "tox.ini": "[pytest]\npythonpath =\n    lib\n    src\n",
    "setup.cfg": "[tool:pytest]\npythonpath = src\n",
}


@pytest.mark.process
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_check_finds_what_the_tests_find(
    run: Callable[..., Done], project: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The import path of pytest's configuration is used, from a folder below as well."""
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    module = f"found_by_{name.replace('.', '_')}"
    (project / "src").mkdir()
    (project / "src" / f"{module}.py").write_text("from shop import Order\n")
    write_model(project / "models", "shop.Order", *GOOD)
    (project / "tests").mkdir()
    (project / "tests" / "shop.py").write_text((project / "shop.py").read_text())
    monkeypatch.chdir(project / "tests")
    arguments = ("check", "../models", "--specification", f"{module}:Order")
    missing = run(*arguments)
    assert (missing.code, missing.out) == (2, "")
    assert f"No module named '{module}'" in missing.err
    (project / name).write_text(CONFIGURATIONS[name])
    assert run(*arguments).out.startswith("shop.Order: equivalent\n")
