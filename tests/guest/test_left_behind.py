"""The resources of a client's dead channels are freed at once, without the garbage collector."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

import spex_shards as spex
from tests.support.helper_specs import Door
from tests.support.processes import kill_worker, wait_until


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
@pytest.mark.long
def test_a_dead_shards_pipes_are_closed_without_the_collector(places: dict[str, Path]) -> None:
    """After ten deaths there are as many descriptors as before, even if the collector never runs."""
    with spex.ShardedInstanceManager(
        **places, distribution_factor=1, learning_mode=True, call_timeout=20, max_restarts=100
    ) as manager:
        manager.init_instance(Door, 0)
        before = descriptors()
        gc.disable()
        try:
            for number in range(1, 11):
                kill_worker(manager, 0)
                manager.init_instance(Door, number)
            wait_until(lambda: descriptors() <= before, "the descriptors are as before")
        finally:
            gc.enable()
