"""Compare checkouts on the same work: ``python -m benchmarks.versions OTHER_CHECKOUT [...] --rounds 9``.

Rounds alternate between the checkouts. Each measurement is a process of its own with that checkout first on its path,
so that no version warms up the machine for another. The figures of the others are divided by those of the first
checkout; this checkout is measured last. Minima are printed beside medians, because other programs on the machine can
only add time.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
TICK = os.sysconf("SC_CLK_TCK")
POSTS = 60_000
CALLS = 8_000


def own_processor_time() -> float:
    """Return the processor time of this process in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def processor_time(pid: int) -> float:
    """Return the processor time of another process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(pid: int | str) -> float:
    """Return a process's resident memory, in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def importing(_: Path) -> dict[str, float]:
    """Measure the import of the package."""
    started = time.perf_counter()
    import spex_shards  # noqa: F401 - this is what is measured

    return {"import, ms": (time.perf_counter() - started) * 1e3, "modules of the import": len(sys.modules)}


def starting(folder: Path) -> dict[str, float]:
    """Measure the start and the end of four shards."""
    from .work import manager

    started = time.perf_counter()
    with manager(folder, 4, "process") as running:
        ready = time.perf_counter() - started
        worker = resident(running.shards()[0].pid or 0)
        own = resident("self")
        before_close = time.perf_counter()
    return {
        "start of 4 shards, ms": ready * 1e3, "end, ms": (time.perf_counter() - before_close) * 1e3,
        "idle worker, MiB": worker, "client, MiB": own,
    }  # fmt: skip


def blocking(folder: Path) -> dict[str, float]:
    """Measure one caller on one shard that waits for each call."""
    from .work import Light, manager

    with manager(folder, 1, "process") as running:
        running.init_instance(Light, ("order", 17))
        pid = running.shards()[0].pid or 0
        times, client, worker = [], own_processor_time(), processor_time(pid)
        for _ in range(CALLS):
            started = time.perf_counter()
            running.transition(("order", 17), "go", "green")
            times.append(time.perf_counter() - started)
        client, worker = own_processor_time() - client, processor_time(pid) - worker
    return {
        "blocking p50, µs": statistics.median(times) * 1e6, "blocking client CPU, µs": client / CALLS * 1e6,
        "blocking worker CPU, µs": worker / CALLS * 1e6,
    }  # fmt: skip


def nowait(folder: Path) -> dict[str, float]:
    """Measure one caller on one shard that waits only for the flush."""
    from .work import Light, manager

    with manager(folder, 1, "process") as running:
        for number in range(1000):
            running.init_instance_nowait(Light, ("order", number))
        running.flush()
        pid = running.shards()[0].pid or 0
        started, client, worker = time.perf_counter(), own_processor_time(), processor_time(pid)
        for number in range(POSTS):
            running.transition_nowait(("order", number % 1000), "go", "green")
        running.flush()
        wall = time.perf_counter() - started
        client, worker = own_processor_time() - client, processor_time(pid) - worker
    return {
        "nowait wall, µs": wall / POSTS * 1e6, "nowait client CPU, µs": client / POSTS * 1e6,
        "nowait worker CPU, µs": worker / POSTS * 1e6,
    }  # fmt: skip


def in_process(folder: Path) -> dict[str, float]:
    """Measure the in-process manager."""
    from .work import blocking_in_process

    return {"in-process p50, µs": statistics.median(blocking_in_process(folder, "process", CALLS)) * 1e6}


MEASURES: dict[str, Callable[[Path], dict[str, float]]] = {
    "import": importing, "start": starting, "blocking": blocking, "nowait": nowait, "in-process": in_process,
}  # fmt: skip


def measured(checkout: Path, name: str) -> dict[str, float]:
    """Return the result of one measurement, with one checkout's package and this checkout's benchmarks."""
    with tempfile.TemporaryDirectory(prefix="spex-versions-") as folder:
        program = (
            f"import sys; sys.path[:0] = [{str(checkout)!r}]\n"
            "import benchmarks; "
            f"benchmarks.__path__[:] = [{str(HERE / 'benchmarks')!r}]\n"
            "import json, pathlib; from benchmarks import versions\n"
            f"print(json.dumps(versions.MEASURES[{name!r}](pathlib.Path({folder!r}))))"
        )
        done = subprocess.run([sys.executable, "-c", program], cwd=folder, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Measure, print a table, and write the figures to benchmarks/results/versions.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkouts", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="*", choices=MEASURES, default=list(MEASURES))
    given = parser.parse_args()
    checkouts = [path.resolve() for path in given.checkouts] + [HERE]
    for checkout in checkouts:  # else those would lose that have not been imported yet, where nothing writes bytecode
        compileall.compile_dir(checkout / "spex_shards", quiet=1)
    figures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number in range(given.rounds):
        for name in given.only:
            for checkout in checkouts if number % 2 == 0 else checkouts[::-1]:
                for figure, value in measured(checkout, name).items():
                    figures[figure][checkout.name].append(value)
        print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
    for figure, columns in figures.items():
        first = columns[checkouts[0].name]
        cells = []
        for checkout in checkouts:
            values = columns[checkout.name]
            ratio = statistics.median(b / a for a, b in zip(first, values, strict=True))
            cells.append(
                f"{checkout.name}: {statistics.median(values):8.2f} (min {min(values):8.2f}, x{ratio:.3f},"
                f" min x{min(values) / min(first):.3f})"
            )
        print(f"{figure:26}", " | ".join(cells))
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "versions.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
