"""Finds out which process serves a data directory."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from spex_shards.runtime.holder import start_time
from tests.support.processes import descendants, is_gone, wait_until


def supervisor_of(data_dir: Path) -> int:
    """Return the process id of the supervisor that runs on a directory, once it has workers; 0: there is none."""
    try:
        holder: dict[str, Any] = json.loads((data_dir / "lock").read_text())
    except (OSError, ValueError):
        return 0
    pid, start = holder.get("owner") or (0, None)
    return int(pid) if pid and holder.get("workers") and start_time(pid) == start else 0


def server_of(data_dir: Path) -> int:
    """Return the process id of the process that has started the supervisor of a directory; 0: there is none."""
    supervisor = supervisor_of(data_dir)
    try:
        return int(Path(f"/proc/{supervisor}/stat").read_text().rpartition(")")[2].split()[1]) if supervisor else 0
    except (OSError, IndexError):
        return 0


def kill_supervisor(data_dir: Path) -> None:
    """Wait for a supervisor that has workers on a directory, and kill it; return when all of them are gone."""
    supervisor = wait_until(lambda: supervisor_of(data_dir), f"a supervisor runs on {data_dir}")
    everybody = [supervisor, *descendants(supervisor)]
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: all(map(is_gone, everybody)), "it and its workers are gone")
