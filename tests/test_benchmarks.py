"""The benchmarks' own arithmetic: what is compared with what, and that a generated directory is a real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import large
from benchmarks.__main__ import chosen
from benchmarks.measures import MEASURES
from benchmarks.model import Costs, Machine, needed
from benchmarks.report import plot, tables
from benchmarks.suite import PEERS, ROOT, compared, made, merged, summary
from benchmarks.targets import TARGETS, Figure, Target
from spex_shards.audit import verify

RATE = Target("redis", "rates", Figure("shards, process", "p50_us"), Figure("floor", "p50_us"), "≤", 1.8, 3)


def entry(name: str, *values: float, when: str = "now") -> dict[str, Any]:
    """Return a measure as it stands in a result."""
    figures: dict[str, Any] = {name: summary(list(values))}
    return {"when": when, "figures": figures, "values": [{name: value} for value in values]}


def test_each_target_names_measures_that_exist() -> None:
    """And each name stands for one target."""
    assert {measure for target in TARGETS for measure in target.measures} <= MEASURES.keys()
    assert len({target.name for target in TARGETS}) == len(TARGETS)


def test_a_ratio_is_taken_within_each_round() -> None:
    """Its median decides, for each form by that form's limit."""
    measures = {
        "pure": {"shards, process": entry("p50_us", 40.0, 100.0, 30.0)},
        "compiled": {"shards, process": entry("p50_us", 20.0, 50.0, 15.0)},
        PEERS: {"floor": entry("p50_us", 10.0, 50.0, 10.0)},
    }

    pure, compiled = compared(RATE, measures)

    assert (pure["median"], pure["least"], pure["most"], pure["met"]) == (3.0, 2.0, 4.0, True)
    assert (compiled["median"], compiled["limit"], compiled["met"]) == (1.5, "≤ 1.8", True)


@pytest.mark.long
def test_a_result_without_latencies_is_drawn_all_the_same(tmp_path: Path) -> None:
    """Only a part was measured; the pictures of the rest are empty."""
    pytest.importorskip("matplotlib")
    plot({"measures": {"pure": {"import": entry("import_ms", 30.0)}, PEERS: {}}, "targets": []}, tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 1000


def test_what_was_measured_in_two_runs_is_marked() -> None:
    """An earlier result keeps its measures, where this run did not make them again."""
    before = {"measures": {"pure": {"shards, process": entry("p50_us", 40.0)}, PEERS: {}}}
    result: dict[str, Any] = {
        "when": "2026-01-01", "revision": "abc", "rounds": 1, "load": summary([1.0]), "missing": {"loop": "it is not"},
        "machine": {"cores": 2, "processor": "one", "python": "3", "kernel": "6"},
        "measures": {PEERS: {"floor": entry("p50_us", 10.0, when="later")}},
    }  # fmt: skip

    result = merged(before, result)

    [row] = [row for row in result["targets"] if row["target"] == "floor"]
    assert (row["median"], row["met"], row["one_run"]) == (4.0, False, False)
    assert "| ≤ 3 | 4.00 (4.00 to 4.00, not of one run) | **no** |" in tables(result)
    assert "Not measured: loop: it is not." in tables(result)


def test_measures_are_chosen_by_name_or_target() -> None:
    """A target brings what it compares; the first words of a name bring all measures that begin with them."""
    assert chosen(["floor"]) == ["floor", "shards, process"]
    assert chosen(["replay"]) == ["replay, process", "replay, disk"]
    assert "large" not in chosen(None)
    with pytest.raises(ValueError, match="--only must name measures or targets"):
        chosen(["nothing"])


@pytest.mark.process
def test_a_generated_directory_is_a_real_one(tmp_path: Path) -> None:
    """It has no findings, and it can be made larger later."""
    for instances in (30, 70):
        large.generate(tmp_path, instances, 4)
        assert verify(tmp_path / "data") == []
    assert json.loads((tmp_path / "plan.json").read_text())["entries"] == 4
    with pytest.raises(ValueError, match="has histories of 4 entries, and not of 6"):
        large.generate(tmp_path, 80, 6)


COSTS = Costs(
    client=20, worker=30, posted_client=5, posted_worker=10, checkpoint=5, coroutine=10, trip=6, trip_apart=50,
    sync=100, syncs={1: 10_000}, hot_bytes=500, cold_bytes=10_000, device=1e9,
    instance_bytes=100, entry_bytes=50, shard_start=15,
)  # fmt: skip


def test_the_model_adds_what_a_step_waits_for() -> None:
    """Both sides, the sync, and the wait for an idle core, if the caller sleeps."""
    assert COSTS.latency(apart=False) == COSTS.latency(apart=True) == 50
    assert COSTS.latency(apart=True, disk=True) == 194


def test_the_model_finds_the_bound() -> None:
    """The cores, as long as the device takes what they write."""
    machine, bound, rate = needed(COSTS, 8, 1e9, cold=False)
    assert (machine, bound, rate) == (Machine(8, 2, 4, 1e9), "cores", 400_000)

    _, bound, rate = needed(COSTS, 128, 1e9, cold=True)
    assert (bound, rate) == ("device", 100_000)


@pytest.mark.process
def test_a_measure_that_fails_is_left_out_with_its_error() -> None:
    """The run goes on without it."""
    assert "invalid choice: 'no such measure'" in made("no such measure", ROOT)["missing"]
