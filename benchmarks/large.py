"""Data directories with very many instances: made once, row by row as the library would, and then measured.

``python -m benchmarks.large FOLDER --instances 10000000 --entries 10`` makes one, or goes on where it was interrupted.
``python -m benchmarks --only large --large FOLDER`` measures it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb

from spex_shards.domain.transition import INITIALISATION
from spex_shards.engine.row_forms import INSTANCE_VERSION, InstanceRow, instance_row, row_bytes
from spex_shards.engine.rows import key_of
from spex_shards.messages.values import PlainInstance, instance_of
from spex_shards.runtime.data_dir import DataDir
from spex_shards.runtime.protocol import records
from spex_shards.runtime.protocol.codec import canonical
from spex_shards.runtime.store.keys import u32, u64
from spex_shards.runtime.store.lmdb_store import LmdbStore
from spex_shards.runtime.store.port import TABLES

from .lights import STEPS, Light, sharded
from .processes import resident_mib
from .timing import Figures, blocking, posted

AT_ONCE = 20_000
"""Instances in one transaction of the generator."""
NEXT = b"next instance"
BEGUN_US = 1_700_000_000_000_000


def name(number: int) -> str:
    """Return the identifier of a generated instance. Its keys are in the order of the numbers."""
    return f"lamp {number:012}"


def some(count: int, instances: int, seed: int = 1) -> list[str]:
    """Return the identifiers of so many random generated instances."""
    return [name(number) for number in random.Random(seed).sample(range(instances), count)]


def size(folder: Path) -> float:
    """Return the bytes that a directory's store takes on the disk."""
    return _sizes(folder)["gib"] * 2**30


def generate(folder: Path, instances: int, entries: int) -> None:
    """Make a data directory of one shard, with so many instances, each with so many entries of history.

    It may be called again for the same folder with the same or a greater number of instances.
    """
    store = _prepared(folder)
    plan = json.loads((folder / "plan.json").read_text())
    if plan.setdefault("entries", entries) != entries:
        raise ValueError(f"{folder} has histories of {plan['entries']} entries, and not of {entries}")
    (folder / "plan.json").write_text(json.dumps(plan))
    last = next(store.range("history", b"", None, reverse=True))[0]
    store.release()
    done = max(0, int.from_bytes(last[:8], "big") - plan["base"] + 1)
    begun, before = time.monotonic(), done
    while done < instances:
        upto = min(instances, done + AT_ONCE)
        store.apply(_rows(range(done, upto), plan["base"], plan["specification"], entries))
        if upto // 1_000_000 > done // 1_000_000 or upto == instances:
            rate = (upto - before) / (time.monotonic() - begun)
            print(f"{upto:,} of {instances:,} instances, {rate:,.0f} a second", file=sys.stderr, flush=True)
        done = upto
    store.close()
    (folder / "plan.json").write_text(json.dumps({**plan, "instances": max(done, instances)}))


def _prepared(folder: Path) -> LmdbStore:
    """Return the shard's store; first make the directory, with one instance, if there is none."""
    if not (folder / "plan.json").exists():
        with sharded(folder, 1, "process") as manager:
            manager.init_instance(Light, "lamp")
            for step in STEPS:
                manager.transition("lamp", *step)
    store = LmdbStore(DataDir(folder / "data").shard(0), sync=False)
    if not (folder / "plan.json").exists():
        row = instance_row(store.get("instances", key_of(canonical("lamp"))) or b"")
        base = int.from_bytes(store.get("layout", NEXT) or b"", "big")
        (folder / "plan.json").write_text(json.dumps({"base": base, "specification": row.specification}))
    return store


def _rows(numbers: range, base: int, specification: int, entries: int) -> dict[str, dict[bytes, bytes]]:
    instances, by_spec, history = {}, {}, {}
    for count in numbers:
        number, key = base + count, key_of(canonical(name(count)))
        begun = BEGUN_US + count * 100
        last = begun + entries
        state = STEPS[entries % 2][1]
        row = InstanceRow(INSTANCE_VERSION, specification, number, entries, last, None, None, False, state, None)
        instances[key] = row_bytes(row)
        by_spec[u32(specification) + key] = b""
        for seq in range(1, entries + 1):
            step = (INITIALISATION, "red") if seq == 1 else STEPS[seq % 2]
            history[u64(number) + u64(seq)] = records.seal_flat((begun + seq, *step))
    return {
        "instances": instances, "by_spec": by_spec, "history": history,
        "layout": {NEXT: u64(base + numbers.stop)},
    }  # fmt: skip


def measured(folder: Path, small: Path, posts: int) -> Figures:
    """Return the figures of steps of random instances in a large directory, and of as many in a new one in `small`.

    The new one has no other instances. Both take turns. Afterwards the large directory has more history, and each
    instance has the state that it had.
    """
    plan = json.loads((folder / "plan.json").read_text())
    instances, steps = plan["instances"], STEPS if plan["entries"] % 2 else STEPS[::-1]
    figures: Figures = {"instances": instances, **_sizes(folder)}
    found: dict[str, list[Figures]] = {"large": [], "empty": []}
    for turn in range(4):
        where, kind = ((folder, "large"), (small, "empty"))[turn % 2]
        names = some(posts // 2, instances, turn // 2)
        with sharded(where, 1, "process") as manager:
            if kind == "empty":
                for lamp in names:
                    manager.init_instance_nowait(Light, lamp)
                manager.flush(120)
            found[kind].append(_switched(manager, names, steps if kind == "large" else STEPS, posts))
            figures[f"{kind}_worker_mib"] = resident_mib(manager.shards()[0].pid or 0)
    for kind, both in found.items():
        for figure, best in (("posted_per_second", max), ("p50_us", min), ("posted_processor_us", min)):
            figures[f"{kind}_{figure}"] = best(one[figure] for one in both)
    return figures


def _switched(manager: Any, names: list[str], steps: tuple[tuple[str, str], ...], posts: int) -> Figures:
    few = names[:1000]
    found = blocking(lambda number: manager.transition(few[number // 2], *steps[number % 2]), 2 * len(few))

    def post() -> None:
        for lamp in names:
            for step in steps:
                manager.transition_nowait(lamp, *step)
        manager.flush(300)

    return found | posted(post, posts)


def _sizes(folder: Path) -> Figures:
    store = LmdbStore(DataDir(folder / "data").shard(0), sync=False)
    size, rows = store.size(), store.rows()
    store.close()
    return {"rows": rows, "gib": size / 2**30, "bytes_per_row": size / rows}


def reopened(folder: Path, small: Path, rounds: int) -> Figures:
    """Return the time from a worker's kill to its successor's first answer, in a large directory and in a new one."""
    times: dict[str, list[float]] = {"empty": [], "large": []}
    options: dict[str, Any] = {"max_restarts": 1_000_000, "max_seconds": 0.05}
    with sharded(small, 1, "process", **options) as empty, sharded(folder, 1, "process", **options) as large:
        empty.init_instance(Light, "lamp")
        for _ in range(rounds):
            for kind, manager in (("empty", empty), ("large", large)):
                times[kind].append(_killed(manager))
                time.sleep(0.1)
    return {f"{kind}_open_ms": sorted(found)[len(found) // 2] * 1e3 for kind, found in times.items()}


def _killed(manager: Any) -> float:
    """Kill the worker; return the seconds until its successor has answered a blocking step."""
    step = STEPS[manager.get_instance("lamp").current_state == "green"]
    pid = manager.shards()[0].pid
    begun = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    manager.transition("lamp", *step)
    return time.perf_counter() - begun


def iterated(folder: Path) -> Figures:
    """Return the rates of iterating over all instances, by a manager and by a bare cursor with the same decoding."""
    with sharded(folder, 1, "process") as manager:
        next(manager.iter_instances())
        Path("/proc/self/clear_refs").write_text("5")
        before = _peak_mib()
        started = time.perf_counter()
        count = sum(1 for _ in manager.iter_instances())
        rate = count / (time.perf_counter() - started)
        grown = _peak_mib() - before
    started = time.perf_counter()
    bare = sum(1 for _ in _bare(DataDir(folder / "data").shard(0)))
    if bare != count:
        raise RuntimeError(f"the manager has {count} instances, and the store {bare}")
    return {
        "iterated_per_second": rate, "cursor_per_second": bare / (time.perf_counter() - started),
        "client_growth_mib": grown,
    }  # fmt: skip


def _peak_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _bare(shard: Path) -> Iterator[Any]:
    environment = lmdb.open(str(shard), map_size=1 << 40, max_dbs=len(TABLES), readonly=True, lock=False)
    with environment.begin() as view:
        tables = {table: environment.open_db(table.encode(), txn=view) for table in ("instances", "history")}
        for key, sealed in view.cursor(tables["instances"]).iternext():
            row = instance_row(sealed)
            cursor, prefix = view.cursor(tables["history"]), u64(row.number)
            cursor.set_range(prefix)
            history = []
            for at, entry in cursor.iternext():
                if at[:8] != prefix:
                    break
                history.append(records.unseal(entry, "a history entry"))
            yield instance_of(PlainInstance(Light.name, key[1:], None, row.state, history))
    environment.close()


def main() -> None:
    """Make a large data directory."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("--entries", type=int, default=10, help="entries of each history")
    given = parser.parse_args()
    given.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    free = shutil.disk_usage(given.folder).free
    print(
        f"about {given.instances * (100 + 55 * given.entries) / 2**30:.1f} GiB; free: {free / 2**30:.1f}",
        file=sys.stderr,
    )
    begun = time.monotonic()
    generate(given.folder, given.instances, given.entries)
    print(json.dumps({"seconds": round(time.monotonic() - begun, 1), **_sizes(given.folder)}))


if __name__ == "__main__":
    main()
