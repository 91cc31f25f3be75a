"""Measure how the offline checker scales: ``python -m benchmarks.checker`` writes checker.json and checker.png.

``../shared/bisim/gen.py`` makes pairs of systems of 14 families, equivalent ones and ones that differ in a single step.
Measured is what a user calls: ``compare(impl, spec).verdict``. `compare` itself decides only whether the two are
equivalent; the time until it returns is given as well.
Each measurement runs in a process of its own; rounds alternate between all of them. ``--other FOLDER`` measures another
form of the package as well, such as an unpacked compiled wheel, and alternates between the two.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import spex_shards
from spex_shards.checking.conformance import compare
from spex_shards.domain.lts import LTS
from spex_shards.domain.transition import INTERNAL

RESULTS = Path(__file__).parent / "results"
GENERATOR = Path(__file__).resolve().parents[2] / "shared" / "bisim" / "gen.py"
KINDS = ("equivalent", "broken")
REFERENCE = {
    "random": (9.6, 11.3),
    "grid": (8.9, 9.9),
    "sparse_tau": (4.9, 6.0),
    "tauchain": (18.4, 23.5),
    "taulong": (2.1, 2.3),
    "tauclique": (1.3, 1.3),
    "tauring": (5.7, 5.9),
    "tauladder": (6.4, 7.0),
    "tauinherit": (3.8, 3.1),
    "fanout": (4.1, 5.2),
    "hubchain": (2.7, 2.9),
    "chain": (5.6, 6.0),
    "fibonacci": (28, 34),
    "debruijn": (22, 18),
}
"""Seconds of mCRL2's ltscompare on the pairs of 1,000,000 steps, from ../shared/bisim/README.md."""


def generator() -> Any:
    """Load the generator, which lies beside the project."""
    spec = importlib.util.spec_from_file_location("gen", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def system(raw: tuple[Any, ...]) -> LTS:
    """Return a generated system as an `LTS`."""
    _, initial, sources, labels, targets, names = raw
    actions = [INTERNAL if name == "tau" else name for name in names]
    return LTS(
        int(initial), zip(sources.tolist(), (actions[n] for n in labels.tolist()), targets.tolist(), strict=True)
    )


def memory(field: str) -> float:
    """Return a memory figure of this process in MiB: VmRSS (now) or VmHWM (the maximum since `forget`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def one(family: str, size: int, kind: str, *, explain: bool) -> dict[str, Any]:
    """Measure one comparison in this process."""
    generate = generator().large
    spec, equivalent, broken = generate(family, size, 1)
    impl = system(equivalent if kind == "equivalent" else broken)
    spec = system(spec)
    del equivalent, broken
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    wall, cpu = time.perf_counter(), time.process_time()
    result = compare(impl, spec)
    decided = time.process_time() - cpu
    if explain:
        _ = result.explanation
    else:
        _ = result.verdict
    measured: dict[str, Any] = {
        "compiled": spex_shards.compiled,
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "deciding_cpu_s": decided,
        "peak_above_input_mib": memory("VmHWM") - before,
        "steps": len(impl.transitions) + len(spec.transitions),
    }
    return measured | {"equivalent": result.equivalent, "verdict": result.verdict, "decided": result.decided}


def in_a_process(family: str, size: int, kind: str, *, explain: bool, folder: Path | None = None) -> dict[str, Any]:
    """Measure one comparison in a process of its own, with the package in a folder, or else this one."""
    arguments = [sys.executable, "-m", "benchmarks.checker", "--one", family, str(size), kind]
    # The working directory comes first where modules are searched.
    place = {} if folder is None else {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(
        [*arguments, *(["--explain"] if explain else [])],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | place,
    )
    return json.loads(done.stdout) if done.returncode == 0 else {"failed": done.returncode}


def median(values: list[Any]) -> Any:
    """Return the median of some numbers; the only value if they are no numbers, and all of them if they differ."""
    if isinstance(values[0], str | bool | None):
        return values[0] if len(set(values)) == 1 else values
    return round(statistics.median(values), 3)


def exponent(points: dict[int, float]) -> float | None:
    """Fit seconds = c * steps ** exponent."""
    if len(points) < 2:
        return None
    x, y = [math.log(steps) for steps in points], [math.log(max(seconds, 1e-6)) for seconds in points.values()]
    return round(statistics.linear_regression(x, y).slope, 2)


def measure(
    sizes: list[int], rounds: int, families: list[str], kinds: list[str], *, explain: bool, other: Path | None = None
) -> list[dict[str, Any]]:
    """Return all figures: medians over rounds; those of the other form of the package second."""
    forms = (None,) if other is None else (None, other)
    runs: list[dict[tuple[str, str, int], list[dict[str, Any]]]] = [defaultdict(list) for _ in forms]
    for size in sizes:
        for number in range(rounds):
            for family in families:
                for kind in ("broken",) if explain else kinds:
                    for folder, of_form in zip(forms, runs, strict=True):
                        last = in_a_process(family, size, kind, explain=explain, folder=folder)
                        of_form[family, kind, size].append(last)
                        print(
                            f"{size:,}: round {number + 1} of {rounds}: {family}, {kind}: {last}",
                            file=sys.stderr,
                            flush=True,
                        )
    return [_medians(of_form) for of_form in runs]


def _medians(runs: dict[tuple[str, str, int], list[dict[str, Any]]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for (family, kind, size), all_runs in runs.items():
        good = [run for run in all_runs if "failed" not in run]
        medians = {key: median([run[key] for run in good]) for key in good[0]} if good else {}
        found.setdefault(family, {}).setdefault(kind, {})[str(size)] = medians | {"runs": len(good)}
    for kinds in found.values():
        for by_size in kinds.values():
            points = {entry["steps"]: entry["cpu_s"] for entry in by_size.values() if "steps" in entry}
            by_size["exponent"] = exponent(points)
    return found


def against_reference(_folder: Path, size: int) -> dict[str, float]:
    """Return the processor time of every pair of `REFERENCE`, and how many times the reference's it is."""
    figures: dict[str, float] = {}
    for family, reference in REFERENCE.items():
        for kind, seconds in zip(KINDS, reference, strict=True):
            found = in_a_process(family, size, kind, explain=False)
            if "failed" in found:
                raise RuntimeError(f"the pair {family}, {kind} failed: {found['failed']}")
            figures[f"{family}, {kind}: s"] = found["cpu_s"]
            figures[f"{family}, {kind}: ratio"] = found["cpu_s"] / seconds
            print(
                f"{family}, {kind}: {found['cpu_s']:.1f} s, {found['cpu_s'] / seconds:.2f}", file=sys.stderr, flush=True
            )
    return figures | {"worst_ratio": max(value for name, value in figures.items() if name.endswith("ratio"))}


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw processor time against size, one line per family."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        print("no plot: matplotlib is not installed", file=sys.stderr)
        return
    figure, axes = plt.subplots(1, 2, figsize=(13, 5.5), sharey=True)
    for axis, kind in zip(axes, KINDS, strict=True):
        for place, (family, kinds) in enumerate(result["families"].items()):
            entries = [entry for size, entry in kinds[kind].items() if size != "exponent" and "steps" in entry]
            axis.loglog(
                [entry["steps"] for entry in entries],
                [entry["cpu_s"] for entry in entries],
                marker="o",
                markersize=3,
                label=f"{family} ({kinds[kind]['exponent']})",
                linestyle="-" if place < 10 else "--",
            )
        axis.set_title(f"{kind} pairs (growth exponent)")
        axis.set_xlabel("transitions of both systems")
        axis.legend(fontsize=7)
        axis.grid(visible=True, alpha=0.3)
    axes[0].set_ylabel("processor time, s")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Parse the arguments, measure, write and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checker", description=__doc__)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="steps of the specification"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--families", nargs="+", default=sorted(REFERENCE))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="which pairs are compared")
    parser.add_argument("--explain", action="store_true", help="explain the broken pairs, not only compare")
    parser.add_argument("--other", type=Path, help="a folder with another form of the package, to alternate with")
    parser.add_argument("--output", type=Path, default=RESULTS / "checker.json")
    parser.add_argument("--one", nargs=3, metavar=("FAMILY", "SIZE", "KIND"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not GENERATOR.exists():
        sys.exit(f"the generator is not there: {GENERATOR}")
    if arguments.one:
        family, size, kind = arguments.one
        print(json.dumps(one(family, int(size), kind, explain=arguments.explain)))
        return
    families, *others = measure(
        arguments.sizes,
        arguments.rounds,
        arguments.families,
        arguments.kinds,
        explain=arguments.explain,
        other=arguments.other,
    )
    result = {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "method": "a process for each comparison, rounds alternate, medians; the making of the input is not counted",
        "reference_s_at_1000000": {family: dict(zip(KINDS, pair, strict=True)) for family, pair in REFERENCE.items()},
        "families": families,
        "families_of_the_other_form": others[0] if others else None,
    }
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    if not arguments.explain and len(arguments.kinds) == len(KINDS):
        plot(result, arguments.output.with_suffix(".png"))


if __name__ == "__main__":
    main()
