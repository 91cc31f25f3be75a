"""Exceptions out of signals (Ctrl-C) at every place where one can come: calls that follow are as good as before."""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import spex_shards as spex
from spex_shards import session
from spex_shards.client import channel, followers, leader, pipes, waiting

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]
TRACED = {module.__file__ for module in (channel, followers, leader, pipes, session, waiting)}
_places: dict[CodeType, set[int]] = {}


class Light(spex.Specification):
    """A traffic light."""

    name = "tests.Light"
    transitions = [("red", "go", "green"), ("green", "stop", "red")]


def places_of(code: CodeType) -> set[int]:
    """Return the offsets of a function where the interpreter looks for signals: after calls, at loops, at the start."""
    if code not in _places:
        found: set[int] = set()
        instructions = list(dis.get_instructions(code))
        for number, instruction in enumerate(instructions):
            if instruction.opname.startswith(("CALL", "RESUME")) and number + 1 < len(instructions):
                found.add(instructions[number + 1].offset)
            elif instruction.opname.startswith("JUMP_BACKWARD"):
                found.add(int(instruction.argval))
        _places[code] = found
    return _places[code]


def interrupted_at(place: int, function: Callable[[], Any]) -> bool:
    """Call a function, and raise KeyboardInterrupt at the place of that number; return whether there is one."""
    passed = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal passed
        if frame.f_code.co_filename not in TRACED:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_lasti in places_of(frame.f_code):
            passed += 1
            if passed == place:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("waits", [True, False])
def test_a_call_that_is_interrupted_anywhere_costs_no_other_call(places: dict[str, Path], waits: bool) -> None:
    """At each place in turn; a call of this thread and one of another follow, and are answered."""
    counted = 0
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True, call_timeout=5) as manager:
        manager.init_instance(Light, 1)
        call = manager.transition if waits else manager.transition_nowait

        def ask() -> None:
            nonlocal counted
            manager.get_instance(1, 0)
            counted += 1

        place = 1
        while interrupted_at(place, lambda: call(1, "go", "green")):
            other = threading.Thread(target=ask)
            other.start()
            other.join()
            ask()
            assert counted == 2 * place, f"the place of number {place} did harm"
            place += 1
        manager.flush()
        assert place > 10
        assert 2 <= len(manager.get_instance(1).history) <= place + 1


def test_leadership_that_was_just_taken_is_let_go() -> None:
    """Wherever the exception comes, another thread can lead afterwards, at the latest when this one calls again."""
    place = 1
    while True:
        lead = leader.Leadership()

        def turn(lead: leader.Leadership = lead) -> None:
            try:
                lead.take()
            finally:
                lead.let_go()

        if not interrupted_at(place, turn):
            break
        lead.let_go()
        taken: list[bool] = []
        other = threading.Thread(target=lambda lead=lead, taken=taken: taken.append(lead.take()))
        other.start()
        other.join()
        assert taken == [True]
        place += 1
    assert place > 2


def test_an_alarm_that_raises_a_timeout_error_ends_the_call(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an OSError, but none of the pipe's: it must not be taken for one and swallowed."""
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True, call_timeout=5) as manager:
        manager.init_instance(Light, 1)
        only = manager._client.channels[0]

        def alarmed() -> Any:
            raise TimeoutError("the alarm of the application")

        with monkeypatch.context() as patch:
            patch.setattr(only._pipes, "read", alarmed)
            with pytest.raises(TimeoutError, match="of the application"):
                manager.transition(1, "go", "green")
        assert manager.get_instance(1).current_state == "green"
