"""Measure shards in PostgreSQL beside shards in LMDB: ``python -m benchmarks.postgres [ROUNDS]``.

It needs Debian's postgresql and psycopg. A private server is started, which syncs. The kinds alternate within a round,
and the medians of the rounds are printed: other work on the machine then slows all of them alike.

* the store alone: engine and store in one process, batches of 1, 64 and 512 transitions of known instances
* cold: batches of 512 transitions of instances that are not in memory, with their rows read together and one by one
* a blocking transition of a manager with one shard, from one thread
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import spex_shards as spex
from spex_shards.engine import Engine, EngineOptions, ModelSource
from spex_shards.messages.specifications import describe
from spex_shards.runtime.data_dir import DataDir
from spex_shards.runtime.protocol.codec import canonical
from spex_shards.runtime.store import Batch
from spex_shards.runtime.store.opening import stores_of
from spex_shards.runtime.store.port import ShardStore, StoreOptions
from tests.support.postgres import drop, server

TRANSITIONS = {1: 400, 64: 6_400, 512: 20_480}
CALLS = 400
INSTANCES = 2_048


class Loop(spex.Specification):
    """An instance that counts."""

    transitions = [("new", "go", "on"), ("on", "go", "on")]


@contextmanager
def opened(url: str | None, durability: str) -> Iterator[ShardStore]:
    """Return the store of a new shard."""
    with tempfile.TemporaryDirectory() as folder:
        directory = DataDir(Path(folder) / "data")
        directory.make()
        stores = stores_of(directory, url, durability)
        stores.begin(1)
        store = stores.open(0, StoreOptions(durability))
        try:
            yield store
        finally:
            store.close()


def engine_on(store: ShardStore) -> Engine:
    """Return an engine with instances that have made their first transition."""
    batch = Batch(store)
    engine = Engine(batch, ModelSource({}, learning_mode=True), EngineOptions(), time.time_ns() // 1000)
    stored, shipped = describe(Loop)
    engine.register(stored, shipped)
    for number in range(INSTANCES):
        engine.init_instance(Loop.name, canonical(number), None, None, 1)
        engine.transition(canonical(number), "go", "on", 1)
    batch.commit()
    return engine


def alone(url: str | None, durability: str, size: int) -> tuple[float, float]:
    """Return transitions a second, and milliseconds of a batch (median)."""
    with opened(url, durability) as store:
        engine = engine_on(store)
        taken = []
        began = time.perf_counter()
        for first in range(0, TRANSITIONS[size], size):
            at = time.perf_counter()
            for number in range(first, first + size):
                engine.transition(canonical(number % INSTANCES), "go", "on", time.time_ns() // 1000)
            engine.batch.commit()
            taken.append(time.perf_counter() - at)
        return TRANSITIONS[size] / (time.perf_counter() - began), 1000 * statistics.median(taken)


def cold(url: str | None, together: bool) -> float:
    """Return the milliseconds of a batch of 512 transitions of instances that are not in memory."""
    with opened(url, "disk") as store:
        engine = engine_on(store)
        taken = []
        for _ in range(4):
            engine._instances._cache.clear()
            at = time.perf_counter()
            names = [canonical(number) for number in range(512)]
            if together and store.far:
                engine.batch.fetch({"instances": engine.keys_to_read(names)})
            for name in names:
                engine.transition(name, "go", "on", time.time_ns() // 1000)
            engine.batch.commit()
            taken.append(time.perf_counter() - at)
        return 1000 * statistics.median(taken)


def blocking(url: str | None, durability: str) -> float:
    """Return the median microseconds of a blocking transition of a manager with one shard."""
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"data_dir": f"{folder}/data", "impl_models_dir": f"{folder}/models", "store": url}
        with spex.ShardedInstanceManager(
            **options,
            distribution_factor=1,
            durability=durability,
            learning_mode=True,  # type: ignore[arg-type]
        ) as manager:
            manager.init_instance(Loop, 1)
            taken = []
            for _ in range(CALLS):
                at = time.perf_counter()
                manager.transition(1, "go", "on")
                taken.append(time.perf_counter() - at)
        return 1e6 * statistics.median(taken)


def main() -> None:
    """Print the medians."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    with server("fsync=on", "full_page_writes=on", "shared_buffers=128MB", "max_wal_size=2GB") as database:
        for number in range(rounds):
            kinds = [
                (f"PostgreSQL, {word}", word, f"{database.url}&namespace=b{number}") for word in ("disk", "process")
            ]
            for kind, durability, url in [*[(f"LMDB, {word}", word, None) for word in ("disk", "process")], *kinds]:
                for size in TRANSITIONS:
                    speed, taken = alone(url and f"{url}_{durability}_{size}", durability, size)
                    note(f"{kind}: batches of {size}: transitions a second", speed)
                    note(f"{kind}: batches of {size}: milliseconds of a batch", taken)
                note(
                    f"{kind}: blocking transition, p50, microseconds",
                    blocking(url and f"{url}_{durability}", durability),
                )
            note("LMDB, disk: 512 cold instances, milliseconds", cold(None, together=True))
            note("PostgreSQL, disk: 512 cold instances, milliseconds", cold(f"{kinds[0][2]}_cold1", together=True))
            note("PostgreSQL, disk: 512 cold instances one by one, ms", cold(f"{kinds[0][2]}_cold2", together=False))
            ratio = found["PostgreSQL, disk: blocking transition, p50, microseconds"][-1]
            note(
                "PostgreSQL to LMDB, disk, blocking: ratio",
                ratio / found["LMDB, disk: blocking transition, p50, microseconds"][-1],
            )
            for name in [f"b{number}_{word}" for word in ("disk", "process")]:
                drop(database.url, name)
    for name, values in found.items():
        print(f"{name:70} {statistics.median(values):12,.2f}   ({min(values):,.2f} to {max(values):,.2f})")


if __name__ == "__main__":
    main()
