"""Watches shards while they run: tells what has changed since the last look, at the cost of one `stats` call a look."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..domain.difference import shown
from ..errors import ShardDown, SpexError
from ..manager.base import InstanceManager
from ..runtime.shard_info import ShardInfo, ShardStatus


class News(NamedTuple):
    """Something that has happened: the name of the event, its level, and its facts."""

    event: str
    level: str
    facts: dict[str, Any]


class Watch:
    """Looks at a manager's shards and deviations.

    Args:
        manager: The manager.
        counts: Whether to look at counters and deviations as well, which every shard must answer for.

    Attributes:
        shards: The shards at the last look.
        stats: The counters of each shard at the last look; empty while a shard cannot answer.
        round_trip: Seconds until the slowest shard had answered then; None while one cannot answer.
    """

    def __init__(self, manager: InstanceManager, *, counts: bool = True) -> None:
        self._manager = manager
        self._counts = counts
        self.shards: list[ShardInfo] = manager.shards()
        self.stats: list[dict[str, Any]] = []
        self.round_trip: float | None = None
        self._counted: dict[int, int] = {}
        self._known: dict[tuple[str, str], dict[str, Any]] | None = None
        try:
            self._known = self._deviations() if self._ready else None
        except SpexError:
            pass  # it died just now

    @property
    def _ready(self) -> bool:
        return self._counts and all(shard.status is ShardStatus.READY for shard in self.shards)

    def look(self) -> Iterator[News]:
        """Return what has changed since the last look: shards, and deviations that were seen (again).

        Raises:
            ShardDown: No supervisor answers.
        """
        before, self.shards = self.shards, self._manager.shards()
        for old, new in zip(before, self.shards, strict=True):
            if old != new:
                yield News(*_named(old, new), of_shard(new))
        self.stats, self.round_trip = [], None
        if not self._ready:
            return
        try:
            began = time.perf_counter()
            self.stats = self._manager.stats()
            self.round_trip = time.perf_counter() - began
            yield from self._new_deviations()
        except ShardDown:
            return  # it died just now: the next look says so
        except SpexError as error:
            yield News("unreadable", "warning", {"message": f"the shards' counters cannot be read: {error}"})

    def _new_deviations(self) -> Iterator[News]:
        counted = {report["shard"]: report.get("deviations", 0) for report in self.stats}
        if counted == self._counted:
            return  # so a look reads deviations only when there is a new one
        self._counted = counted
        before, self._known = self._known, self._deviations()
        if before is None:
            return  # these may be old ones
        for key, plain in self._known.items():
            if plain["count"] != before.get(key, {"count": 0})["count"]:
                yield News("deviation", "warning", plain)

    def _deviations(self) -> dict[tuple[str, str], dict[str, Any]]:
        found = {}
        for one in self._manager.deviations():
            plain = {
                "specification": one.specification,
                "transition": list(one.transition),
                "verdict": one.verdict.value,
                "accepted": one.accepted,
                "count": one.count,
                "first_seen": one.first_seen.isoformat(),
                "last_seen": one.last_seen.isoformat(),
            }
            found[one.specification, shown(one.transition)] = plain
        return found


def of_shard(shard: ShardInfo) -> dict[str, Any]:
    """Return a shard's status as plain values."""
    return {
        "shard": shard.index,
        "status": str(shard.status),
        "worker": shard.pid,
        "restarts": shard.restarts,
        "last_exit": shard.last_exit,
    }


def _named(old: ShardInfo, new: ShardInfo) -> tuple[str, str]:
    if new.status is ShardStatus.FAILED:
        return "shard_failed", "error"
    if new.restarts > old.restarts and new.status is ShardStatus.READY:
        return "shard_restarted", "warning"
    return ("shard_ready", "info") if new.status is ShardStatus.READY else ("shard_down", "warning")
