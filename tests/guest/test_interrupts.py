"""Errors that a signal handler of the application raises are not mistaken for the library's own errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]


class Light(spex.Specification):
    """A traffic light."""

    name = "tests.Light"
    transitions = [("red", "go", "green"), ("green", "stop", "red")]


def test_an_alarm_that_raises_a_timeout_error_ends_the_call(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an OSError, but not one of the pipe: it must not be swallowed as such."""
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True, call_timeout=5) as manager:
        manager.init_instance(Light, 1)
        only = manager.transport.channels[0]

        def alarmed() -> Any:
            raise TimeoutError("the alarm of the application")

        with monkeypatch.context() as patch:
            patch.setattr(only.lines.current.pipes, "read", alarmed)
            with pytest.raises(TimeoutError, match="of the application"):
                manager.transition(1, "go", "green")
        assert manager.get_instance(1).current_state == "green"


def test_a_call_made_while_the_application_handles_an_error_of_its_own_is_no_interrupted_one(
    make_manager: Any,
) -> None:
    """The call's errors have the application's error in their context, which does not make them interruptions."""
    manager = make_manager(learning_mode=True)
    manager.init_instance(Light, 1)
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert isinstance(manager.try_transition("missing", "go", "green"), spex.InstanceNotFound)
        with pytest.raises(spex.InstanceNotFound):
            manager.get_instance("missing")
        manager.transition(1, "go", "green")
    assert manager.get_instance(1).current_state == "green"
