"""`init` and `learn` as their users see them: a first specification, and models of a command's run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards.cli.init import specification_text
from tests.cli.test_cli import GOOD, Done, project, run, write_model
from tests.formats.test_forms import actions, model, states
from tests.support.processes import wait_until

__all__ = ["project", "run"]  # fixtures

APP = """
import os, signal, sys, time
from specification import Order

@Order.observes("pay", to="paid", identifier="number")
def pay(number):
    return number

pay(1)
if "--wait" in sys.argv:
    signal.signal(signal.SIGTERM, lambda *_: (pay(2), sys.exit(9)))
    open("ready", "w").close()
    time.sleep(60)
if "--die" in sys.argv:
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(7)
"""


def namespace(text: str) -> dict[str, Any]:
    """Return what a module defines."""
    found: dict[str, Any] = {"__name__": "written"}
    exec(compile(text, "written", "exec"), found)
    return found


@pytest.fixture
def written(project: Path, run: Callable[..., Done]) -> Path:
    """Return a project with a first specification and an application."""
    assert run("init").code == 0
    (project / "app.py").write_text(APP)
    return project


def test_init_writes_an_example_that_works(run: Callable[..., Done], project: Path) -> None:
    """It names the file, and is never overwritten unasked."""
    done = run("init")
    assert done.out == "specification.py: Order, 3 transitions; check that they are what you want\n"
    cls = namespace((project / "specification.py").read_text())["Order"]
    assert (cls.initial_state, cls.actions) == ("new", ("pay", "ship", "cancel"))
    again = run("init", "--name", "Other")
    assert again.code == 2
    assert "specification.py exists already: give another file by --output, or overwrite it by --force" in again.err
    assert run("init", "--name", "Other", "--force").code == 0
    assert "class Other(" in (project / "specification.py").read_text()


def test_init_writes_down_a_learned_model(run: Callable[..., Done], project: Path) -> None:
    """It keeps the model's name, so that the model is checked against it, and is equivalent."""
    write_model(project / "models", "shop.Order", *GOOD)
    done = run("init", "--from-model", "models/shop.Order.spex", "-o", "shop_order.py")
    assert done.out.startswith("shop_order.py: Order, 3 transitions")
    cls = namespace((project / "shop_order.py").read_text())["Order"]
    assert (cls.name, cls.initial_state) == ("shop.Order", "start")
    checked = run("check", "models", "--specification", "shop_order:Order")
    assert checked.code == 0, checked


def test_init_says_what_is_wrong(run: Callable[..., Done], project: Path) -> None:
    """A missing file, a model without transitions, and a name that is none."""
    assert "there is no such file" in run("init", "--from-model", "gone.spex").err
    (project / "empty.spex").write_text(model([], ["new"]).serialise())
    assert "has no transitions" in run("init", "--from-model", "empty.spex").err
    assert "--name must be the name of a class" in run("init", "--name", "shop.Order").err
    assert not (project / "specification.py").exists()


@given(st.lists(st.builds(spex.Transition, states, actions, states), min_size=1, max_size=6), states)
def test_whatever_the_names_are_the_text_says_the_same(transitions: list[spex.Transition], initial: str) -> None:
    """It compiles, and the class has the model's transitions."""
    cls = namespace(specification_text("Learned", model(transitions, [initial]), "written"))["Learned"]
    assert set(cls.transitions) == set(transitions)
    known = {state for step in transitions for state in (step.source, step.target)}
    assert cls.initial_state == (initial if initial in known else transitions_first(transitions))


def transitions_first(transitions: list[spex.Transition]) -> str | None:
    """Return the state in which a specification begins whose model begins in a state without transitions."""
    from spex_shards.domain.difference import in_order

    return in_order(set(transitions))[0].source


@pytest.mark.process
@pytest.mark.parametrize("before", [["--"], []], ids=["after dashes", "without"])
def test_learn_saves_what_a_command_showed_and_ends_as_it_does(
    run: Callable[..., Done], written: Path, before: list[str]
) -> None:
    """Its exit status, and its own options, belong to the command."""
    done = run("learn", "--models", "models", *before, sys.executable, "app.py", "--format", "x")
    assert (done.code, done.out) == (7, "")
    assert "learned: " in done.err
    [file] = (written / "models").glob("*.spex")
    assert spex.ImplModel.deserialise(file.read_text()) == model(
        [spex.Transition("new", "pay", "paid")], ["new"], "specification.Order"
    )
    assert not (written / "spex_data").exists()


@pytest.mark.process
def test_learn_unites_with_the_models_that_there_are(run: Callable[..., Done], written: Path) -> None:
    """A command that is killed adds what it showed; the status is that of a shell."""
    write_model(written / "models", "specification.Order", ("paid", "ship", "shipped"))
    done = run("learn", "--models", "models", "--", sys.executable, "app.py", "--die")
    assert done.code == 128 + signal.SIGKILL
    [file] = (written / "models").glob("*.spex")
    assert {step.action for step in spex.ImplModel.deserialise(file.read_text()).transitions} >= {"ship"}


def test_learn_says_that_nothing_was_new(run: Callable[..., Done], written: Path) -> None:
    """A second run of the same command adds nothing, though it has reported something."""
    for said in ("learned: ", "nothing was learned: the models have all that the command reported\n"):
        assert run("learn", "--models", "models", "--", sys.executable, "app.py").err.startswith(said)


def test_learn_without_anything_to_learn_or_to_run(run: Callable[..., Done], project: Path) -> None:
    """The first writes no file; the second says how commands are written."""
    done = run("learn", "--models", "models", "--", sys.executable, "-c", "pass")
    assert (done.code, done.err) == (0, "nothing was learned: no module-level call of the command reported anything\n")
    assert not (project / "models").exists()
    missing = run("learn", "--", "no-such-command")
    assert missing.code == 127
    assert "there is no command 'no-such-command': write it after --" in missing.err


@pytest.mark.process
def test_learn_passes_signals_on(written: Path) -> None:
    """The command ends by itself, and what it showed before that is learned."""
    command = [sys.executable, "-m", "spex_shards.cli", "learn", "--models", "models", "--", sys.executable, "app.py",
               "--wait"]  # fmt: skip
    with subprocess.Popen(command, cwd=written, stderr=subprocess.PIPE, text=True) as learning:
        try:
            wait_until((written / "ready").exists, "the command runs")
            os.kill(learning.pid, signal.SIGTERM)
            _, err = learning.communicate(timeout=60)
        finally:
            learning.kill()
    assert learning.returncode == 9, err
    [file] = (written / "models").glob("*.spex")
    assert len(spex.ImplModel.deserialise(file.read_text()).transitions) == 2
