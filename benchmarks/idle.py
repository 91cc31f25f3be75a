"""What the package costs before it does anything: its import, the start of its shards, and their memory."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from .lights import sharded
from .processes import resident_mib
from .timing import Figures

TIMES = 3


def importing(_folder: Path) -> Figures:
    """Return what importing the package adds to the start of an interpreter; the least of a few tries."""

    def run(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - started

    with_it, without = (min(run(code) for _ in range(TIMES)) for code in ("import spex_shards", "pass"))
    return {"import_ms": (with_it - without) * 1e3}


def starting(folder: Path) -> Figures:
    """Return the time from a manager's construction until four shards have started, and the memory of an idle one."""
    begun = time.perf_counter()
    with sharded(folder, 4, "process") as manager:
        started = time.perf_counter() - begun
        workers = [resident_mib(shard.pid or 0) for shard in manager.shards()]
        closing = time.perf_counter()
    return {
        "start_ms": started * 1e3, "end_ms": (time.perf_counter() - closing) * 1e3,
        "worker_mib": sum(workers) / len(workers), "client_mib": resident_mib("self"),
    }  # fmt: skip
