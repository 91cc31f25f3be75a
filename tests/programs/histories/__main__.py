"""``python -m tests.programs.histories --faults 60 --seed 7``: clients, faults, a verdict; exit 1 at a violation.

The seed replays the plan of the faults, and the choices of clients; the times are the machine's.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from .breakages import BREAKAGES
from .clustered import Clustered
from .deployment import Deployment
from .history import Violation
from .local import Local
from .run import Row, Run, plan

DEPLOYMENTS: Final[dict[str, Callable[..., Deployment]]] = {
    "local": Local,
    "replicated": partial(Local, replicated=True),
    "cluster": Clustered,
    "replicated-cluster": partial(Clustered, replicated=True),
}
"""Name → what creates the deployment."""
STUCK: Final = "everything goes on"
"""The rule that a round breaks in which clients make no progress; the run ends there."""
_COLUMNS: Final = (
    "times",
    "longest pause",
    "acknowledged",
    "refused",
    "unknown",
    "stored",
    "reads",
    "lost",
    "violations",
)


def carry_out(
    make: Callable[[], Deployment], faults: Sequence[str], count: int, seed: int, say: Callable[[Row, int], Any]
) -> list[Row]:
    """Run a deployment through a number of faults; return what came of each round, and of the last look.

    Args:
        make: Creates the deployment.
        faults: Names of faults; none: all that the deployment has.
        count: How many faults are made.
        seed: Decides which.
        say: Called with each row and its number.
    """
    deployment = make()
    if unknown := set(faults) - deployment.faults.keys():
        raise SystemExit(f"the deployment has no faults {sorted(unknown)}; it has {sorted(deployment.faults)}")
    rows: list[Row] = []
    with Run(deployment, seed) as run:
        for number, name in enumerate(plan(list(faults) or list(deployment.faults), count, seed), 1):
            try:
                rows.append(run.round(name))
            except (pytest.fail.Exception, AssertionError, RuntimeError) as error:  # a wait in vain, something's end
                rows.append(Row(name, violations=[Violation(STUCK, name, str(error))]))
            say(rows[-1], number)
            if rows[-1].violations and rows[-1].violations[0].rule == STUCK:
                break
        else:
            rows.append(run.last_look())
    for name, times in deployment.remarks().items():
        print(f"  {name}: {times:,}")
    return rows


def table(rows: Sequence[Row]) -> list[list[str]]:
    """Return the lines of the table: a fault in each."""
    lines = []
    for name in sorted({row.fault for row in rows}):
        of_it = [row for row in rows if row.fault == name]
        total = {
            column: sum(getattr(row, column) for row in of_it)
            for column in ("acknowledged", "refused", "unknown", "stored", "reads", "lost")
        }
        pause = f"{max(row.longest_pause for row in of_it):.1f} s"
        counts = [f"{total[column]:,}" for column in total]
        lines.append([name, str(len(of_it)), pause, *counts, str(sum(len(row.violations) for row in of_it))])
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.programs.histories", description=__doc__)
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument(
        "--deployment", default="local,replicated",
        help=f"{', '.join(DEPLOYMENTS)}, or MODULE:NAME of a function that creates one; several: the faults are shared",
    )  # fmt: skip
    parser.add_argument("--only", action="append", default=[], metavar="FAULT", help="only this fault; may be repeated")
    parser.add_argument("--break", dest="breakage", choices=BREAKAGES, default="", help="break the shards on purpose")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    options = parser.parse_args(arguments)
    began, rows = time.monotonic(), list[Row]()
    names = options.deployment.split(",")
    for place, name in enumerate(names):
        make = partial(_maker(name), breakage=options.breakage) if options.breakage else _maker(name)
        count = options.faults // len(names) + (place < options.faults % len(names))
        print(f"{name}: {count} faults, seed {options.seed}", flush=True)
        rows += carry_out(make, options.only, count, options.seed, partial(_say, count))
    for line in [["fault", *_COLUMNS], *table(rows)]:
        print(f"{line[0]:42}", *(f"{cell:>13}" for cell in line[1:]))
    violations = [one for row in rows for one in row.violations]
    for one in violations[:20]:
        print(f"{one.rule}: {one.where}: {one.text}")
    print(f"{len(violations)} violations in {time.monotonic() - began:.0f} s (seed {options.seed})")
    if options.json is not None:
        options.json.write_text(json.dumps({"seed": options.seed, "rows": [row.plain() for row in rows]}, indent=1))
    return int(bool(violations))


def _maker(name: str) -> Callable[..., Deployment]:
    if name in DEPLOYMENTS:
        return DEPLOYMENTS[name]
    module, _, attribute = name.partition(":")
    found: Callable[..., Deployment] = getattr(importlib.import_module(module), attribute)
    return found


def _say(count: int, row: Row, number: int) -> None:
    text = f"{number}/{count} {row.fault}: pause {row.longest_pause:.1f} s, {row.acknowledged:,} acknowledged, "
    text += f"{row.unknown:,} unknown, {row.stored:,} stored, {row.reads:,} reads, {len(row.violations)} violations"
    print(text, flush=True)
    for one in row.violations[:3]:
        print(f"    {one.rule}: {one.where}: {one.text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    for _number in (signal.SIGINT, signal.SIGTERM):  # both stop what was started; behind a shell's & SIGINT is ignored
        signal.signal(_number, signal.default_int_handler)
    raise SystemExit(main())
