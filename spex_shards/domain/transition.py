"""One step of a system, and the actions with a fixed meaning."""

from __future__ import annotations

from typing import NamedTuple

INTERNAL = "__internal__"
"""The silent action (τ); the only action that is not visible."""

INITIALISATION = "__initialisation__"
"""The pseudo-action by which an instance enters its initial state."""

State = str | int


class Transition(NamedTuple):
    """One step: in `source`, `action` leads to `target`. `source` is None only for an initialisation."""

    source: str | None
    action: str
    target: str
