"""Samples of memory, descriptors, threads and disk, and whether they stay the same."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from statistics import median

PAGE = os.sysconf("SC_PAGE_SIZE")
ALLOWED = {"memory, MB": (1.25, 20), "descriptors": (1.25, 8), "threads": (1.25, 3), "disk, MB": (1.5, 16)}
"""By how much the last quarter's median may exceed the first one's: a factor and a constant."""


class Samples:
    """Series of (group, what) → values."""

    def __init__(self) -> None:
        self.series: dict[tuple[str, str], list[float]] = defaultdict(list)

    def take(self, groups: dict[str, list[int]], data: Path) -> None:
        """Sample the processes of each group (a median where there are several), and the directory."""
        for group, pids in groups.items():
            found = [sample for pid in pids if (sample := _of(pid)) is not None]
            for index, what in enumerate(("memory, MB", "descriptors", "threads")):
                if found:
                    self.series[group, what].append(median(sample[index] for sample in found))
        self.series["directory", "disk, MB"].append(_size(data) / 1e6)

    def table(self) -> list[tuple[str, str, float, float, bool]]:
        """Return for each series the medians of its first and last quarter, and whether it is flat."""
        rows = []
        for (group, what), values in sorted(self.series.items()):
            quarter = max(1, len(values) // 4)
            first, last = median(values[:quarter]), median(values[-quarter:])
            factor, more = ALLOWED[what]
            rows.append((group, what, first, last, last <= first * factor + more))
        return rows


def _of(pid: int) -> tuple[float, int, int] | None:
    folder = Path(f"/proc/{pid}")
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        return int(fields[21]) * PAGE / 1e6, len(list((folder / "fd").iterdir())), int(fields[17])
    except (OSError, IndexError):
        return None


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_blocks * 512
        except OSError:
            continue
    return total
