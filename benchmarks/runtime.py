"""The shard runtime beside Redis and SQLite, as a counter: ``python -m benchmarks.runtime``.

All take turns in each round, in another order each time, each in a fresh folder. A round has blocking increments of one
caller, of several processes at once, and posted ones. At its end the counters' sum must be what was sent. The processor
time is that of all processes together, an increment; other work on the machine changes it less than the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import redis

from .counters import AT_ONCE, Counters, in_redis, in_sqlite, on_shards

RESULTS = Path(__file__).parent / "results"
KEYS = [f"counter {number}" for number in range(1000)]
CALLERS = 4
Opened = Callable[[Path], AbstractContextManager[Counters]]

KINDS: dict[str, dict[str, Opened]] = {
    "process": {
        "runtime, 1 shard": partial(on_shards, durability="process", shards=1),
        "runtime, 2 shards": partial(on_shards, durability="process", shards=2),
        "runtime, in-process": partial(on_shards, durability="process", shards=1, processes=False),
        "Redis, AOF everysec": partial(in_redis, fsync="everysec"),
        "SQLite, WAL, NORMAL": partial(in_sqlite, synchronous="normal"),
    },
    "disk": {
        "runtime, 1 shard": partial(on_shards, durability="disk", shards=1),
        "runtime, 2 shards": partial(on_shards, durability="disk", shards=2),
        "runtime, in-process": partial(on_shards, durability="disk", shards=1, processes=False),
        "Redis, AOF always": partial(in_redis, fsync="always"),
        "SQLite, WAL, FULL": partial(in_sqlite, synchronous="full"),
    },
}
"""By durability. A power loss costs with "process" about a second (SQLite: all since the last checkpoint), and nothing
with "disk". A kill costs nothing, but for Redis with everysec: what it did not write because a sync was in progress."""
BASE = "runtime, 1 shard"
FIGURES = {
    "p50_us": "blocking: p50, µs",
    "p99_us": "p99, µs",
    "processor_us": "processor time, µs",
    "callers_per_second": f"{CALLERS} callers: a second",
    "posted_per_second": "posted: a second",
    "posted_processor_us": "processor time, µs",
}


def blocking(counters: Counters, calls: int) -> dict[str, float]:
    """One caller that waits for each."""
    times: list[float] = []
    used = processor_time(counters)
    for number in range(calls):
        key = KEYS[number % len(KEYS)]
        started = time.perf_counter()
        counters.increment(key)
        times.append(time.perf_counter() - started)
    used = processor_time(counters) - used
    times.sort()
    return {
        "p50_us": times[calls // 2] * 1e6, "p99_us": times[calls * 99 // 100] * 1e6, "processor_us": used / calls * 1e6,
    }  # fmt: skip


def processor_time(counters: Counters) -> float:
    """Return the seconds of processor time that this process and those that work for it have used."""
    tasks = [task for pid in counters.servers() for task in Path(f"/proc/{pid}/task").iterdir()]
    return time.process_time() + sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def callers(counters: Counters, calls: int) -> dict[str, float]:
    """Several processes, each of which waits for each of its own."""
    ready, go = os.pipe(), os.pipe()
    children = []
    for caller in range(CALLERS):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                mine = counters.again()
                mine.increment(KEYS[caller])  # its connection is there
                os.write(ready[1], b".")
                os.read(go[0], 1)
                for number in range(calls):
                    mine.increment(KEYS[(caller * 251 + number) % len(KEYS)])
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    for _ in children:
        os.read(ready[0], 1)
    started = time.perf_counter()
    os.write(go[1], b"." * CALLERS)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    wall = time.perf_counter() - started
    for descriptor in (*ready, *go):
        os.close(descriptor)
    if any(statuses):
        raise RuntimeError(f"a caller failed: {statuses}")
    return {"callers_per_second": CALLERS * calls / wall}


def posted(counters: Counters, calls: int) -> dict[str, float]:
    """One caller that waits once, in the end."""
    keys = [KEYS[number % len(KEYS)] for number in range(calls)]
    started, used = time.perf_counter(), processor_time(counters)
    counters.post_all(keys)
    wall, used = time.perf_counter() - started, processor_time(counters) - used
    return {"posted_per_second": calls / wall, "posted_processor_us": used / calls * 1e6}


def measured(opened: Opened, name: str, calls: int, posts: int) -> dict[str, float]:
    """Return one round's figures of one kind of counters."""
    with tempfile.TemporaryDirectory(prefix="spex-runtime-") as folder, opened(Path(folder)) as counters:
        for key in KEYS:
            counters.increment(key)
        figures, sent = blocking(counters, calls), len(KEYS) + calls
        if "in-process" not in name:  # its shard is in one process, and no other has it
            each = calls // CALLERS
            figures |= callers(counters, each)
            sent += CALLERS * (each + 1)
        figures |= posted(counters, posts)
        if counters.total() != sent + posts:
            raise RuntimeError(f"{name}: {counters.total()} were counted, and {sent + posts} were sent")
    return figures


def fdatasync_us(times: int = 300) -> float:
    """Return the median time of appending 100 bytes to a file and syncing it."""
    found = []
    with tempfile.TemporaryFile(prefix="spex-runtime-") as file:
        for _ in range(times):
            started = time.perf_counter()
            os.write(file.fileno(), bytes(100))
            os.fdatasync(file.fileno())
            found.append(time.perf_counter() - started)
    return statistics.median(found) * 1e6


def machine() -> dict[str, Any]:
    """Return what it was measured on and with."""
    models = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
              if line.startswith("model name")]  # fmt: skip
    server = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    kind = subprocess.run(["stat", "-f", "-c", "%T", tempfile.gettempdir()], capture_output=True, text=True, check=True)
    return {
        "model": models[0] if models else platform.machine(), "cpus": os.cpu_count(),
        "python": platform.python_version(), "kernel": platform.release(), "file_system": kind.stdout.strip(),
        "redis_server": server.split("v=")[1].split()[0], "redis_py": redis.__version__,
        "sqlite": sqlite3.sqlite_version, "fdatasync_us": round(fdatasync_us(), 1),
    }  # fmt: skip


def measure(rounds: int, calls: int, posts: int) -> dict[str, Any]:
    """Return all figures: medians, and the median over the rounds of each one's ratio to the runtime with one shard."""
    figures: dict[str, dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    loads, order = [], random.Random(1)
    for number in range(rounds):
        for durability, kinds in KINDS.items():
            scale = 1 if durability == "process" else 5
            names = list(kinds)
            order.shuffle(names)
            for name in names:
                loads.append(os.getloadavg()[0])
                figures[durability][name].append(measured(kinds[name], name, calls // scale, posts // scale))
        print(f"round {number + 1} of {rounds}, load {loads[-1]:.1f}", file=sys.stderr, flush=True)
    result: dict[str, Any] = {
        "machine": machine(), "rounds": rounds, "calls": calls, "posts": posts, "at_once": AT_ONCE,
        "load": {"least": min(loads), "median": statistics.median(loads), "most": max(loads)},
    }  # fmt: skip
    for durability, kinds_figures in figures.items():
        base = kinds_figures[BASE]
        result[durability] = {
            name: {
                figure: {
                    "median": round(statistics.median(one[figure] for one in found), 1),
                    "ratio": round(
                        statistics.median(one[figure] / its[figure] for one, its in zip(found, base, strict=True)), 2
                    ),
                    "rounds": [round(one[figure], 1) for one in found],
                }
                for figure in FIGURES
                if figure in found[0]
            }
            for name in KINDS[durability]
            if (found := kinds_figures[name])
        }
    return result


def table(result: dict[str, Any]) -> str:
    """Return the medians as Markdown, each with its ratio to the runtime with one shard."""
    lines = []
    for durability in KINDS:
        lines += [
            f"| durability `{durability}` | " + " | ".join(FIGURES.values()) + " |",
            "|---" * (1 + len(FIGURES)) + "|",
        ]
        for name, figures in result[durability].items():
            cells = []
            for figure in FIGURES:
                one = figures.get(figure)
                ratio = "" if one is None or name == BASE else f" ({one['ratio']:.2f})"
                cells.append("" if one is None else f"{_shown(one['median'])}{ratio}")
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def main() -> None:
    """Measure, print a table, and write benchmarks/results/runtime.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runtime", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=5000, help="blocking calls a round; a fifth for the disk")
    parser.add_argument("--posts", type=int, default=50_000, help="posted calls a round; a fifth for the disk")
    given = parser.parse_args()
    result = measure(given.rounds, given.calls, given.posts)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "runtime.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({name: result[name] for name in ("machine", "rounds", "calls", "posts", "load")}))
    print(table(result))


if __name__ == "__main__":
    main()
