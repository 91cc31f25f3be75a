"""Paths, and the length of the test run."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The project."""
DATA = ROOT / "tests" / "data"
SHARED = ROOT.parent / "shared"
"""Event logs and transition systems that lie beside the project, where they are there."""
WHOLE = os.environ.get("TESTS_LENGTH") == "whole"
"""Whether explorations that take many minutes are carried out as a whole."""
LONG = WHOLE or os.environ.get("TESTS_LENGTH") == "long"
"""Whether expensive explorations are carried out at length, as `.ci/run` wants them."""


def of_length(short: int, long: int, whole: int) -> int:
    """Return the number for this run's length."""
    return whole if WHOLE else long if LONG else short
