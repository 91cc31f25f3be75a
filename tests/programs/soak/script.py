"""A script that observes until it is stopped: ``python -m tests.programs.soak.script``."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import spex_shards as spex

from .observer import observer


def main() -> None:
    """Make some hundred observations per second as long as this process lives."""
    observing: Any = None
    while observing is None:
        with contextlib.suppress(spex.SpexError, OSError):
            observing = observer("script")
        time.sleep(0.05)
    while True:
        observing.turn()
        time.sleep(0.005)


if __name__ == "__main__":
    main()
