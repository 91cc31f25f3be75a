"""Helpers to wait for events with a deadline, and to look at processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex


def wait_until(condition: Callable[[], Any], what: str | Callable[[], str], within: float = 60.0) -> Any:
    """Return the first true value of `condition`; fail if there is none by the deadline.

    `what` says what is waited for; if it is a function, it is called at the deadline and can say how things are then.
    """
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"waited {within} s in vain until {what() if callable(what) else what}")
        time.sleep(0.005)


def children() -> set[int]:
    """Return the process ids of this process's children, zombies included."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found |= {int(pid) for pid in (task / "children").read_text().split()}
        except OSError:
            continue
    return found


def descendants(pid: int | None = None) -> set[int]:
    """Return the process ids of everything below `pid` (this process by default)."""
    below: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            below.setdefault(parent, []).append(int(folder.name))
    found: set[int] = set()
    todo = [os.getpid() if pid is None else pid]
    while todo:
        for child in below.get(todo.pop(), []):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


def is_gone(pid: int) -> bool:
    """Return whether no process with that id runs (a zombie does not run)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def kill_worker(manager: spex.ShardedInstanceManager, index: int) -> int:
    """SIGKILL a shard's worker; return its process id once the process is gone."""

    def living() -> int:
        found = manager.shards()[index].pid  # the supervisor may not have seen yet that it is dead
        return found if found is not None and not is_gone(found) else 0

    pid = wait_until(living, f"shard {index} has a process")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_gone(pid), f"worker {pid} is gone")
    return int(pid)


@contextmanager
def traced(pid: int, output: Path, *rules: str) -> Iterator[None]:
    """Within a ``with`` block, let strace write a process's system calls to a file, or make them fail."""
    command = ["strace", "-f", "-p", str(pid), *(part for rule in rules for part in ("-e", rule)), "-o", str(output)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    assert "attached" in tracer.stderr.readline()
    try:
        yield
    finally:
        tracer.terminate()
        tracer.communicate(timeout=60)
