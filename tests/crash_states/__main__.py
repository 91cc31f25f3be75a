"""The long form: ``python -m tests.crash_states``; 1 when an image of a mode that promises something is wrong."""

from __future__ import annotations

import argparse

from .explore import MODES, explore


def main() -> int:
    """Explore all modes, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash_states", description=__doc__)
    parser.add_argument("--count", type=int, default=400, help="requests of the load")
    parser.add_argument("--places", type=int, default=250, help="instants, with five images each")
    options = parser.parse_args()
    failed = 0
    for mode in MODES:
        table = explore(mode, count=options.count, places=options.places)
        wrong = sum(table.wrong.values())
        print(
            f"{mode:14} {table.events:6} events, {table.images:5} images, {wrong:5} wrong {dict(table.wrong)}",
            flush=True,
        )
        for example in table.examples.values():
            print(f"{'':14} for example {example[:300]}", flush=True)
        failed += wrong if mode != "unsynced LMDB" else 0
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
