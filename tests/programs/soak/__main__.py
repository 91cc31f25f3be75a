"""``python -m tests.programs.soak --hours H``: work, kill, restart, print the table; exit 1 if something is wrong."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from .harness import soak

FORBIDDEN = ("lost", "doubled or out of order", "of nobody", "findings of verify", "orphans")


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.programs.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--kill-every", type=float, default=3.0, help="seconds, about")
    parser.add_argument("--restart-every", type=float, default=60.0, help="seconds")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = soak(
            Path(folder), seconds=options.hours * 3600, seed=options.seed,
            kill_every=options.kill_every, restart_every=options.restart_every,
        )  # fmt: skip
    for name, value in run.result.items():
        print(f"{name:28} {value if isinstance(value, dict) else format(value, ',')}")
    flat = True
    print(f"{'median of the first and last quarter':42} first    last")
    for group, what, first, last, fine in run.samples.table():
        print(f"{group:20} {what:14} {first:12.1f} {last:7.1f} {'' if fine else 'NOT FLAT'}")
        flat &= fine
    for line in run.books.wrong[:20]:
        print(line)
    print(f"{'hours':28} {options.hours}  (seed {options.seed})")
    return int(not flat or any(run.result[name] for name in FORBIDDEN))


if __name__ == "__main__":
    raise SystemExit(main())
