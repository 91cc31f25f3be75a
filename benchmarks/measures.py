"""The table of measures: each one gets a new folder, does its work in a process of its own, and returns figures.

``python -m benchmarks.measures NAME`` makes one measure, and prints its figures as JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from . import lights
from .peers import Missing
from .timing import Figures


class Measure(NamedTuple):
    """How figures are got.

    Attributes:
        run: Returns the figures, in a new folder.
        ours: Whether the package takes part, so that each form of it is measured.
        rounds: In how many rounds at most; None: in all.
        by_default: Whether it is made without being named.
    """

    run: Callable[[Path], Figures]
    ours: bool = False
    rounds: int | None = None
    by_default: bool = True


BLOCKING = {"process": 10_000, "disk": 2_000}
POSTED = {"process": 40_000, "disk": 20_000}
PEERS = ("redis", "sqlite", "cache", "postgres", "actor", "manager")
SLOW = {"actor": 10}
"""How many times fewer steps a slow peer makes."""


def _lights(kind: str, durability: str, folder: Path) -> Figures:
    slower = SLOW.get(kind, 1)
    posts = POSTED[durability] // (10 if (kind, durability) == ("in-process", "disk") else slower)  # each is synced
    opened: Any = lights.OURS.get(kind) or importlib.import_module(f"benchmarks.peers.{kind}").lights
    return lights.measured(opened, durability, BLOCKING[durability] // slower, posts, folder)


def _redis_in_python(durability: str, folder: Path) -> Figures:
    from .peers import redis

    opened = partial(redis.lights, hiredis=False)
    return lights.measured(opened, durability, BLOCKING[durability], POSTED[durability], folder)


def _of(module: str, function: str, *arguments: Any) -> Callable[[Path], Figures]:
    """Return a measure by a function of another module, which is imported only when it is made."""

    def run(folder: Path) -> Figures:
        found: Figures = getattr(importlib.import_module(f"benchmarks.{module}"), function)(folder, *arguments)
        return found

    return run


def _instances(folder: Path) -> Figures:
    """Return the figures of a directory of 1,000,000 instances: opening it, and iterating over it."""
    from . import large

    (folder / "large").mkdir(mode=0o700)
    (folder / "small").mkdir(mode=0o700)
    large.generate(folder / "large", 1_000_000, 2)
    return large.iterated(folder / "large") | large.reopened(folder / "large", folder / "small", 7)


def _large(folder: Path) -> Figures:
    """Return the figures of the directory that the variable LARGE_FOLDER names."""
    from . import large

    given = os.environ.get("LARGE_FOLDER")
    if given is None:
        raise Missing("no large directory is given: make one by `python -m benchmarks.large`, and name it by --large")
    return large.measured(Path(given), folder, 40_000)


MEASURES: dict[str, Measure] = {
    "floor": Measure(_of("floor", "least", 10_000)),
    "loop": Measure(_of("floor", "loop", 40_000)),
    "fdatasync": Measure(_of("floor", "synced", 4_000), ours=True),
    **{
        f"{kind}, {durability}": Measure(partial(_lights, kind, durability), ours=True)
        for durability in BLOCKING for kind in ("shards", "in-process")
    },
    **{
        f"{peer}, {durability}": Measure(partial(_lights, peer, durability), rounds=2 if peer in SLOW else None)
        for durability in BLOCKING for peer in PEERS
    },
    **{f"redis-py, {durability}": Measure(partial(_redis_in_python, durability)) for durability in BLOCKING},
    "threads, disk": Measure(_of("callers", "threads", "disk", 2_000), ours=True),
    "threads, process": Measure(_of("callers", "threads", "process", 8_000), ours=True, rounds=2),
    "processes, process": Measure(_of("callers", "processes", "process", 8_000), ours=True, rounds=2),
    "coroutines, process": Measure(_of("callers", "coroutines", "process", 20_000), ours=True, rounds=2),
    "coroutines, disk": Measure(_of("callers", "coroutines", "disk", 10_000), ours=True, rounds=3),
    **{
        f"counters, {kind}, {durability}": Measure(
            _of("counters", "measured", kind, durability), "runtime" in kind, by_default=kind in ("runtime", "redis")
        )
        for durability in BLOCKING
        for kind in ("runtime", "runtime of 2 shards", "runtime in-process", "redis", "sqlite")
    },
    "shards at once": Measure(_of("scale", "shards", "process", 40_000), ours=True),
    "handlers": Measure(_of("scale", "handlers", 4_000), ours=True, rounds=3),
    "histories": Measure(_of("scale", "histories", 4_000), ours=True, rounds=3),
    "instances": Measure(_instances, ours=True, rounds=1),
    **{
        f"replay, {durability}": Measure(_of("replaying", "replayed", durability), ours=True, rounds=2)
        for durability in BLOCKING
    },
    "import": Measure(_of("idle", "importing"), ours=True),
    "start": Measure(_of("idle", "starting"), ours=True),
    "checker": Measure(_of("checker", "against_reference", 1_000_000), ours=True, rounds=1, by_default=False),
    "large": Measure(_large, ours=True, rounds=1, by_default=False),
}  # fmt: skip
"""By name; a name ends with the durability, where the measure has one."""


def main() -> None:
    """Make one measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measures", description=__doc__)
    parser.add_argument("name", choices=MEASURES)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="spex-bench-") as folder:
        try:
            print(json.dumps(MEASURES[given.name].run(Path(folder))))
        except Missing as missing:
            print(json.dumps({"missing": str(missing)}))


if __name__ == "__main__":
    main()
