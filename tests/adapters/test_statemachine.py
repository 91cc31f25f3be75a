"""Machines of python-statemachine: what is reported of them."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any

import pytest
from statemachine import State, StateChart, StateMachine
from statemachine.exceptions import TransitionNotAllowed

import spex_shards as spex
from spex_shards.adapters.statemachine import observe
from tests.adapters.test_transitions import history


class Light(StateMachine):
    """A traffic light whose guard can be switched."""

    red = State(initial=True)
    green = State()
    off = State(final=True)
    go = red.to(green, cond="may_go")
    stop = green.to(red)
    end = red.to(off)
    may_go = True


class Door(StateChart):
    """Compound states, and a step without an event."""

    closed = State(initial=True)
    ajar = State()
    ajar.to(closed)

    class opened(State.Compound):  # noqa: N801 - the library's form
        """Two states within."""

        half = State(initial=True)
        wide = State()
        widen = half.to(wide)

    open = closed.to(opened)
    close = opened.to(closed)
    release = opened.to(ajar)


class Person:
    """A model."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.state: Any = None


@pytest.fixture
def light_class() -> Any:
    """Return a class of its own for each test."""
    return type("Light", (Light,), {})


def test_a_class_is_observed_with_a_derived_specification(observed: Any, light_class: Any) -> None:
    """Its machines are instances; the model of a whole life is equivalent to what the class declares."""
    observe(light_class, identifier="number")
    machine = light_class(Person(1))
    machine.go()
    machine.send("stop")
    machine.end()
    assert history(observed) == [(spex.INITIALISATION, "red"), ("go", "green"), ("stop", "red"), ("end", "off")]
    [model] = observed.all_impl_models()
    assert spex.check(model).equivalent


def test_one_machine_is_observed_from_now_on(observed: Any) -> None:
    """The instance begins in the state that the machine has then."""
    machine, other = Light(), Light()
    machine.go()
    observe(machine, identifier=lambda _: 1)
    machine.stop()
    other.go()
    assert history(observed) == [(spex.INITIALISATION, "green"), ("stop", "red")]
    assert len(observed.all_instances()) == 1


def test_what_is_refused_or_undone_is_not_observed(observed: Any, light_class: Any) -> None:
    """An event that does not fit, a guard, and a callback that raises before the step is complete."""

    def fail() -> None:
        raise RuntimeError("no")

    light_class = type("Light", (Light,), {"on_enter_green": lambda self: fail()})
    observe(light_class, identifier=lambda _: 1)
    machine = light_class()
    with pytest.raises(TransitionNotAllowed):
        machine.stop()
    with pytest.raises(RuntimeError, match="no"):
        machine.go()
    assert machine.red.is_active
    assert observed.all_instances() == []


def test_a_step_counts_although_a_callback_raises_after_it(observed: Any) -> None:
    """The library keeps the state; the step is reported with the next one at the latest."""

    class Careless(Light):
        def after_go(self) -> None:
            raise RuntimeError("too late")

    observe(Careless, identifier=lambda _: 1)
    machine = Careless()
    with pytest.raises(RuntimeError, match="too late"):
        machine.go()
    assert machine.green.is_active
    machine.stop()
    assert history(observed)[1:] == [("go", "green"), ("stop", "red")]


def test_results_and_listeners_of_the_application_stay(observed: Any, light_class: Any) -> None:
    """An event returns what its callbacks return."""
    light_class.on_go = lambda self: "gone"
    observe(light_class)
    assert light_class().go() == "gone"


def test_an_asynchronous_machine_is_observed(observed: Any) -> None:
    """Without waiting in its event loop."""

    class Slow(Light):
        async def on_go(self) -> str:
            await asyncio.sleep(0)
            return "gone"

    observe(Slow, identifier=lambda _: 1)

    async def use() -> str:
        machine = Slow()
        await machine.activate_initial_state()
        return str(await machine.go())

    assert asyncio.run(use()) == "gone"
    assert history(observed) == [(spex.INITIALISATION, "red"), ("go", "green")]


def test_compound_states_and_steps_without_an_event(observed: Any) -> None:
    """A state is named with those around it; a step without an event is silent."""
    cls = spex.Specification.from_machine(Door, "adapters.Door")
    assert set(cls.transitions) == {
        ("closed", "open", "opened.half"), ("opened.half", "widen", "opened.wide"), ("opened.half", "close", "closed"),
        ("opened.half", "release", "ajar"), ("opened.wide", "close", "closed"), ("opened.wide", "release", "ajar"),
        ("ajar", spex.INTERNAL, "closed"),
    }  # fmt: skip
    door = observe(Door(), cls, identifier=lambda _: 1)
    for event in ("open", "widen", "release", "open"):
        door.send(event)
    assert history(observed)[1:] == [
        ("open", "opened.half"), ("widen", "opened.wide"), ("release", "ajar"), (spex.INTERNAL, "closed"),
        ("open", "opened.half"),
    ]  # fmt: skip


def test_parallel_states_are_observed_with_a_specification_that_is_given(observed: Any) -> None:
    """They have none of their own; one event that several regions take is one step."""

    class Both(StateChart):
        class work(State.Parallel):  # noqa: N801
            class left(State.Compound):  # noqa: N801
                a = State(initial=True)
                b = State(final=True)
                go = a.to(b)

            class right(State.Compound):  # noqa: N801
                c = State(initial=True)
                d = State()
                go = c.to(d)
                back = d.to(c)

    with pytest.raises(ValueError, match="'work' has parallel regions"):
        observe(Both)
    machine = observe(Both(), spex.Specification.define("adapters.Both", [("a", "go", "b")]), identifier=lambda _: 1)
    machine.send("go")
    machine.send("back")
    assert [step for step in history(observed) if "done" not in step[0]] == [
        (spex.INITIALISATION, "work.left.a & work.right.c"), ("go", "work.left.b & work.right.d"),
        ("back", "work.left.b & work.right.c"),
    ]  # fmt: skip


class Kept(Light):
    """Can be pickled."""


def test_copies_and_pickled_machines_are_observed_as_instances_of_their_own(observed: Any) -> None:
    """Their listeners come along."""
    observe(Kept)
    machine = Kept()
    machine.go()
    for other in (copy.deepcopy(machine), pickle.loads(pickle.dumps(machine))):
        other.stop()
    observed.flush()
    assert sorted(len(instance.history) for instance in observed.all_instances()) == [2, 2, 2]


def test_only_machines_are_observed() -> None:
    """And a class without states gives no specification."""
    with pytest.raises(TypeError, match="only a machine of python-statemachine"):
        observe(State)
    with pytest.raises(TypeError, match="is made from a Machine"):
        spex.Specification.from_machine(object())
