"""The long form: ``python -m tests.programs.crash_states --images 1000``."""

from __future__ import annotations

import argparse

from .explore import explore
from .load import MODES

parser = argparse.ArgumentParser(prog="python -m tests.programs.crash_states")
parser.add_argument("--images", type=int, default=1000, help="for each mode")
parser.add_argument("--batches", type=int, default=240)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--mode", choices=MODES, action="append")
given = parser.parse_args()
for mode in given.mode or MODES:
    found = explore(mode, given.images, given.batches, given.seed)
    print(
        f"{mode}: {found.operations} operations, {sum(found.images.values())} images: {dict(found.outcomes)}",
        flush=True,
    )
    print(*(f"  {example}" for example in found.examples), sep="\n", flush=True)
