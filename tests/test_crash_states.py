"""Every state that a disk may be in after a power loss opens, is whole, and has what was promised."""

from __future__ import annotations

import pytest

from .crash_states.explore import explore


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.tool("strace")
@pytest.mark.parametrize("mode", ["disk", "process"])
def test_every_image_after_a_power_loss_opens_and_holds_what_was_promised(mode: str) -> None:
    """Prefixes, subsets of unsynced writes and torn writes of what a traced worker and its helpers really did.

    ``python -m tests.crash_states`` opens some 1,250 images in each mode.
    """
    table = explore(mode, count=250, places=25)
    assert (table.wrong, table.examples) == ({}, {})
    assert table.images >= 100
    assert len(table.recovered) > 5


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.tool("strace")
def test_lmdb_alone_without_sync_is_found_to_be_damaged() -> None:
    """Which proves that the exploration can find something, and why there is a log."""
    table = explore("unsynced LMDB", count=150, places=25)
    assert sum(table.wrong.values()) > 10
