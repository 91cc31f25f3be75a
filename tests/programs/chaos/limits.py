"""Takes memory or processes away from a running process, and gives them back a moment later."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.support.processes import descendants

KINDS = {"memory": resource.RLIMIT_AS, "processes": resource.RLIMIT_NPROC}
SPARE = (0, 1 << 18, 1 << 20, 8 << 20)
"""So many bytes of address space are left to a process beyond what it has."""
_FORK = "import os, resource; resource.setrlimit(resource.RLIMIT_NPROC, (0, 0)); os.fork() or os._exit(0)"


def binds() -> bool:
    """Return whether the kernel enforces RLIMIT_NPROC for this user; it does not for root."""
    return subprocess.run([sys.executable, "-c", _FORK], stderr=subprocess.DEVNULL, check=False).returncode != 0


class Limits:
    """Limits a resource of one process at a time.

    Attributes:
        counts: (role, resource) → how often it was limited.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._kinds = [kind for kind in KINDS if kind != "processes" or binds()]
        self._before = {kind: resource.getrlimit(what) for kind, what in KINDS.items()}
        self._until = 0.0
        self._limited: tuple[str, int] | None = None
        self.counts: Counter[str] = Counter()

    def impose(self, role: str, pid: int) -> None:
        """Limit a process for up to 1.5 seconds, unless another process is limited now."""
        if self._limited is not None:
            return
        kind = self._random.choice(self._kinds)
        with suppress(OSError):  # it may be ending just now
            most = 0 if kind == "processes" else _address_space(pid) + self._random.choice(SPARE)
            resource.prlimit(pid, KINDS[kind], (most, self._before[kind][1]))
            self._limited = kind, pid
            self._until = time.monotonic() + self._random.uniform(0.1, 1.5)
            self.counts[f"{role}: {kind}"] += 1

    def lift(self, *, at_once: bool = False) -> None:
        """Lift all limits whose time has come, also those of processes that the limited process has started."""
        if self._limited is None or (not at_once and time.monotonic() < self._until):
            return
        kind, pid = self._limited
        self._limited = None
        for one in (pid, *descendants()):
            with suppress(OSError):
                resource.prlimit(one, KINDS[kind], self._before[kind])

    def table(self) -> dict[str, str | int]:
        """Return which limits were imposed, and which could not be."""
        missing = sorted(KINDS.keys() - set(self._kinds))
        who = "root" if os.geteuid() == 0 else "this user"
        return {**self.counts, **dict.fromkeys(missing, f"skipped, as the limit does not bind {who}")}


def _address_space(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
