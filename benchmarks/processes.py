"""The processor time and memory of this process and of the processes below it."""

from __future__ import annotations

import os
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def processor_time() -> float:
    """Return the seconds of processor time of this process and of everything that it started, ended or not."""
    return time.process_time() + below(os.getpid()) + _of_reaped("self")


def below(pid: int) -> float:
    """Return the seconds of processor time of everything below a process that runs, with what those have reaped."""
    return sum(own(child) + _of_reaped(child) + below(child) for child in children(pid))


def own(pid: int) -> float:
    """Return the seconds of processor time of a process, to the nanosecond; 0 if it has ended."""
    try:
        tasks = [(task / "schedstat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return 0.0
    return sum(int(text.split()[0]) for text in tasks) / 1e9


def _of_reaped(pid: int | str) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[13]) + int(fields[14])) / TICKS


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that are not reaped yet."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except OSError:
        pass
    return found


def resident_mib(pid: int | str) -> float:
    """Return a process's resident memory, in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
