"""Turns: who looks at the stacks of all threads, and when."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from spex_shards.runtime.system import turns
from spex_shards.runtime.system.turns import Inside, Turn
from tests.support.processes import wait_until

_inside = Inside()


class Guarded:
    """An object with a turn, and a marked method that takes as long as it is told to."""

    def __init__(self) -> None:
        self.turn = Turn(self, _inside)

    @_inside
    def work(self, begun: threading.Event, until: threading.Event) -> None:
        begun.set()
        until.wait(60)


@contextmanager
def held(guarded: Guarded) -> Iterator[None]:
    """Hold the turn in another thread, inside a marked method, and leave it there taken for ever."""
    begun, until = threading.Event(), threading.Event()

    def hold() -> None:
        assert guarded.turn.take()
        guarded.work(begun, until)

    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(60)
    try:
        yield
    finally:
        until.set()
        thread.join()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets an entry whenever the stacks of all threads are looked at."""
    found: list[int] = []
    real = sys._current_frames

    def counted() -> dict[int, object]:
        found.append(1)
        return real()  # type: ignore[return-value]

    monkeypatch.setattr(turns.sys, "_current_frames", counted)  # type: ignore[attr-defined]
    return found


def test_threads_that_ask_after_one_another_do_not_all_look_at_the_stacks(
    looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 64 threads that wait for one turn, looking was most of what their process did."""
    monkeypatch.setattr(turns, "_REST", 1_000_000)
    guarded = Guarded()
    with held(guarded):
        assert not any(guarded.turn.is_stuck() for _ in range(100))

    assert len(looks) == 1


def test_a_holder_that_gets_stuck_after_a_look_is_found() -> None:
    """The rest after a look ends; a turn whose holder was cut off is found to be stuck by whoever asks then."""
    guarded = Guarded()
    with held(guarded):
        assert not guarded.turn.is_stuck()

    wait_until(guarded.turn.is_stuck, "the turn is found to be stuck")


def test_a_turn_is_mine_only_inside_a_marked_method_of_the_same_object() -> None:
    """A method of another object of the class does not count."""
    found: dict[str, bool] = {}

    class Asking(threading.Event):
        def set(self) -> None:
            found["own"], found["other"] = guarded.turn.is_mine(), other.turn.is_mine()

    guarded, other, done = Guarded(), Guarded(), threading.Event()
    done.set()
    guarded.work(Asking(), done)

    assert found == {"own": True, "other": False}
    assert not guarded.turn.is_mine()
