"""The whole system in one thread: schedules of crashes, and proof that the simulator finds what is broken."""

from __future__ import annotations

import pytest

from tests.programs.simulation.__main__ import carry_out, search
from tests.programs.simulation.breakages import BREAKAGES, OF_TWO_OWNERS
from tests.programs.simulation.two_owners import TwoOwners
from tests.support.places import of_length

SCHEDULES = of_length(60, 300, 500)


@pytest.mark.slow
def test_no_schedule_of_crashes_breaks_a_promise() -> None:
    """Kills of the worker at any write and sync, power cuts, full disks, killed applications, poison, timers.

    Pipes are often full, and code of the user's may take seconds. Applications speak either version of the protocol;
    some end with a farewell. Kept what was acknowledged, each once, in order, timers once, messages once; a seed that
    fails replays by ``python -m tests.programs.simulation --seed N --schedules 1``.
    """
    happened, failed = carry_out(0, SCHEDULES)
    assert failed == []
    assert happened["kills"] > SCHEDULES
    assert happened["power cuts"] > 0
    assert happened["applications"] > 0
    assert happened["not kept"] > SCHEDULES // 5
    assert happened["broken logs"] > SCHEDULES // 50
    assert happened["farewells"] > SCHEDULES // 50
    assert happened["slow calls"] > SCHEDULES // 5


@pytest.mark.slow
def test_no_schedule_of_two_owners_breaks_a_promise() -> None:
    """The shard is in PostgreSQL: connections are lost before, during and after statements, and batches are delayed.

    A worker that was given up goes on beside the next one, with its clients. What is promised is the same.
    """
    happened, failed = carry_out(0, SCHEDULES // 2, TwoOwners)
    assert failed == []
    assert happened["old workers refused"] > SCHEDULES // 5
    assert happened["batches refused by the fence"] > SCHEDULES // 10
    assert all(
        happened[f"connections lost {when} a statement"] > SCHEDULES // 2 for when in ("before", "during", "after")
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long) if name in ("take it for lost", "keep every batch") else name
        for name in OF_TWO_OWNERS
    ],
)
def test_the_simulator_finds_a_store_that_does_not_know_its_owner(name: str) -> None:
    """Each of the places, within a hundred schedules or so."""
    assert search(name, 300, TwoOwners) is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long) if number % 3 else name for number, name in enumerate(BREAKAGES)],
)
def test_the_simulator_finds_what_is_broken_on_purpose(name: str) -> None:
    """Each of the places, within a hundred schedules or so."""
    assert search(name, 300) is not None


def test_a_seed_always_gives_the_same_run() -> None:
    """Whatever was run before it."""
    assert carry_out(7, 1) == carry_out(7, 1)
    carry_out(3, 2)
    assert carry_out(7, 3)[0] == carry_out(7, 3)[0]
