"""`state_machine`: an object is driven along its specification and off it, and teaches the model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

import spex_shards as spex
from spex_shards.testing import state_machine

pytestmark = pytest.mark.usefixtures("specifications_as_before")
ORDER = [("new", "pay now", "paid"), ("paid", "ship", "shipped"), ("paid", "cancel", "cancelled")]


class Refused(Exception):
    """The object does not do that now."""


class Order:
    """An object that does what it should; the subclasses differ from it in one thing."""

    allowed = {(source, action): target for source, action, target in ORDER}

    def __init__(self) -> None:
        self.state: Any = "new"

    def _do(self, action: str) -> None:
        target = self.allowed.get((self.state, action))
        if target is None:
            raise Refused(action)
        self.state = target

    def pay_now(self) -> None:
        self._do("pay now")

    def ship(self) -> None:
        self._do("ship")

    def cancel(self) -> None:
        self._do("cancel")


@pytest.fixture
def learning(places: dict[str, Path]) -> Iterator[spex.InstanceManager]:
    """Return a manager whose models learn."""
    with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:  # type: ignore[arg-type]
        yield manager


@pytest.fixture
def specification() -> type[spex.Specification]:
    """Return the specification of an order."""
    return spex.Specification.define("driven.Order", ORDER)


def drive(machine: Any) -> None:
    """Run a state machine, always in the same way."""
    run_state_machine_as_test(
        machine,
        settings=settings(derandomize=True, database=None, deadline=None, max_examples=30, phases=[Phase.generate]),
    )


def model(manager: spex.InstanceManager) -> spex.ImplModel:
    """Return the only model, as it is saved."""
    (found,) = manager.all_impl_models()
    return spex.ImplModel(specification=found.specification, transitions=found.transitions)


def test_an_object_that_does_what_it_should_teaches_a_whole_model(
    learning: spex.InstanceManager, specification: type[spex.Specification]
) -> None:
    """Every specified transition is shown; no instance is left."""
    drive(state_machine(specification, Order, refusals=Refused, manager=learning))
    assert spex.check(model(learning), specification).equivalent
    assert learning.all_instances() == []


class PaysTwice(Order):
    """It takes money for what is paid."""

    allowed = {**Order.allowed, ("paid", "pay now"): "paid"}


class NeverShips(Order):
    """It refuses what it should do."""

    def ship(self) -> None:
        raise Refused("ship")


class MovesWhenItRefuses(Order):
    """It forgets that it was paid."""

    def _do(self, action: str) -> None:
        try:
            super()._do(action)
        except Refused:
            self.state = "new"
            raise


class Mixes(Order):
    """It says that it was cancelled when it was shipped."""

    allowed = {**Order.allowed, ("paid", "ship"): "cancelled"}


class Breaks(Order):
    """It fails with an exception that is no refusal."""

    def cancel(self) -> None:
        raise KeyError("a mistake")


class Elsewhere(Order):
    """It begins in the middle."""

    def __init__(self) -> None:
        self.state = "paid"


class Numbered(Order):
    """Its states have no names."""

    def __init__(self) -> None:
        self.state = 7


@pytest.mark.parametrize(
    ("cls", "error", "text"),
    [
        (
            PaysTwice,
            AssertionError,
            "the specification does not allow pay now in 'paid', and the object went to 'paid'",
        ),
        (NeverShips, AssertionError, "the specification allows ship in 'paid', and the object refused"),
        (MovesWhenItRefuses, AssertionError, "the object refused .* and went from '.*' to 'new'"),
        (Mixes, AssertionError, "after ship in 'paid' the object is in 'cancelled', and the .* is in 'shipped'"),
        (Breaks, KeyError, "a mistake"),
        (Elsewhere, AssertionError, "at the start the object is in 'paid', and the specification is in 'new'"),
        (Numbered, TypeError, "the state of the object must be a str or a str-valued Enum member, got: 7"),
    ],
)
def test_an_object_that_differs_fails_the_run(
    learning: spex.InstanceManager, specification: type[spex.Specification], cls: type[Order], error: Any, text: str
) -> None:
    """The message says what was done and what the specification says."""
    with pytest.raises(error, match=text):
        drive(state_machine(specification, cls, refusals=Refused, manager=learning))
    if cls is PaysTwice:
        assert spex.Transition("paid", "pay now", "paid") in model(learning).transitions
        assert spex.check(model(learning), specification).verdict is spex.Verdict.VIOLATION


class Colour(Enum):
    """States of a lamp."""

    RED = "red"
    GREEN = "green"


def test_actions_may_be_functions_that_draw_values(learning: spex.InstanceManager) -> None:
    """A function gets the object, or the object and `draw`; None leaves an action out; the state may be a function."""
    lamp = spex.Specification.define(
        "driven.Lamp", [("red", "go", "green"), ("green", "back", "red"), ("red", "no", "x")]
    )
    drawn: set[int] = set()

    def go(target: dict[str, Any], draw: Any) -> None:
        drawn.add(draw(st.integers(1, 3)))
        if target["now"] is Colour.GREEN:
            raise ValueError("green")
        target["now"] = Colour.GREEN

    def back(target: dict[str, Any]) -> None:
        if target["now"] is Colour.RED:
            raise ValueError("red")
        target["now"] = Colour.RED

    machine = state_machine(
        lamp, lambda: {"now": Colour.RED}, actions={"go": go, "back": back, "no": None}, state=lambda it: it["now"],
        manager=learning,
    )  # fmt: skip
    drive(machine)
    assert len(drawn) > 1
    assert {t.action for t in model(learning).transitions} == {spex.INITIALISATION, "go", "back"}


def test_a_run_along_the_specification_alone_may_end(
    learning: spex.InstanceManager, specification: type[spex.Specification]
) -> None:
    """With `off=False` nothing else is tried, and a terminal state is no error."""
    drive(state_machine(specification, PaysTwice, refusals=Refused, off=False, manager=learning))
    assert spex.check(model(learning), specification).equivalent


def test_where_the_specification_leaves_a_choice_the_object_has_it(learning: spex.InstanceManager) -> None:
    """An object that always takes one branch passes, whether its states have the specification's names or not."""
    branches = [("a", "go", "left"), ("a", "go", "right"), ("left", "stop", "end"), ("right", "rest", "end")]
    choice = spex.Specification.define("driven.Choice", branches)

    class Left:
        names = ("a", "left", "end")

        def __init__(self) -> None:
            self.at = 0

        def _do(self, start: int) -> None:
            if self.at != start:
                raise Refused
            self.at += 1

        def go(self) -> None:
            self._do(0)

        def stop(self) -> None:
            self._do(1)

        def rest(self) -> None:
            raise Refused

        def state(self) -> str:
            return self.names[self.at]

    class Unnamed(Left):
        names = ("s0", "s1", "s2")

    for cls in (Left, Unnamed):
        drive(state_machine(choice, cls, state=lambda it: it.state(), refusals=Refused, manager=learning))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (lambda spec: (Order, Order), TypeError, "the specification must be a Specification class with transitions"),
        (lambda spec: (spec, 5), TypeError, "drive must be a callable that returns a new object, got: 5"),
        (lambda spec: (spec, object), TypeError, "object has no method pay_now for the action 'pay now'"),
    ],
)
def test_a_wrong_argument_is_refused(
    specification: type[spex.Specification], arguments: Any, error: type[Exception], text: str
) -> None:
    """The error names the argument, before anything is driven."""
    with pytest.raises(error, match=text):
        state_machine(*arguments(specification))
    with pytest.raises(ValueError, match=r"driven\.Order has no action 'pay'"):
        state_machine(specification, Order, actions={"pay": "pay_now"})


def test_a_coroutine_is_no_action(learning: spex.InstanceManager) -> None:
    """It would never run; the message says what to give instead."""
    spec = spex.Specification.define("driven.Async", [("new", "go", "gone")])

    class Walks:
        state = "new"

        async def go(self) -> None:
            self.state = "gone"

    with pytest.raises(TypeError, match="give a function that awaits it"):
        drive(state_machine(spec, Walks, off=False, manager=learning))
    drive(state_machine(spec, Walks, actions={"go": lambda it: asyncio.run(it.go())}, off=False, manager=learning))


def test_hypothesis_is_needed_only_for_this() -> None:
    """Importing the module for test suites does not import it."""
    import subprocess
    import sys

    script = "import sys, spex_shards.testing; print('hypothesis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"
