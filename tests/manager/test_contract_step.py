"""`step`: a transition of an instance that is created first if it does not exist; in all managers and modes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.aio import AsyncInstanceManager
from spex_shards.domain.transition import INITIALISATION
from spex_shards.manager import default


class Order(spex.Specification):
    """What the steps here belong to."""

    name = "step.Order"
    transitions = [("new", "pay", "paid"), ("paid", "ship", "shipped")]


class Other(spex.Specification):
    """Another one."""

    name = "step.Other"
    transitions = [("a", "go", "b")]


def history(manager: Any, identifier: Any) -> list[tuple[str, str]]:
    """Return what was observed of an instance."""
    return [(step.action, step.to_state) for step in manager.get_instance(identifier).history]


def test_a_step_creates_the_instance_and_goes_on_with_it(make_manager: Callable[..., Any]) -> None:
    """The first in the specification's initial state, or a given one; also without waiting, and without an action."""
    manager = make_manager(learning_mode=True)
    manager.step(Order, 1, "pay", "paid")
    manager.step(Order, 1, "ship", "shipped", "new", waits=False)
    manager.step(Order, 2, "ship", "shipped", "paid", waits=False)
    manager.step(Order, 3)
    manager.step(Order, 3, initial_state="paid")
    manager.flush()
    assert history(manager, 1) == [(INITIALISATION, "new"), ("pay", "paid"), ("ship", "shipped")]
    assert history(manager, 2) == [(INITIALISATION, "paid"), ("ship", "shipped")]
    assert history(manager, 3) == [(INITIALISATION, "new")]


def test_a_step_of_another_specification_is_refused(make_manager: Callable[..., Any]) -> None:
    """The handler of the step's specification is asked, and nothing is recorded."""
    manager = make_manager(learning_mode=True)
    manager.step(Order, 1)
    with pytest.raises(spex.IdentifierInUse, match=r"belongs to an instance of step\.Order already"):
        manager.step(Other, 1, "go", "b")
    assert history(manager, 1) == [(INITIALISATION, "new")]


def test_a_step_is_judged_as_any_transition(make_manager: Callable[..., Any], tmp_path: Any) -> None:
    """A deviation is raised, and the observation kept; an instance that was created stays."""
    strict = spex.Specification.define("step.Strict", [("new", "pay", "paid")], judge="run")
    manager = make_manager()
    with pytest.raises(spex.DeviationFromSpecification):
        manager.step(strict, 1, "steal", "gone")
    assert history(manager, 1) == [(INITIALISATION, "new"), ("steal", "gone")]


def test_the_arguments_of_a_step_are_checked(make_manager: Callable[..., Any]) -> None:
    """Before anything is sent."""
    manager = make_manager()
    with pytest.raises(ValueError, match="an action and a state go together"):
        manager.step(Order, 1, "pay")
    with pytest.raises(TypeError, match="the action must be"):
        manager.step(Order, 1, 3, "paid")
    with pytest.raises(TypeError, match="specification"):
        manager.step("Order", 1, "pay", "paid")
    with pytest.raises(ValueError, match="reserved"):
        manager.step(Order, 1, INITIALISATION, "paid")
    assert manager.all_instances() == []


@pytest.mark.parametrize("mode", ["off", "observe"])
def test_the_mode_decides_what_reports_of_functions_and_blocks_raise(places: dict[str, Any], mode: str) -> None:
    """In observe, an identifier that cannot be found or kept is counted and not raised; off, nothing happens."""

    @Order.observes("pay", to="paid", identifier="thing.number")
    def pay(thing: Any) -> int:
        return 1

    with spex.SimpleInstanceManager(**places, mode=mode, learning_mode=True, observe_timeout=20) as manager:
        before = default.use(manager)
        try:
            assert pay(object()) == 1  # it has no number
            Order.tracking(object()).did("pay", "paid")
            Order.tracking("known").did("pay", "paid")
        finally:
            default.use(before)
        losses = manager.losses()
        assert len(manager.all_instances()) == (mode == "observe")
    assert sum(losses.refused.values()) == (2 if mode == "observe" else 0)


@pytest.mark.process
@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_the_asyncio_manager_has_steps_too(places: dict[str, Any], mode: str, no_process_left: None) -> None:
    """They wait as coroutines, or not at all."""

    async def use() -> list[tuple[str, str]]:
        async with AsyncInstanceManager(**places, distribution_factor=1, mode=mode, learning_mode=True) as manager:
            await manager.step(Order, 1, "pay", "paid")
            await manager.step(Order, 1, "ship", "shipped", waits=False)
            await manager.flush()
            return [(step.action, step.to_state) for step in (await manager.get_instance(1)).history]

    assert asyncio.run(use()) == [(INITIALISATION, "new"), ("pay", "paid"), ("ship", "shipped")]
