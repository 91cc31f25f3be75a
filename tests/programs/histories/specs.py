"""The specifications whose instances the clients observe."""

from __future__ import annotations

import spex_shards as spex

from .history import START


class Chain(spex.Specification):
    """Every step is allowed: the state that it leads to is the label of the write that made it."""

    name = "histories.Chain"
    transitions = [(START, "go", "on"), ("on", "go", "on")]
    judge = "run"


class Timed(spex.Specification):
    """Instances stay in the first state until their timeout is reported."""

    name = "histories.Timed"
    transitions = [(START, "go", "on")]
    transition_timeout = 0.7
    judge = "run"
