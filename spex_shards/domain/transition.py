"""One step of a system, and the actions that mean something by themselves."""

from __future__ import annotations

from typing import NamedTuple

INTERNAL = "__internal__"
"""The silent action (τ); the only action that is not visible."""

INITIALISATION = "__initialisation__"
"""The pseudo-action by which an instance enters its initial state."""

State = str | int


class Transition(NamedTuple):
    """One step: in `source`, `action` leads to `target`. `source` is None for an initialisation only."""

    source: str | None
    action: str
    target: str
