"""Machines of the library transitions: what is reported of them, and that they stay what they are."""

from __future__ import annotations

import asyncio
import enum
import pickle
import threading
from typing import Any

import pytest
from transitions import Machine, MachineError
from transitions.extensions import HierarchicalMachine, LockedHierarchicalMachine, LockedMachine
from transitions.extensions.asyncio import AsyncMachine, HierarchicalAsyncMachine

import spex_shards as spex
from spex_shards.adapters.transitions import observe
from spex_shards.manager import default

STATES = ["solid", "liquid", "gas"]
STEPS = [["melt", "solid", "liquid"], ["evaporate", "liquid", "gas"], ["condense", "gas", "liquid"]]


class Matter(spex.Specification):
    """What most machines here are observed against."""

    name = "adapters.Matter"
    transitions = [("solid", "melt", "liquid"), ("liquid", "evaporate", "gas"), ("gas", "condense", "liquid")]


class Lump:
    """A model with an identifier."""

    def __init__(self, number: Any = 1) -> None:
        self.number = number
        self.machine: Any = None

    def boil_off(self) -> None:
        """Trigger the next event within a callback."""
        self.evaporate()  # type: ignore[attr-defined]

    def fail(self) -> None:
        """Raise."""
        raise RuntimeError("no")


def history(manager: Any, identifier: Any = 1) -> list[tuple[str, str]]:
    """Return what was observed of an instance."""
    manager.flush()
    return [(step.action, step.to_state) for step in manager.get_instance(identifier).history]


@pytest.mark.parametrize("kind", [Machine, LockedMachine, HierarchicalMachine, LockedHierarchicalMachine])
def test_the_steps_of_a_machine_are_observed(observed: Any, kind: Any) -> None:
    """The instance begins in the state that the model had before its first step."""
    lump = Lump()
    observe(kind(lump, STATES, transitions=STEPS, initial="solid"), Matter, identifier="number")
    lump.melt()
    lump.evaporate()
    assert history(observed) == [(spex.INITIALISATION, "solid"), ("melt", "liquid"), ("evaporate", "gas")]


@pytest.mark.parametrize("kind", [AsyncMachine, HierarchicalAsyncMachine])
def test_the_steps_of_an_asynchronous_machine_are_observed(observed: Any, kind: Any) -> None:
    """Without waiting in its event loop."""
    lump = Lump()
    observe(kind(lump, STATES, transitions=STEPS, initial="solid"), Matter, identifier="number")

    async def use() -> None:
        await lump.melt()
        await asyncio.gather(lump.evaporate())

    asyncio.run(use())
    assert history(observed)[1:] == [("melt", "liquid"), ("evaporate", "gas")]


def test_a_class_of_machines_is_observed_with_a_derived_specification(observed: Any) -> None:
    """Each machine that is its own model is one instance, under a random identifier."""

    @observe
    class Kettle(Machine):
        def __init__(self) -> None:
            super().__init__(states=STATES, transitions=STEPS, initial="solid")

    kettles = [Kettle(), Kettle()]
    for kettle in kettles:
        kettle.melt()
    observed.flush()
    assert [instance.current_state for instance in observed.all_instances()] == ["liquid", "liquid"]
    [model] = observed.all_impl_models()
    assert model.specification.endswith("Kettle")
    assert spex.check(model).verdict is spex.Verdict.INCOMPLETE


def test_what_a_callback_triggers_comes_after_what_triggered_it(observed: Any) -> None:
    """A step is reported at the moment at which the state changes."""
    lump = Lump()
    steps = [{"trigger": "melt", "source": "solid", "dest": "liquid", "after": "boil_off"}, *STEPS[1:]]
    observe(Machine(lump, STATES, transitions=steps, initial="solid"), Matter, identifier="number")
    lump.melt()
    assert history(observed)[1:] == [("melt", "liquid"), ("evaporate", "gas")]


def test_an_internal_transition_is_a_step_from_a_state_to_itself(observed: Any) -> None:
    """Also before what its callback triggers."""
    lump = Lump()
    steps = [*STEPS, {"trigger": "look", "source": "liquid", "dest": None, "after": "boil_off"}]
    observe(Machine(lump, STATES, transitions=steps, initial="liquid"), Matter, identifier="number")
    lump.look()
    assert history(observed)[1:] == [("look", "liquid"), ("evaporate", "gas")]


def test_a_refused_event_is_not_observed(observed: Any) -> None:
    """Neither an unfitting one, nor one whose condition fails; the library's exception is its own."""
    lump = Lump()
    steps = [*STEPS[1:], {"trigger": "melt", "source": "solid", "dest": "liquid", "conditions": lambda: False}]
    observe(Machine(lump, STATES, transitions=steps, initial="solid"), Matter, identifier="number")
    assert lump.melt() is False
    with pytest.raises(MachineError, match="Can't trigger event evaporate"):
        lump.evaporate()
    assert observed.all_instances() == []


def test_a_step_is_observed_although_a_later_callback_raises(observed: Any) -> None:
    """The state has changed; the exception goes on."""
    lump = Lump()
    steps = [{"trigger": "melt", "source": "solid", "dest": "liquid", "after": "fail"}]
    observe(Machine(lump, STATES, transitions=steps, initial="solid"), Matter, identifier="number")
    with pytest.raises(RuntimeError, match="no"):
        lump.melt()
    assert history(observed)[1:] == [("melt", "liquid")]


def test_a_state_that_was_assigned_is_reported_before_the_next_step(observed: Any) -> None:
    """Else the next step would seem to begin in another state."""
    lump = Lump()
    observe(Machine(lump, STATES, transitions=STEPS, initial="solid"), Matter, identifier="number")
    lump.melt()
    lump.state = "gas"
    lump.condense()
    assert history(observed)[1:] == [("melt", "liquid"), ("set_state", "gas"), ("condense", "liquid")]


def test_enumerations_and_other_attributes_name_the_state(observed: Any) -> None:
    """The name of the member is the name of the state, as in the library."""
    phase = enum.Enum("Phase", STATES)
    lump = Lump()
    machine = Machine(lump, phase, transitions=STEPS, initial=phase.solid, model_attribute="phase")
    observe(machine, Matter, identifier=lambda model: ("lump", model.number))
    lump.melt()
    assert history(observed, ("lump", 1))[1:] == [("melt", "liquid")]


def test_nested_states_have_the_names_of_the_machine(observed: Any) -> None:
    """Joined by its separator; an event of an outer state counts in all inner ones."""
    states = ["idle", {"name": "work", "initial": "read", "children": ["read", "write"]}]
    steps = [["begin", "idle", "work"], ["next", "work_read", "work_write"], ["end", "work", "idle"]]
    machine = observe(HierarchicalMachine(states=states, transitions=steps, initial="idle"), identifier=lambda _: 1)
    machine.begin()
    machine.next()
    machine.end()
    assert history(observed)[1:] == [("begin", "work_read"), ("next", "work_write"), ("end", "idle")]
    [model] = observed.all_impl_models()
    cls = spex.Specification.from_machine(machine, "adapters.Work")
    assert set(cls.transitions) == {
        ("idle", "begin", "work_read"), ("work_read", "next", "work_write"),
        ("work_read", "end", "idle"), ("work_write", "end", "idle"),
    }  # fmt: skip
    assert spex.check(model, cls).verdict is spex.Verdict.INCOMPLETE


def test_parallel_states_are_observed_and_have_no_specification(observed: Any) -> None:
    """The error says which state it is."""
    states = ["off", {"name": "on", "parallel": [{"name": "a", "initial": "1", "children": ["1", "2"]}, "b"]}]
    machine = HierarchicalMachine(states=states, transitions=[["go", "off", "on"]], initial="off")
    with pytest.raises(ValueError, match="'on' has parallel regions"):
        observe(machine)
    observe(machine, Matter, identifier=lambda _: 1)
    machine.go()
    assert history(observed)[1:] == [("go", "on_a_1 & on_b")]


def test_a_function_chooses_the_specification_or_none(observed: Any) -> None:
    """For each machine of the class."""

    class Kettle(Machine):
        pass

    observe(Kettle, lambda machine: Matter if machine.name else None, identifier=lambda model: 1)
    for name in ("", "kettle"):
        kettle = Kettle(states=STATES, transitions=STEPS, initial="solid", name=name or None)
        kettle.melt()
        assert len(observed.all_instances()) == bool(name)


def test_models_of_one_machine_are_instances_of_their_own(observed: Any) -> None:
    """Also models that are added later; one that is gone is forgotten."""
    machine = observe(Machine(None, STATES, transitions=STEPS, initial="solid"), Matter, identifier="number")
    for number in range(3):
        lump = Lump(number)
        machine.add_model(lump)
        lump.melt()
        machine.remove_model(lump)
    observed.flush()
    assert {instance.identifier for instance in observed.all_instances()} == {0, 1, 2}


def test_machines_pickle_and_compare_as_before(observed: Any) -> None:
    """Nothing is stored in them."""
    machine = Machine(states=STATES, transitions=STEPS, initial="solid")
    before = set(vars(machine))
    observe(machine, Matter)
    machine.melt()
    assert set(vars(machine)) == before
    assert pickle.loads(pickle.dumps(machine)).state == "liquid"


def test_threads_use_one_locked_machine(observed: Any) -> None:
    """Every step of every model is observed."""
    lumps = [Lump(number) for number in range(4)]
    observe(LockedMachine(lumps, STATES, transitions=STEPS, initial="solid"), Matter, identifier="number")

    def run(lump: Any) -> None:
        lump.melt()
        for _ in range(10):
            lump.evaporate()
            lump.condense()

    threads = [threading.Thread(target=run, args=(lump,)) for lump in lumps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [len(history(observed, number)) for number in range(4)] == [22] * 4


def test_a_manager_that_enforces_raises_when_the_transition_is_complete(places: dict[str, Any]) -> None:
    """All callbacks have run."""
    called = []
    steps = [{"trigger": "melt", "source": "solid", "dest": "liquid", "after": lambda: called.append("after")}]
    strict = spex.Specification.define("adapters.Strict", [("solid", "freeze", "ice")], judge="run")
    machine = observe(Machine(states=STATES, transitions=steps, initial="solid"), strict)
    with spex.SimpleInstanceManager(**places) as manager:
        before = default.use(manager)
        try:
            with pytest.raises(spex.DeviationFromSpecification):
                machine.melt()
        finally:
            default.use(before)
    assert called
    assert machine.state == "liquid"


def test_only_machines_are_observed() -> None:
    """And options are checked at once."""
    with pytest.raises(TypeError, match="only a machine of the library transitions"):
        observe(object())
    with pytest.raises(TypeError, match="identifier must be"):
        observe(Machine, Matter, identifier=3)
    with pytest.raises(TypeError, match="the specification must be"):
        observe(Machine, int)
    with pytest.raises(ValueError, match="has no transitions"):
        observe(Machine(states=["a"], initial="a"))


def test_the_transitions_that_the_library_adds_by_itself_are_left_out_by_default() -> None:
    """Both forms of the specification have the declared transitions."""
    machine = Machine(states=STATES, transitions=STEPS, initial="solid")
    assert spex.Specification.from_machine(machine, "adapters.Plain").transitions == Matter.transitions
    whole = spex.Specification.from_machine(machine, "adapters.Whole", auto_transitions=True)
    assert ("solid", "to_gas", "gas") in whole.transitions
