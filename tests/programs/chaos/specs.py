"""The specifications that the applications use."""

from __future__ import annotations

import spex_shards as spex


class Chain(spex.Specification):
    """A specification without rules: this program compares histories only."""

    name = "chaos.Chain"
    transitions = [("start", "go", "on"), ("on", "go", "on")]
    judge = "run"  # every step is allowed; the positions must be those that the histories lead to, as `verify` says
    properties = [spex.properties.never("stop", after="go"), spex.properties.happens("go")]


class Timed(spex.Specification):
    """Instances stay in the first state until their timeout is reported."""

    name = "chaos.Timed"
    transitions = [("start", "go", "on")]
    transition_timeout = 1.0
