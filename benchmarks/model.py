"""A model of throughput and latency from the costs of single steps: ``python -m benchmarks.model``.

It measures what each step costs here, predicts other measurements of this machine from that and makes them, and then
says what machines with more cores would do. `Costs` are the measured ones, `Machine` what is asked about.

::

    a blocking step       client + worker + the wait for a core (+ one sync, with durability "disk")
    pipelined, a second   the least of: clients / client time, shards / worker time,
                          cores / (client + worker + checkpoint time), device bytes a second / bytes a step
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path

from spex_shards.runtime.system.form import COMPILED

from . import callers, floor, lights
from .machine import machine
from .processes import processor_time
from .report import put_into

RESULTS = Path(__file__).parent / "results"
CORES = (8, 32, 128)
DEVICE = 1e9
"""Bytes a second that the device of a larger machine is taken to write: one NVMe drive, sustained."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What steps cost here: microseconds of processor time, microseconds, and bytes.

    Attributes:
        client, worker: Processor time of a blocking step on each side.
        posted_client, posted_worker, checkpoint: Processor time of a pipelined step, with that of its checkpoint.
        coroutine: Processor time of a step that one of 64 coroutines waits for, in their process.
        trip, trip_apart: A bare round trip with both processes on one core, and on two.
        sync: Appending what a step logs, and one fdatasync.
        syncs: Syncs a second of so many processes at once, each on a file of its own.
        hot_bytes, cold_bytes: What a pipelined step writes to the device, log and checkpoint, if it is one of 1,000
            instances, and if it is a random one of 1,000,000.
        device: Bytes a second that the device writes.
        instance_bytes, entry_bytes: What an instance, and an entry of its history, take on the disk.
        shard_start: Processor time of the start of one more shard, in milliseconds.
    """

    client: float
    worker: float
    posted_client: float
    posted_worker: float
    checkpoint: float
    coroutine: float
    trip: float
    trip_apart: float
    sync: float
    syncs: dict[int, float]
    hot_bytes: float
    cold_bytes: float
    device: float
    instance_bytes: float
    entry_bytes: float
    shard_start: float

    def latency(self, *, apart: bool, disk: bool = False) -> float:
        """Return the time of a blocking step, in microseconds."""
        # The processor time has that of a round trip's system calls in it; the rest of the trip is the wait for a core.
        # A caller looks for its answer for 50 µs, which keeps both cores awake; with `disk` the answer comes later.
        wait = max(0.0, self.trip_apart - self.trip) if apart and disk else 0.0
        return self.client + self.worker + wait + (self.sync if disk else 0)

    @property
    def posted(self) -> float:
        """The processor time of a pipelined step on all sides, in microseconds."""
        return self.posted_client + self.posted_worker + self.checkpoint

    def rates(self, machine: Machine) -> dict[str, float]:
        """Return what each part of a machine allows, in pipelined steps a second; the least of them is what it does."""
        return {
            "clients": machine.clients * 1e6 / self.posted_client,
            "workers": machine.shards * 1e6 / self.posted_worker,
            "cores": machine.cores * 1e6 / self.posted,
            "checkpoints": machine.shards * 1e6 / max(self.checkpoint, 1e-9),
            "device": machine.device / (self.cold_bytes if machine.cold else self.hot_bytes),
        }

    def together(self, callers_at_once: int) -> float:
        """Return the rate of so many coroutines on one shard, whose steps are synced together and answered together."""
        fixed = max(0.0, self.worker - self.posted_worker) + self.sync
        turn = fixed + callers_at_once * (self.posted_worker + self.coroutine)
        return callers_at_once * 1e6 / turn


@dataclass(frozen=True, slots=True)
class Machine:
    """What is asked about: its cores, client processes and shards, its device, and whether instances are cold."""

    cores: int
    clients: int
    shards: int
    device: float
    cold: bool = False


def checks(costs: Costs, folder: Path) -> Iterator[tuple[str, float, float]]:
    """Iterate over what is predicted for this machine and measured on it: what, prediction, measurement."""
    cores = len(os.sched_getaffinity(0))
    found = lights.measured(lights.on_shards, "process", 5000, 40_000, _sub(folder, "check"))
    for placement in ("apart", "together"):
        predicted = costs.latency(apart=placement == "apart")
        yield f"blocking, {placement}, p50, µs", predicted, found[f"{placement}_p50_us"]
    synced = floor.synced(_sub(folder, "check sync"), 2000)
    yield "blocking, disk, p50, µs", costs.latency(apart=True, disk=True), synced["ours_p50_us"]
    for clients, shards in ((1, 1), (1, 4), (2, 2), (4, 4)):
        predicted = min(costs.rates(Machine(cores, clients, shards, costs.device)).values())
        rate, used = _posting(_sub(folder, f"check {clients} {shards}"), clients, shards)
        yield f"pipelined, {clients} clients, {shards} shards, a second", predicted, rate
        yield "its processor time a step, µs", costs.posted, used
    rate = callers.coroutines(_sub(folder, "check many"), "disk", 10_000)[f"{callers.CALLERS}_per_second"]
    yield f"disk, {callers.CALLERS} coroutines, a second", costs.together(callers.CALLERS), rate


def _posting(folder: Path, clients: int, shards: int, posts: int = 40_000) -> tuple[float, float]:
    """Return the rate of forked processes that post steps of lights of their own, and the processor time of a step."""
    with lights.sharded(folder, shards, "process") as manager:
        opened = lights.Managed(manager)

        def work(client: int) -> None:
            keys = lights.KEYS[client::clients]
            opened.post_all((key, *lights.STEPS[lap % 2]) for lap in range(posts // len(lights.KEYS)) for key in keys)

        used = processor_time()
        wall = _forked(clients, work)
        return posts / wall, (processor_time() - used) / posts * 1e6


def _forked(count: int, work: Callable[[int], None]) -> float:
    begun, children = time.perf_counter(), []
    for number in range(count):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work(number)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        raise RuntimeError("a client failed")
    return time.perf_counter() - begun


def _sub(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir(mode=0o700)
    return made


def needed(costs: Costs, cores: int, device: float, *, cold: bool) -> tuple[Machine, str, float]:
    """Return how many clients and shards use a machine best, what bounds it then, and its rate."""
    many = Machine(cores, cores, cores, device, cold)
    rates = {part: rate for part, rate in costs.rates(many).items() if part in ("cores", "device")}
    bound = min(rates, key=lambda part: rates[part])
    clients, shards = (ceil(rates[bound] * cost / 1e6) for cost in (costs.posted_client, costs.posted_worker))
    return Machine(cores, clients, shards, device, cold), bound, rates[bound]


def report(costs: Costs, checked: list[tuple[str, float, float]], load: float) -> Iterator[str]:
    """Return the lines of three tables in Markdown: costs, checks, and larger machines."""
    form = "compiled" if COMPILED else "pure"
    yield f"The {form} form, on {machine()['processor']}, load {load:.1f}; µs, bytes, or a second."
    yield "\n| cost | measured here |\n|---|---|"
    for name, value in asdict(costs).items():
        shown = (
            ", ".join(f"{key}: {one:,.0f}" for key, one in value.items())
            if isinstance(value, dict)
            else f"{value:,.1f}"
        )
        yield f"| {name.replace('_', ' ')} | {shown} |"
    yield "\n| on this machine | predicted | measured | ratio |\n|---|---|---|---|"
    for what, predicted, value in checked:
        yield f"| {what} | {predicted:,.4g} | {value:,.4g} | {value / predicted:.2f} |"
    yield "\n| cores | instances | clients, shards | steps a second | bound by |\n|---|---|---|---|---|"
    for cores in CORES:
        for cold in (False, True):
            split, bound, rate = needed(costs, cores, DEVICE, cold=cold)
            kind = "random ones of very many" if cold else "a few hot ones"
            yield f"| {cores} | {kind} | {split.clients}, {split.shards} | {rate:,.0f} | {bound} |"
    for shards in (4, 64, 1024):
        seconds = shards * costs.shard_start / 1e3
        yield f"\n{shards} shards take {seconds:.1f} s of processor time to start, on all cores together."
    for entries in (1, 10):
        size = 1e9 * (costs.instance_bytes + entries * costs.entry_bytes)
        yield f"\n1,000,000,000 instances with {entries} entries of history each take {size / 1e9:,.0f} GB."


def main() -> None:
    """Measure, predict, check, and extrapolate; print tables, and write benchmarks/results/model.json."""
    from .costing import measured

    parser = argparse.ArgumentParser(prog="python -m benchmarks.model", description=__doc__)
    parser.add_argument("--again", action="store_true", help="use the costs and checks of the last run")
    parser.add_argument("--docs", action="store_true", help="also put the tables into docs/performance.md")
    given = parser.parse_args()
    written = RESULTS / "model.json"
    if given.again:
        found = json.loads(written.read_text())
        costs, checked = Costs(**found["costs"]), [tuple(row) for row in found["checks"]]
    else:
        with tempfile.TemporaryDirectory(prefix="spex-model-") as folder:
            costs = measured(Path(folder))
            checked = list(checks(costs, Path(folder)))
        RESULTS.mkdir(exist_ok=True)
        found = {"machine": machine(), "load": os.getloadavg(), "costs": asdict(costs), "checks": checked}
        written.write_text(json.dumps(found, indent=1) + "\n")
    text = "\n".join(report(costs, checked, found["load"][0]))
    if given.docs:
        put_into(Path(__file__).resolve().parents[1] / "docs" / "performance.md", "model", text)
    print(text)


if __name__ == "__main__":
    main()
