"""What the simulated clients observe; handlers are found here by name."""

from __future__ import annotations

from typing import Any

import spex_shards as spex


class Plain(spex.Specification):
    """Learns: no handler is ever asked."""

    name = "simulation.Plain"
    transitions = [("start", "go", "on")]


class Timed(spex.Specification):
    """Learns, and has a timeout of five seconds."""

    name = "simulation.Timed"
    transitions = [("start", "go", "on")]
    transition_timeout = 5


class Noisy(spex.Specification):
    """Does not learn: its handler is asked about each transition, sends a message, and accepts."""

    name = "simulation.Noisy"
    transitions = [("start", "go", "on")]

    @classmethod
    def error_handler(cls, error: spex.SpexError, caller: Any) -> spex.SpexError | None:
        """Send which step it was."""
        if caller is not None and "deviating_transition" in error.context:
            caller.send(error.context["deviating_transition"].target)
        return None


SPECIFICATIONS = (Plain, Timed, Noisy)
NOISY_MODEL = spex.ImplModel(
    specification=Noisy.name,
    transitions=frozenset({spex.Transition(None, spex.INITIALISATION, "start")}),
    learning_mode=False,
)
