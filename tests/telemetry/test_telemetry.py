"""Metrics of shards: what is read, how often, and how it is written."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import spex_shards as spex
from spex_shards.manager import InstanceManager
from spex_shards.telemetry import METRICS, ShardVitals, Vitals, exposition, vitals
from spex_shards.telemetry.metrics import Kind
from tests.support.processes import wait_until

pytestmark = pytest.mark.usefixtures("specifications_as_before")


def shard(index: int = 0, *, up: bool = True, **counters: int) -> ShardVitals:
    """Return what is known."""
    told = {"requests": {"init": 2, "transition": 5, "stats": 9, 'a"\\\nb': 1}, "deviations": 1, **counters}
    return ShardVitals(index, up, "READY", 17, 3, None, told if up else None)


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return (name, values of the labels) → number, as Prometheus's own parser reads it."""
    families = list(text_string_to_metric_families(text))
    assert len({one.name for one in families}) == len(families)
    return {
        (sample.name, tuple(sample.labels.values())): sample.value for family in families for sample in family.samples
    }


def test_the_text_is_what_prometheus_reads() -> None:
    """Names, labels and numbers; what is not known of a shard is left out."""
    text = exposition([shard(0, processor_seconds=0.25), shard(1, up=False)])
    found = samples(text)
    assert found["spex_shards_up", ("0",)] == 1
    assert found["spex_shards_up", ("1",)] == 0
    assert found["spex_shards_observations_total", ("0",)] == 7
    assert ("spex_shards_observations_total", ("1",)) not in found
    assert found["spex_shards_requests_total", ("0", 'a"\\\nb')] == 1
    assert ("spex_shards_requests_total", ("0", "stats")) not in found
    assert found["spex_shards_processor_seconds_total", ("0",)] == 0.25
    assert found["spex_shards_restarts_total", ("1",)] == 3
    assert found["spex_shards_status", ("0", "ready")] == 1
    assert found["spex_shards_status", ("0", "failed")] == 0
    assert found["spex_shards_build_info", (spex.__version__,)] == 1
    for metric in METRICS:
        name = f"spex_shards_{metric.name}{'_total' if metric.kind is Kind.COUNTER else ''}"
        assert f"# HELP {name} {metric.help}\n# TYPE {name} {metric.kind}\n" in text
    assert samples(exposition([]))


class Counting:
    """Counts how often the transport of a manager is asked."""

    def __init__(self, manager: InstanceManager) -> None:
        self.manager = manager
        self.asked = 0

    def __call__(self) -> InstanceManager:
        self.asked += 1
        return self.manager


def test_shards_are_asked_at_most_once_a_second_whatever_readers_do(places: dict[str, Path]) -> None:
    """All readers of that second get the same."""
    with spex.SimpleInstanceManager(**places) as manager:
        counting = Counting(manager)
        reads = Vitals(counting)
        begun = time.monotonic()
        found = [reads.read() for _ in range(200)]
        threads = [threading.Thread(target=reads.read) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert counting.asked <= 1 + (time.monotonic() - begun) / vitals.FRESH_FOR
        assert found[0][0].up
        assert found[0][0].counters is not None


def test_a_manager_that_is_not_open_has_no_vitals(places: dict[str, Path]) -> None:
    """And reading does not start it."""
    manager = spex.SimpleInstanceManager(**places)
    assert Vitals(lambda: manager).read() == ()
    assert Vitals(lambda: None).read() == ()
    assert not places["data_dir"].exists()


@pytest.fixture
def stopped(places: dict[str, Path]) -> Iterator[tuple[spex.ShardedInstanceManager, int]]:
    """Return a manager with two shards of which the second is stopped, and that one's process."""
    with spex.ShardedInstanceManager(distribution_factor=2, **places) as manager:
        pid = manager.shards()[1].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            yield manager, pid
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.process
def test_a_stopped_shard_is_not_up_and_holds_nobody_up(
    stopped: tuple[spex.ShardedInstanceManager, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are up meanwhile. It is asked less and less often, and is up again soon after it goes on."""
    manager, pid = stopped
    monkeypatch.setattr(vitals, "FRESH_FOR", 0.05)
    monkeypatch.setattr(vitals, "ANSWER_WITHIN", 0.3)
    reads = Vitals(lambda: manager)
    assert [one.up for one in reads.read(20)] == [True, False]
    pauses = []

    def is_paused_longer() -> bool:
        reads.read(20)
        pauses.append(reads._silent[1][1])
        return pauses[-1] == 2.0

    wait_until(is_paused_longer, "it is asked less often")
    assert set(pauses) == {1.0, 2.0}
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: all(one.up for one in reads.read(20)), "it is up again")
    assert not reads._silent


@pytest.mark.process
def test_a_reader_does_not_wait_longer_than_it_says(
    stopped: tuple[spex.ShardedInstanceManager, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then shards of which nothing newer is known are not up."""
    manager, pid = stopped
    monkeypatch.setattr(vitals, "FRESH_FOR", 0.05)
    os.kill(pid, signal.SIGCONT)
    reads = Vitals(lambda: manager)
    wait_until(lambda: all(one.up for one in reads.read(20)), "both answer")
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(vitals, "ANSWER_WITHIN", 3.0)
    time.sleep(0.06)  # until the reading is old
    late = reads.read(0.1)
    assert [(one.up, one.counters, one.pid) for one in late] == [(False, None, shard.pid) for shard in manager.shards()]
