"""What a run was made on and with, and how to read it."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "lmdb", "msgpack", "xxhash", "mypy", "redis", "hiredis", "diskcache", "psycopg", "ray", "multiprocess",
)  # fmt: skip
METHOD = (
    "Each measure runs in a process of its own, with a new folder. All of them take turns in each round, in another "
    "order. A figure is the median over the rounds; a ratio is taken within a round, and its median is given with the "
    "least and the greatest. Percentiles are of all calls of a round, checkpoints included. Processor time is that of "
    "all processes of a measure, clients and servers, while it works. Processes are placed by the scheduler, unless a "
    "figure says where they are."
)
BIAS = (
    "The library's authors wrote the peers' parts: with the best client and the fastest settings that keep what the "
    "library keeps. SQLite, diskcache and the loop work in the calling process. Ray and multiprocess keep nothing by "
    "themselves, so SQLite is behind them. Nothing of a peer is restarted, and no step of it is applied exactly once."
)


def machine() -> dict[str, Any]:
    """Return what the run is made on and with."""
    models = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
              if line.startswith("model name")]  # fmt: skip
    kind = subprocess.run(["stat", "-f", "-c", "%T", tempfile.gettempdir()], capture_output=True, text=True, check=True)
    return {
        "processor": models[0] if models else platform.machine(), "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": platform.release(), "file_system": kind.stdout.strip(), "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version, **_servers(), "packages": {name: _version(name) for name in PACKAGES},
    }  # fmt: skip


def revision() -> str:
    """Return the commit that is measured, with a mark if files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _servers() -> dict[str, str | None]:
    from .peers.postgres import FOLDERS

    found: dict[str, str | None] = {}
    postgres = shutil.which("postgres") or shutil.which("postgres", path=":".join(FOLDERS) or "/nowhere")
    for name, path in (("redis_server", shutil.which("redis-server")), ("postgresql", postgres)):
        text = path and subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
        words = [word.removeprefix("v=") for word in (text or "").split()]
        found[name] = next((word for word in words if word[:1].isdigit()), None)
    return found
