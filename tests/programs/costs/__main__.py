"""Print what transitions cost in instructions and system calls: ``python -m tests.programs.costs``.

``--record`` keeps the counts in tests/data/costs.json. A commit that makes transitions dearer on purpose records them
again, and says why.
"""

from __future__ import annotations

import argparse
import sys

from .counting import grown, measured, platform_key, record, recorded


def main() -> None:
    """Print all counts beside the recorded ones; exit with 1 if one has grown too much."""
    parser = argparse.ArgumentParser(prog="python -m tests.programs.costs", description=__doc__)
    parser.add_argument("--record", action="store_true", help="keep the counts for this platform")
    given = parser.parse_args()
    counts, before = measured(), recorded() or {}
    print(platform_key())
    for name, count in counts.items():
        change = f"{count / before[name] - 1:+8.1%} of {before[name]:,.10g}" if before.get(name) else ""
        print(f"{name:40} {count:>12,.10g} {change}")
    if given.record:
        record(counts)
    elif too_much := grown(counts, before):
        sys.exit("more than 5 % dearer than recorded:\n" + "\n".join(too_much))


if __name__ == "__main__":
    main()
