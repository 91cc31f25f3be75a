"""``python -m tests.programs.chaos --kills 2000``: kill, compare, print a table; exit 1 after a loss or doubling."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from .harness import chaos

FORBIDDEN = (
    "lost", "doubled or out of order", "refused and there", "of nobody", "timed instances lost", "learned wrongly",
    "orphans",
)  # fmt: skip


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.programs.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        table = chaos(Path(folder), kills=options.kills, seed=options.seed)
    for name, value in table.items():
        print(f"{name:28} {value if isinstance(value, dict) else format(value, ',')}")
    print(f"{'seconds':28} {time.monotonic() - started:.0f}  (seed {options.seed})")
    return int(any(table[name] for name in FORBIDDEN))


if __name__ == "__main__":
    raise SystemExit(main())
