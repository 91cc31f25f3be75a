"""Specifications that other processes can import."""

from __future__ import annotations

import spex_shards as spex


class Door(spex.Specification):
    """A door."""

    name = "tests.Door"
    transitions = [("closed", "open", "opened"), ("opened", "close", "closed")]
