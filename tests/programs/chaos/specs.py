"""What the applications observe."""

from __future__ import annotations

import spex_shards as spex


class Chain(spex.Specification):
    """Anything may follow anything: what counts here is the history."""

    name = "chaos.Chain"
    transitions = [("start", "go", "on")]


class Timed(spex.Specification):
    """Stays in its first state until its timeout is reported."""

    name = "chaos.Timed"
    transitions = [("start", "go", "on")]
    transition_timeout = 1.0
