"""The contract of `judge = "run"` and `"both"`, over all managers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

import spex_shards as spex
from tests.support.contract_specs import Judged, JudgedByBoth
from tests.support.places import LONG
from tests.support.processes import kill_worker


def test_a_specified_step_is_no_deviation_without_a_model(make_manager: Callable[..., Any]) -> None:
    """Nobody is asked for a model, and none is made."""
    manager = make_manager()
    manager.init_instance(Judged, 1)
    manager.transition(1, "pay", "paid")
    manager.transition(1, "ship", "gone")  # names of states are the implementation's own
    assert manager.get_instance(1).current_state == "gone"
    assert (manager.deviations(), manager.all_impl_models()) == ([], [])


def test_a_step_that_the_specification_does_not_allow_is_an_error_that_says_what_is(
    make_manager: Callable[..., Any],
) -> None:
    """The observation is kept and counted, and the run goes on from the reported state."""
    manager = make_manager()
    manager.init_instance(Judged, 1)
    with pytest.raises(spex.DeviationFromSpecification) as raised:
        manager.transition(1, "ship", "shipped")
    error = raised.value
    assert str(error) == (
        "instance 1 of contract.Judged did ship (from new to shipped), which its specification does not allow there: "
        "in new, the specification allows pay (to paid)"
    )
    assert error.reason == "deviation_from_specification"
    assert (error.context["possible"], error.context["allowed"]) == (("new",), (spex.Transition("new", "pay", "paid"),))
    assert error.context["deviating_transition"] == spex.Transition("new", "ship", "shipped")
    assert error.context["verdict"] is spex.Verdict.VIOLATION
    assert error.context["instance"].current_state == "shipped"
    assert manager.get_instance(1).current_state == "shipped"
    manager.transition(1, "return", "returned")  # as the specification allows for what was shipped
    assert isinstance(manager.try_transition(1, "return", "returned"), spex.DeviationFromSpecification)
    counted = {(d.transition, d.count, d.accepted, d.verdict) for d in manager.deviations(Judged)}
    assert counted == {
        (spex.Transition("new", "ship", "shipped"), 1, False, spex.Verdict.VIOLATION),
        (spex.Transition("returned", "return", "returned"), 1, False, spex.Verdict.VIOLATION),
    }


def test_an_instance_whose_state_is_not_specified_is_not_judged_until_it_is(make_manager: Callable[..., Any]) -> None:
    """One error for one deviation, and no cascade of them."""
    manager = make_manager()
    manager.init_instance(Judged, 1)
    assert isinstance(manager.try_transition(1, "lose", "nowhere"), spex.DeviationFromSpecification)
    manager.transition(1, "wander", "elsewhere")
    manager.transition(1, "find", "paid")
    assert isinstance(manager.try_transition(1, "pay", "paid"), spex.DeviationFromSpecification)


def test_a_mocked_instance_starts_in_the_state_of_its_name(make_manager: Callable[..., Any]) -> None:
    """A name that is not specified is not judged; only a manager that learns takes one."""
    manager = make_manager(learning_mode=True)
    manager.mock_instance(Judged, 1, "paid")
    manager.transition(1, "ship", "shipped")
    manager.mock_instance(Judged, 2, "limbo")
    manager.transition(2, "ship", "shipped")
    assert isinstance(manager.try_transition(2, "ship", "shipped"), spex.DeviationFromSpecification)


def test_both_judges_a_specified_step_by_the_model_as_well(make_manager: Callable[..., Any]) -> None:
    """What is not specified is one error, not two."""
    manager = make_manager()
    error = manager.try_init_instance(JudgedByBoth, 1)
    assert error is None  # the default handler accepts that there is no model, which learns from here on
    assert isinstance(manager.try_transition(1, "stop", "b"), spex.DeviationFromSpecification)
    manager.close()


def test_positions_survive_the_manager_and_follow_a_changed_specification(make_manager: Callable[..., Any]) -> None:
    """They are kept in the instance's row, and computed anew from the history where the specification is another."""
    name = "contract.ChangingRuns"
    before = spex.Specification.define(name, [("a", "go", "b"), ("b", "stop", "c")], judge="run")
    manager = make_manager()
    manager.init_instance(before, 1)
    manager.transition(1, "go", "b")
    manager.close()
    manager = make_manager()
    assert isinstance(manager.try_transition(1, "go", "b"), spex.DeviationFromSpecification)
    after = spex.Specification.define(name, [("x", "go", "y"), ("y", "go", "z"), ("z", "halt", "end")], judge="run")
    manager.init_instance(after, 2)
    manager.transition(1, "halt", "end")  # go, go, halt is a run of the new one
    assert isinstance(manager.try_transition(1, "halt", "end"), spex.DeviationFromSpecification)


def test_a_specification_that_is_judged_by_runs_from_now_on_judges_old_instances(
    make_manager: Callable[..., Any],
) -> None:
    """Their histories say where they are."""
    name, steps = "contract.LateRuns", [("a", "go", "b"), ("b", "stop", "c")]
    manager = make_manager(learning_mode=True)
    manager.init_instance(spex.Specification.define(name, steps), 1)
    manager.transition(1, "go", "b")
    manager.init_instance(spex.Specification.define(name, steps, judge="run"), 2)
    assert isinstance(manager.try_transition(1, "go", "b"), spex.DeviationFromSpecification)
    manager.transition(1, "stop", "c")


def test_silent_steps_and_choices_are_followed_as_sets_of_states(make_manager: Callable[..., Any]) -> None:
    """A run is not allowed only if none of the states that were possible allows it."""
    silent = spex.Specification.define(
        "contract.Silent",
        [("a", "go", "b"), ("a", "go", "c"), ("b", spex.INTERNAL, "d"), ("d", "left", "e"), ("c", "right", "f")],
        judge="run",
    )
    manager = make_manager()
    for identifier, action in ((1, "left"), (2, "right")):
        manager.init_instance(silent, identifier)
        manager.transition(identifier, "go", "x")
        manager.transition(identifier, action, "y")
    manager.init_instance(silent, 3)
    manager.transition(3, "go", "x")
    error = manager.try_transition(3, "up", "y")
    assert error.context["possible"] == ("b", "c", "d")
    assert "in b, c or d, the specification allows left (to e) and right (to f)" in str(error)


@pytest.mark.long
@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
def test_verdicts_through_kills_are_those_of_an_offline_replay(places: dict[str, Path]) -> None:
    """Random runs over three shards whose workers are killed; each history is followed once more afterwards."""
    random, told = Random(11), dict.fromkeys(range(40), 0)
    actions = ("pay", "ship", "return", "lose")
    states = {"pay": "paid", "ship": "shipped", "return": "returned", "lose": "nowhere"}
    with spex.ShardedInstanceManager(**places, distribution_factor=3, call_timeout=30, max_restarts=1000) as manager:
        for identifier in told:
            manager.init_instance(Judged, identifier)
        for count in range(4000 if LONG else 800):
            identifier, action = random.choice(list(told)), random.choice(actions)
            told[identifier] += manager.try_transition(identifier, action, states[action]) is not None
            if count % 100 == 50:
                kill_worker(manager, random.randrange(3))
        for instance in manager.all_instances():
            assert told[instance.identifier] == deviations_in(instance)
        counted = sum(deviation.count for deviation in manager.deviations())
    assert counted == sum(told.values()) > 0


def deviations_in(instance: spex.Instance) -> int:
    """Return how many steps of a history are not allowed, by following it as the documentation says."""
    from spex_shards.checking.runs import RunChecker

    checker = RunChecker(Judged.lts)
    position, count = checker.start, 0
    for record in instance.history[1:]:
        position, allowed = checker.follow(position, record.action, record.to_state)
        count += not allowed
    return count


class Careful(spex.Specification):
    """Allows a loop, and has properties that the transitions alone do not say."""

    name = "contract.Careful"
    judge = "run"
    transitions = [
        ("open", "retry", "open"),
        ("open", "pay", "open"),
        ("open", "cancel", "open"),
        ("open", "ship", "shipped"),
    ]
    properties = [
        spex.properties.never("ship", after="cancel"),
        spex.properties.at_most(2, "retry"),
        spex.properties.needs("ship", first="pay"),
    ]


def test_a_step_that_breaks_a_property_is_an_error_that_names_the_property(make_manager: Callable[..., Any]) -> None:
    """It is told once; what the property counts survives the manager."""
    manager = make_manager()
    manager.init_instance(Careful, 1)
    manager.transition(1, "retry", "open")
    manager.transition(1, "retry", "open")
    manager.close()
    manager = make_manager()
    with pytest.raises(spex.DeviationFromSpecification) as raised:
        manager.transition(1, "retry", "open")
    assert str(raised.value) == (
        "instance 1 of contract.Careful did retry (from open to open), which breaks a property of its specification: "
        "at most 2 times retry"
    )
    assert raised.value.context["property"] == "at most 2 times retry"
    manager.transition(1, "retry", "open")
    error = manager.try_transition(1, "ship", "shipped")
    assert error.context["property"] == "ship only once pay has come"
    manager.init_instance(Careful, 2)
    for action in ("pay", "cancel"):
        manager.transition(2, action, "open")
    assert manager.try_transition(2, "ship", "shipped").context["property"] == "never ship after cancel"
    assert manager.try_transition(2, "pay", "open").context["property"] is None


def test_properties_that_are_declared_later_are_followed_from_the_history(make_manager: Callable[..., Any]) -> None:
    """As a changed specification is."""
    name, steps = "contract.LateProperties", [("a", "go", "a"), ("a", "stop", "a")]
    manager = make_manager()
    manager.init_instance(spex.Specification.define(name, steps, judge="run"), 1)
    manager.transition(1, "go", "a")
    strict = spex.Specification.define(name, steps, judge="run", properties=[spex.properties.never("stop", after="go")])
    manager.init_instance(strict, 2)
    manager.transition(2, "stop", "a")
    assert isinstance(manager.try_transition(1, "stop", "a"), spex.DeviationFromSpecification)


def test_what_is_no_property_is_refused_where_it_is_declared() -> None:
    """With the rule and the value."""
    rule = "properties must be a collection of properties, as spex_shards.properties makes them, got: "
    with pytest.raises(spex.SpecificationError, match=rule + "'never'"):
        spex.Specification.define("contract.Wrong", [], properties=["never"])
    with pytest.raises(spex.SpecificationError, match=rule + "5"):
        spex.Specification.define("contract.Wrong", [], properties=5)
