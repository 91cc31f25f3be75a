"""The specifications of the stored example, `tests/data/format-1.tar.xz`; they must never change."""

from __future__ import annotations

import spex_shards as spex


class Parcel(spex.Specification):
    """Its timeout is eighty years; it may be pruned eighty years later."""

    name = "example.Parcel"
    transition_timeout = 80 * 365 * 86400
    prune_timeout = 80 * 365 * 86400
    prunable_states = spex.TERMINAL
    transitions = [("packed", "send", "away"), ("away", "deliver", "there"), ("away", "lose", "lost")]


class Hasty(spex.Specification):
    """Its deadline has passed when the example is opened."""

    name = "example.Hasty"
    transition_timeout = 30
    transitions = [("idle", "run", "busy"), ("busy", "stop", "idle")]


class Strict(spex.Specification):
    """Its model does not learn; deviations are refused."""

    name = "example.Strict"
    transitions = [("a", "go", "b"), ("b", "stop", "c")]
