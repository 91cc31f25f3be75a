"""Attack all lines of all calls, or all instructions of some."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from .attack import ALL_CALLS, MODES, attack
from .load import KINDS


def main() -> None:
    """Attack, and print what was done."""
    parser = argparse.ArgumentParser(prog="python -m tests.programs.injection", description=__doc__)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--calls", default=",".join(ALL_CALLS))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--stride", type=int, default=1, help="only every n-th place")
    parser.add_argument("--opcodes", action="store_true", help="at instructions of the interpreter, not at lines")
    given = parser.parse_args()
    total = 0
    for kind in given.kinds.split(","):
        for mode in given.modes.split(","):
            began = time.monotonic()
            stride = given.stride * (10 if mode == "close" else 1)  # a manager is started after each
            with tempfile.TemporaryDirectory() as folder:
                calls = given.calls.split(",")
                places = attack(kind, calls, [mode], Path(folder), stride=stride, opcodes=given.opcodes)
            total += places
            print(f"{kind:12} {mode:14} {places:7} places {time.monotonic() - began:8.1f} s", flush=True)
    print(f"{total} places, nothing lost, nothing twice, nothing unreadable, no hang")


if __name__ == "__main__":
    main()
