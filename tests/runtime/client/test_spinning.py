"""The moment for which a waiting thread looks for its answer: when there is one, and when it pays no more."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import spex_shards as spex
from spex_shards.runtime.client import spinning
from spex_shards.runtime.client.spinning import Spin
from tests.support.helper_specs import Door


class Clock:
    """A clock that goes on by a microsecond each time that it is read."""

    def __init__(self) -> None:
        self.reads = 0

    def monotonic(self) -> float:
        """Return the time."""
        self.reads += 1
        return self.reads / 1_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the clock, and have two processors."""
    made = Clock()
    monkeypatch.setattr(spinning, "time", SimpleNamespace(monotonic=made.monotonic))
    monkeypatch.setattr(spinning, "processors", lambda: 2)
    return made


def after(looks: int) -> Callable[[], bool]:
    """Return a function that is true when it is called for the time after so many."""
    left = [looks]

    def has_come() -> bool:
        left[0] -= 1
        return left[0] < 0

    return has_come


@pytest.mark.parametrize(("looks", "found"), [(0, True), (1, True), (40, True), (60, False)])
def test_what_comes_within_the_moment_is_found(clock: Clock, looks: int, found: bool) -> None:
    """Each look here takes a microsecond, and the moment 50."""
    assert Spin(0.000_05).finds(after(looks)) is found
    assert clock.reads <= 52


def test_each_moment_in_vain_lets_twice_as_many_waits_begin_without_one(clock: Clock) -> None:
    """That goes up to a limit; one answer in time, and the next wait has its moment again."""
    spin = Spin(0.000_05)
    never = after(10**9)
    skipped = []
    for _ in range(13):
        assert spin.finds(never) is False
        before, waits = clock.reads, 0
        while clock.reads == before:
            assert spin.finds(never) is False
            waits += 1
        skipped.append(waits - 1)
        spin._to_skip = 0
    assert skipped[:4] == [1, 7, 31, 127]  # each round of this test is in vain twice
    assert skipped[-1] == 1023
    assert spin.finds(after(3)) is True
    assert spin.finds(never) is False
    assert spin._to_skip == 1


def test_there_is_no_moment_with_one_processor_or_where_it_is_turned_off(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nothing is looked at before the thread sleeps."""

    def looked() -> bool:
        raise AssertionError("it must not be looked at")

    assert Spin(0).finds(looked) is False
    monkeypatch.setattr(spinning, "processors", lambda: 1)
    assert Spin(0.01).finds(looked) is False
    assert clock.reads == 0


def test_the_processors_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not say, all count."""
    assert spinning.processors() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert spinning.processors() == os.cpu_count()


@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
@pytest.mark.parametrize("spin", [0, 0.000_05, 0.01])
def test_calls_are_answered_with_and_without_it(places: dict[str, Path], spin: float) -> None:
    """Also when a shard dies between two calls."""
    with spex.ShardedInstanceManager(
        **places, distribution_factor=1, learning_mode=True, spin=spin, call_timeout=30
    ) as manager:
        manager.init_instance(Door, 1)
        for _ in range(50):
            manager.transition(1, "open", "opened")
        os.kill(manager.shards()[0].pid or 0, 9)
        for _ in range(50):
            manager.transition(1, "open", "opened")
        assert len(manager.get_instance(1).history) == 101


@pytest.mark.parametrize("value", [-1, 0.011, True, "1", None, float("nan")])
def test_a_moment_that_is_none_is_refused(places: dict[str, Path], value: object) -> None:
    """The error names the option, the rule and the value."""
    with pytest.raises(ValueError, match=r"the option spin must be a number of seconds from 0 to 0\.01.*, got: "):
        spex.ShardedInstanceManager(**places, spin=value)  # type: ignore[arg-type]
