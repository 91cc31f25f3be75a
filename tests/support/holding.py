"""A specification whose handler stays inside its shard until a test lets it go; for managers in the same process."""

from __future__ import annotations

import threading
from typing import Any

import spex_shards as spex

inside, leave = threading.Event(), threading.Event()


class Held(spex.Specification):
    """Its handler waits."""

    name = "holding.Held"
    transitions = [("a", "go", "b")]

    @classmethod
    def error_handler(cls, error: spex.SpexError, caller: Any) -> None:
        """Accept, but only when the test allows it."""
        inside.set()
        assert leave.wait(60)
