"""What the console reads: models with their deviations, counts of a bounded sample, and nothing while nobody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.console import looking as module
from spex_shards.console.looking import Extent, Looking
from spex_shards.telemetry import Vitals, vitals
from tests.support.processes import wait_until

pytestmark = pytest.mark.usefixtures("specifications_as_before")
STEPS = [("new", "pay", "paid"), ("paid", "ship", "shipped")]


class Counted(spex.SimpleInstanceManager):
    """A manager that counts how often its deviations are read, and fails on demand."""

    read = 0
    failure: Exception | None = None

    def deviations(self, *arguments: Any) -> list[spex.Deviation]:
        """Count a call."""
        self.read += 1
        if self.failure is not None:
            raise self.failure
        return super().deviations(*arguments)


@pytest.fixture
def looking(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Counted, Looking]]:
    """Return a manager, and what looks at it every few milliseconds."""
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(module, "COUNT_EVERY", 0.05)
    monkeypatch.setattr(vitals, "FRESH_FOR", 0.01)
    with Counted(learning_mode=True, **places) as manager:
        one = Looking(manager, Vitals(lambda: manager))
        yield manager, one
        one.close()


def soon(one: Looking, condition: Callable[[module.Seen], Any]) -> None:
    """Wait until what is seen has some property."""
    wait_until(lambda: condition(one.newest()), "it is seen")


def test_counts_are_of_all_instances_or_of_a_sample(
    looking: tuple[Counted, Looking], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they are, and by how many each step was taken, as far as the newest entries tell."""
    manager, one = looking
    monkeypatch.setattr(module, "AT_ONCE", 2)
    monkeypatch.setattr(module, "MOST_COUNTED", 6)
    monkeypatch.setattr(module, "MOST_STEPS", 2)
    order = spex.Specification.define("looking.Order", STEPS)
    for number in range(5):
        manager.init_instance(order, number)
    manager.transition(1, "pay", "paid")
    manager.transition(1, "ship", "shipped")
    soon(one, lambda seen: seen.extent is Extent.ALL and seen.counted["looking.Order"].instances == 5)
    counted = one.newest().counted["looking.Order"]
    assert counted.states == {"new": 4, "shipped": 1}
    assert counted.taken == {(None, spex.INITIALISATION, "new"): 4, ("paid", "ship", "shipped"): 1}
    for number in range(5, 12):
        manager.init_instance(order, number)
    soon(one, lambda seen: seen.extent is Extent.SAMPLE)
    assert one.newest().counted["looking.Order"].instances == 6


def test_deviations_are_drawn_in_their_model_and_judged(looking: tuple[Counted, Looking]) -> None:
    """The version changes exactly when something is new."""
    manager, one = looking
    order = spex.Specification.define("looking.Order", STEPS, judge="run")
    manager.init_instance(order, 1)
    soon(one, lambda seen: "looking.Order" in seen.models or seen.counted)
    manager.try_transition(1, "steal", "gone")
    soon(one, lambda seen: seen.deviations)
    learned = spex.Specification.define("looking.Other", STEPS)
    manager.init_instance(learned, 2)
    soon(one, lambda seen: "looking.Other" in seen.models)
    first = one.newest().models["looking.Other"]
    assert first.result is not None
    manager.init_instance(learned, 3)
    soon(one, lambda seen: seen.counted["looking.Other"].instances == 2)
    assert one.newest().models["looking.Other"] is first
    manager.transition(3, "pay", "paid")
    soon(one, lambda seen: seen.models["looking.Other"].version != first.version)


def test_it_goes_on_after_a_failure(looking: tuple[Counted, Looking]) -> None:
    """And says what the trouble is."""
    manager, one = looking
    manager.failure = RuntimeError("surprise")
    soon(one, lambda seen: seen.trouble == "RuntimeError: surprise")
    manager.failure = spex.ShardDown("it is away")
    soon(one, lambda seen: seen.trouble == "it is away")
    manager.failure = None
    soon(one, lambda seen: seen.trouble == "")


def test_nothing_is_read_while_nobody_looks(looking: tuple[Counted, Looking], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor while nothing happens."""
    manager, one = looking
    monkeypatch.setattr(module, "LOOKED_AT_FOR", 0.05)
    assert manager.read == 0
    one.newest()
    wait_until(lambda: not one._is_looking, "it looks no more")
    read = manager.read
    manager.init_instance(spex.Specification.define("looking.Order", STEPS), 1)
    assert not one._is_looking
    assert manager.read == read
    soon(one, lambda seen: "looking.Order" in seen.models)
