"""Run all targets, in as many processes as there are processors, and print a table.

python -m tests.programs.fuzz --inputs 5000000 --seed 1
"""

from __future__ import annotations

import argparse
import sys
from math import ceil
from pathlib import Path

from .engine import Result, has_atheris, run_all
from .targets import TARGETS


def main() -> int:
    """Fuzz; return 0 if nothing was found, 1 if something was."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.fuzz", description="Fuzz everything that reads bytes."
    )
    parser.add_argument("--inputs", type=int, default=5_000_000, help="in all, over all targets (default: 5,000,000)")
    parser.add_argument("--seed", type=int, default=1, help="what all choices follow from (default: 1)")
    parser.add_argument("--jobs", type=int, default=2, help="targets at the same time (default: 2)")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one; may be repeated")
    parser.add_argument(
        "--engine",
        choices=("auto", "atheris", "mutations"),
        default="auto",
        help="atheris follows the coverage, mutations repeats with its seed (default: atheris if it is installed)",
    )
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"), help="folder for inputs that fail")
    options = parser.parse_args()
    engine = options.engine
    if engine == "auto":
        engine = "atheris" if has_atheris() else "mutations"
    names = options.target or list(TARGETS)
    whole = sum(TARGETS[name].share for name in names)
    inputs = {name: ceil(options.inputs * TARGETS[name].share / whole) for name in names}
    print(f"{sum(inputs.values()):,} inputs, {len(names)} targets, engine {engine}, seed {options.seed}", flush=True)
    results = run_all(inputs, options.seed, engine, options.jobs)
    print(table(results))
    return report(results, options.found)


def table(results: list[Result]) -> str:
    """Return the results as a table in Markdown."""
    lines = [
        "| target | inputs | refused cleanly | accepted | failures | seconds | slowest, ms | peak memory, MB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    total = Result("together", 0)
    for r in results:
        lines.append(_line(r))
        total.inputs += r.inputs
        total.refused += r.refused
        total.accepted += r.accepted
        total.failures.update({f"{r.target}: {place}": data for place, data in r.failures.items()})
        total.seconds += r.seconds
        total.slowest = max(total.slowest, r.slowest)
        total.peak_mb = max(total.peak_mb, r.peak_mb)
    return "\n".join([*lines, _line(total)])


def _line(r: Result) -> str:
    return (
        f"| {r.target} | {r.inputs:,} | {r.refused:,} | {r.accepted:,} | {len(r.failures)} "
        f"| {r.seconds:.1f} | {r.slowest * 1000:.0f} | {r.peak_mb:.0f} |"
    )


def report(results: list[Result], folder: Path) -> int:
    """Write the failures down; return the exit code."""
    code = 0
    for result in results:
        for number, (place, data) in enumerate(result.failures.items()):
            folder.mkdir(exist_ok=True)
            path = folder / f"{result.target}-{number}"
            path.write_bytes(data)
            print(f"\n{result.target}: {path}\n{place}", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
