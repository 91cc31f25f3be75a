"""Measures what each step costs on this machine, for the model."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import spex_shards as spex

from . import callers, floor, large, lights
from .model import Costs
from .placing import placed
from .processes import own, processor_time

POSTS = 100_000
INSTANCES = 1_000_000


def measured(folder: Path) -> Costs:
    """Measure all costs."""
    say("floor and device")
    trips = floor.least(sub(folder, "floor"), 5000)
    bare = floor.synced(sub(folder, "sync"), 2000)
    say("blocking and pipelined steps")
    client, worker, posted_client, posted_worker, checkpoint = _sides(sub(folder, "sides"))
    waiting = callers.coroutines(sub(folder, "coroutines"), "process", 20_000)
    say("bytes written")
    hot, cold, instance, entry = _bytes(folder)
    say("starts, syncs, device")
    starts = {shards: _start(sub(folder, f"start {shards}"), shards) for shards in (1, 9)}
    return Costs(
        client, worker, posted_client, posted_worker, checkpoint,
        waiting[f"{callers.CALLERS}_caller_us"], trips["together_trip_p50_us"],
        trips["apart_trip_p50_us"], bare["bare_p50_us"], {count: _syncs(folder, count) for count in (1, 2, 4, 8)},
        hot, cold, _device(folder), instance, entry, (starts[9] - starts[1]) / 8,
    )  # fmt: skip


def _sides(folder: Path) -> tuple[float, float, float, float, float]:
    """Return the processor time of each side: blocking on one core, and posted with checkpoints."""
    with lights.sharded(folder, 1, "process") as manager:
        opened = lights.Managed(manager)
        pid = manager.shards()[0].pid or 0
        opened.post_all(lights.step(number) for number in range(2000))
        with placed("together"):
            client, worker = time.process_time(), own(pid)
            for number in range(5000):
                opened.step(*lights.step(number))
            client, worker = time.process_time() - client, own(pid) - worker
        steps = [lights.step(number) for number in range(5000, 5000 + POSTS)]
        posted_client, posted_worker, everything = time.process_time(), own(pid), processor_time()
        opened.post_all(steps)
        posted_client, posted_worker = time.process_time() - posted_client, own(pid) - posted_worker
        checkpoints = max(0.0, processor_time() - everything - posted_client - posted_worker)
    blocking, posted = 1e6 / 5000, 1e6 / POSTS
    return (
        client * blocking, worker * blocking, posted_client * posted, posted_worker * posted, checkpoints * posted,
    )  # fmt: skip


def _bytes(folder: Path) -> tuple[float, float, float, float]:
    """Return the bytes that a step writes (hot, cold), and those that instances and entries take."""
    sizes = []
    for entries, instances in ((2, INSTANCES), (10, INSTANCES // 10)):
        place = sub(folder, f"entries {entries}")
        large.generate(place, instances, entries)
        sizes.append(large.size(place) / instances)
    entry = (sizes[1] - sizes[0]) / 8
    hot_place = sub(folder, "hot")
    with lights.in_process(hot_place, "process"):
        pass
    hot = _written(hot_place, lights.KEYS, lights.STEPS)
    # The generated rows fill their pages to the last byte, so that the first steps split nearly every page.
    _written(folder / "entries 2", large.some(POSTS // 2, INSTANCES, seed=1), lights.STEPS[::-1])
    cold = _written(folder / "entries 2", large.some(POSTS // 2, INSTANCES, seed=2), lights.STEPS[::-1])
    return hot, cold, sizes[0] - 2 * entry, entry


def _written(folder: Path, keys: list[str], steps: tuple[tuple[str, str], ...]) -> float:
    """Return the bytes that a step of an in-process manager writes: log, checkpoints, and the checkpoint at the end."""

    def written() -> int:
        lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(lines["wchar"])

    places = {"data_dir": folder / "data", "impl_models_dir": folder / "models"}
    before = written()
    with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:
        for number in range(POSTS):
            manager.transition_nowait(keys[number % len(keys)], *steps[number // len(keys) % 2])
    return (written() - before) / POSTS


def _syncs(folder: Path, count: int, each: int = 300) -> float:
    """Return the syncs a second of so many processes at once."""
    children, begun = [], time.perf_counter()
    for number in range(count):
        child = os.fork()
        if child == 0:
            file = os.open(folder / f"synced {number}", os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(file, bytes(floor.LOGGED * each))
            os.fsync(file)
            os.lseek(file, 0, os.SEEK_SET)
            for _ in range(each):
                os.write(file, bytes(floor.LOGGED))
                os.fdatasync(file)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return count * each / (time.perf_counter() - begun)


def _device(folder: Path, size: int = 256 * 2**20) -> float:
    """Return the bytes a second of one large write that is synced."""
    data, begun = os.urandom(2**20), time.perf_counter()
    with (folder / "device").open("wb") as file:
        for _ in range(size // len(data)):
            file.write(data)
        file.flush()
        os.fdatasync(file.fileno())
    (folder / "device").unlink()
    return size / (time.perf_counter() - begun)


def _start(folder: Path, shards: int) -> float:
    """Return the processor time of starting so many shards, in milliseconds."""
    used = processor_time()
    with lights.sharded(folder, shards, "process"):
        pass
    return (processor_time() - used) * 1e3


def sub(folder: Path, name: str) -> Path:
    """Return a new folder in another one."""
    made = folder / name
    made.mkdir(mode=0o700)
    return made


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)
