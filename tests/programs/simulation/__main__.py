"""Run schedules: ``python -m tests.programs.simulation --schedules 100000``, or one: ``--seed 17 --schedules 1``."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from .breakages import BREAKAGES, OF_TWO_OWNERS, broken
from .two_owners import TwoOwners
from .world import World, run, simulated

_AT_ONCE = 200


def carry_out(
    first: int, count: int, kind: Callable[[int], World] = World
) -> tuple[Counter[str], list[tuple[int, str]]]:
    """Run the schedules of some seeds; return what happened, and the failures."""
    happened: Counter[str] = Counter()
    failed: list[tuple[int, str]] = []
    with simulated() as worlds:
        for seed in range(first, first + count):
            try:
                happened.update(run(worlds, seed, kind).counts)
            except Exception as error:
                where = "".join(traceback.format_tb(error.__traceback__)[-4:])
                failed.append((seed, f"{type(error).__name__}: {error}\n{where}"))
    return happened, failed


def search(name: str, most: int, kind: Callable[[int], World] = World) -> tuple[int, str] | None:
    """Return the first seed that detects a breakage, and the failure's text."""
    with broken(name), simulated() as worlds:
        for seed in range(most):
            try:
                run(worlds, seed, kind)
            except Exception as error:
                return seed, f"{type(error).__name__}: {error}"
    return None


def main() -> int:
    """Run the command line; return 1 if something was found (or, with --break, was not found)."""
    parser = argparse.ArgumentParser(prog="python -m tests.programs.simulation", description=__doc__)
    parser.add_argument("--schedules", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed; each schedule has the next one")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--postgres", action="store_true", help="with two owners of a shard in PostgreSQL")
    parser.add_argument("--break", dest="breaks", action="store_true", help="break the library, and find it")
    options = parser.parse_args()
    options.kind = TwoOwners if options.postgres else World
    return find_breakages(options.schedules, options.kind) if options.breaks else explore(options)


def find_breakages(most: int, kind: Callable[[int], World]) -> int:
    """Print a table of the breakages: after how many schedules each was found, and by which check."""
    missed = 0
    for name, (what, _) in (OF_TWO_OWNERS if kind is TwoOwners else BREAKAGES).items():
        found = search(name, most, kind)
        missed += found is None
        words = "NOT FOUND" if found is None else f"after {found[0] + 1:4} schedules: {found[1][:90]}"
        print(f"{name:30} {what:68} {words}", flush=True)
    return int(missed > 0)


def explore(options: argparse.Namespace) -> int:
    """Run the schedules in several processes, and print what happened."""
    started, done = time.monotonic(), 0
    happened: Counter[str] = Counter()
    failed: list[tuple[int, str]] = []
    firsts = range(options.seed, options.seed + options.schedules, _AT_ONCE)
    counts = [min(_AT_ONCE, options.seed + options.schedules - first) for first in firsts]
    with ProcessPoolExecutor(options.processes) as pool:
        for more, wrong in pool.map(carry_out, firsts, counts, repeat(options.kind)):
            happened += more
            failed += wrong
            done += _AT_ONCE
            for seed, text in wrong:
                again = f"python -m tests.programs.simulation --seed {seed} --schedules 1"
                again += " --postgres" if options.postgres else ""
                print(f"seed {seed}: {text[:3000]}\n  again: {again}", flush=True)
            if sys.stderr.isatty():
                print(f"\r{min(done, options.schedules)} of {options.schedules} schedules", end="", file=sys.stderr)
            elif done % 5_000 == 0:
                print(f"{done:,} schedules, {len(failed)} failed", flush=True)
    seconds = time.monotonic() - started
    facts = ", ".join(f"{count:,} {name}" for name, count in sorted(happened.items()))
    print(f"{options.schedules:,} schedules in {seconds:.0f} s ({facts}): {len(failed)} failed")
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
