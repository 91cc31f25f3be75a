"""Errors that a signal handler of the application raises, which are none of the library's."""

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
    """It is an OSError, but none of the pipe's: it must not be taken for one and swallowed."""
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True, call_timeout=5) as manager:
        manager.init_instance(Light, 1)
        only = manager._client.channels[0]

        def alarmed() -> Any:
            raise TimeoutError("the alarm of the application")

        with monkeypatch.context() as patch:
            patch.setattr(only.lines.current.pipes, "read", alarmed)
            with pytest.raises(TimeoutError, match="of the application"):
                manager.transition(1, "go", "green")
        assert manager.get_instance(1).current_state == "green"
