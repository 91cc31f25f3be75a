"""Reads the journals of the applications, and compares them with the store."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

Key = tuple[str, int]


class Books:
    """The content of all applications' journals.

    Attributes:
        issued: Instance → how many steps were requested.
        acknowledged: Instance → how many of them must be there at least, if no post was refused.
        told: Instance → the steps whose own call returned.
        flushed: Instance → how many of its first steps were applied when `flush` or `close` returned.
        refused: Instance → the steps that were not applied, according to their calls.
    """

    def __init__(self, folder: Path) -> None:
        self.issued: Counter[Key] = Counter()
        self.acknowledged: dict[Key, int] = {}
        self.told: defaultdict[Key, set[int]] = defaultdict(set)
        self.flushed: dict[Key, int] = {}
        self.refused: defaultdict[Key, set[int]] = defaultdict(set)
        self.timed: set[str] = set()
        self.reported: Counter[str] = Counter()
        self.uncertain: Counter[str] = Counter()
        for path in folder.glob("*.journal"):
            for line in path.read_text().splitlines():
                self._read(path.stem, line.split())

    def _read(self, name: str, words: list[str]) -> None:
        kind = words[0]
        if kind == "i":
            self.issued[name, int(words[1])] = int(words[2]) + 1
        elif kind in ("a", "f"):
            key, step = (name, int(words[1])), int(words[2])
            self.acknowledged[key] = max(self.acknowledged.get(key, 0), step + 1)
            if kind == "a":
                self.told[key].add(step)
            else:
                self.flushed[key] = max(self.flushed.get(key, 0), step + 1)
        elif kind == "n":
            self.refused[name, int(words[1])].add(int(words[2]))
        elif kind == "t":
            self.timed.add(words[1])
        elif kind == "r":
            self.reported[words[1]] += 1
        elif kind == "x":
            self.uncertain[words[1]] += 1

    def balance(self, stored: dict[Key, list[str]], *, gaps: bool) -> Counter[str]:
        """Compare the journals with the store; return what is wrong.

        Args:
            stored: Instance → its states.
            gaps: Whether a post may have been refused while later posts were applied.
        """
        found = Counter({"lost": 0, "doubled or out of order": 0, "refused and there": 0, "posts not kept": 0})
        for key, issued in self.issued.items():
            steps = [int(state[1:]) if state != "start" else 0 for state in stored.get(key, [])]
            there = set(steps)
            in_order = steps == sorted(there) and all(step < issued for step in steps)
            missing = set(range(max(steps, default=-1))) - there - self.refused[key]
            found["lost"] += len((self.told[key] | set(range(self.flushed.get(key, 0)))) - there)
            found["doubled or out of order"] += not in_order or (bool(missing) and not gaps)
            found["refused and there"] += len(there & self.refused[key])
            found["posts not kept"] += len(missing)
        found["of nobody"] = len(stored.keys() - self.issued.keys())
        return found
