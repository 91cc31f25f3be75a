"""The specifications of the simulated clients; their handlers are imported from here."""

from __future__ import annotations

from typing import Any

import spex_shards as spex


class Plain(spex.Specification):
    """Learns; its handler is never called."""

    name = "simulation.Plain"
    transitions = [("start", "go", "on")]


class Timed(spex.Specification):
    """Learns, and has a timeout of five seconds."""

    name = "simulation.Timed"
    transitions = [("start", "go", "on")]
    transition_timeout = 5


class Noisy(spex.Specification):
    """Does not learn: its handler is called for each transition, sends a message, and accepts."""

    name = "simulation.Noisy"
    transitions = [("start", "go", "on")]

    @classmethod
    def error_handler(cls, error: spex.SpexError, caller: Any) -> spex.SpexError | None:
        """Send a message that names the step."""
        if caller is not None and "deviating_transition" in error.context:
            caller.send(error.context["deviating_transition"].target)
        return None


SPECIFICATIONS = (Plain, Timed, Noisy)
NOISY_MODEL = spex.ImplModel(
    specification=Noisy.name,
    transitions=frozenset({spex.Transition(None, spex.INITIALISATION, "start")}),
    learning_mode=False,
)
