"""Where a channel is in its life."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where a channel is."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    FAILED = "failed"
