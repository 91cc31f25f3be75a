"""Run all benchmarks, alternating between compared variants; write benchmarks/results/bench.json and bench.png."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import floor, work

RESULTS = Path(__file__).parent / "results"
LOGS = Path(__file__).resolve().parents[2] / "shared" / "data"


@contextmanager
def fresh() -> Iterator[Path]:
    """Return a function that gives each measurement a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="spex-bench-") as name:
        yield Path(name)


def percentile(times: list[float], share: float) -> float:
    """Return a percentile in microseconds."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1e6


def latency(durability: str, placement: str, rounds: int, calls: int) -> dict[str, Any]:
    """Measure blocking round trips and their floor, in alternating rounds."""
    sync = durability == "disk"
    measures: dict[str, Callable[[Path], list[float]]] = {
        "pipe ping-pong": lambda _: floor.ping_pong(calls, placement),
        "rows in LMDB": lambda folder: floor.lmdb_rows(calls, folder, sync=sync),
        "engine in-process": lambda folder: floor.engine_alone(calls, folder, sync=sync),
        "SimpleInstanceManager": lambda folder: work.blocking_in_process(folder, durability, calls),
        "ShardedInstanceManager, 1 shard": lambda folder: work.blocking(folder, durability, calls, placement),
    }
    if not sync:
        measures["peer: multiprocessing manager + SQLite"] = lambda folder: floor.peer_manager(calls, folder, placement)
    p50: dict[str, list[float]] = defaultdict(list)
    p99: dict[str, list[float]] = defaultdict(list)
    ratios = []
    for number in range(rounds):
        for name, measure in measures.items():
            progress(f"{durability}, {placement}: round {number + 1} of {rounds}: {name}")
            with fresh() as folder:
                times = measure(folder)
            p50[name].append(percentile(times, 0.5))
            p99[name].append(percentile(times, 0.99))
        below = p50["pipe ping-pong"][-1] + p50["rows in LMDB"][-1]
        ratios.append(p50["ShardedInstanceManager, 1 shard"][-1] / below)
    return {
        "calls": calls,
        "rounds": rounds,
        "p50_us": {name: round(statistics.median(values), 1) for name, values in p50.items()},
        "p99_us": {name: round(statistics.median(values), 1) for name, values in p99.items()},
        "sharded_to_floor": round(statistics.median(ratios), 2),
        "sharded_to_floor_by_round": [round(ratio, 2) for ratio in ratios],
    }


def throughput(durability: str, rounds: int, calls: int) -> dict[str, int]:
    """Measure observations per second for 1, 2 and 4 shards, in alternating rounds."""
    rates: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds):
        for shards in (1, 2, 4):
            progress(f"{durability}: round {number + 1} of {rounds}: nowait, {shards} shards")
            with fresh() as folder:
                rates[str(shards)].append(work.nowait(folder, shards, durability, calls))
    return {shards: round(statistics.median(values)) for shards, values in rates.items()}


def replays(durability: str) -> dict[str, int] | str:
    """Measure events per second for both real logs, with 4 shards."""
    if not LOGS.is_dir():
        return "not run: the event logs beside the project (../shared/data) are absent"
    rates = {}
    for log in ("helpdesk.xes.gz", "bpic2013_incidents.xes.gz"):
        progress(f"{durability}: replay of {log}")
        with fresh() as folder:
            rates[log] = round(work.replayed(LOGS / log, folder, 4, durability))
    return rates


def measure(rounds: int, calls: int) -> dict[str, Any]:
    """Return all figures."""
    result: dict[str, Any] = {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "method": "rounds alternate between what is compared; medians over rounds; the floor is of the same run",
    }
    starts = []
    for _ in range(rounds):
        with fresh() as folder:
            starts.append(work.start_up(folder))
    result["start_4_shards_s"] = round(statistics.median(seconds for seconds, _ in starts), 3)
    result["idle_worker_rss_mib"] = round(statistics.median(size for _, size in starts), 1)
    result["import_s"] = round(work.import_time(), 3)
    for durability, scale in (("process", 1), ("disk", 10)):
        result[durability] = {
            "latency": {
                placement: latency(durability, placement, rounds, max(100, calls // scale))
                for placement in ("apart", "together")
            },
            "nowait_per_second": throughput(durability, rounds, max(1000, calls * 5 // scale)),
            "replay_events_per_second": replays(durability),
        }
    return result


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw latencies and throughput."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        progress("no plot: matplotlib is not installed")
        return
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.5))
    for shift, (placement, colour) in enumerate((("apart", "#4c78a8"), ("together", "#9ecae9"))):
        p50 = result["process"]["latency"][placement]["p50_us"]
        places = [place + shift * 0.4 for place in range(len(p50))]
        left.barh(places, list(p50.values()), height=0.38, color=colour, label=f"processes {placement}")
        left.set_yticks([place + 0.2 for place in range(len(p50))], list(p50))
    left.invert_yaxis()
    left.legend()
    left.set_xlabel('blocking transition, durability "process": p50, µs')
    for durability, colour in (("process", "#4c78a8"), ("disk", "#f58518")):
        rates = result[durability]["nowait_per_second"]
        right.plot(list(rates), list(rates.values()), marker="o", label=durability, color=colour)
    right.set_xlabel("shards")
    right.set_ylabel("nowait transitions a second")
    right.set_ylim(bottom=0)
    right.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def progress(text: str) -> None:
    """Print what is being measured."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Parse the arguments, measure, write and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=10_000, help="blocking calls a round")
    arguments = parser.parse_args()
    result = measure(arguments.rounds, arguments.calls)
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(result, indent=2)
    (RESULTS / "bench.json").write_text(text + "\n")
    plot(result, RESULTS / "bench.png")
    print(text)


if __name__ == "__main__":
    main()
