"""Looks at running shards, also while nobody serves them, and across servers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from ..errors import SpexError
from ..manager.base import InstanceManager
from ..runtime.shard_info import ShardInfo, ShardStatus
from .watching import News, Watch

ANSWER_WITHIN: Final = 2.0
"""Seconds to wait for an answer of a server that may be gone."""
MOST_EVENTS: Final = 200
_BECAME: Final = {
    "shard_ready": "is ready",
    "shard_restarted": "was restarted",
    "shard_failed": "died too often and was given up",
    "shard_down": "is down",
}
OBSERVATIONS: Final = ("init", "transition")


@dataclass(frozen=True, slots=True)
class ShardRow:
    """What is shown of a shard. A rate is a second's; None: it is not known, as after a restart."""

    shard: int
    status: str
    pid: int | None
    restarts: int
    last_exit: str | None
    observations_per_second: float | None = None
    requests_per_second: float | None = None
    batch_size: float | None = None
    busy: float | None = None
    microseconds_per_request: float | None = None
    queue_depth: int | None = None
    deviations: int | None = None
    timeouts: int | None = None
    store_size: int | None = None


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that has happened: a time, and a line about it."""

    at: datetime
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class View:
    """What is shown at one moment.

    Attributes:
        place: The data directory, or the database of a cluster.
        rows: The shards; empty while nobody serves them.
        why: Why there are none; None: somebody serves them.
        round_trip: Seconds until the slowest shard had answered the newest question.
        events: What has happened, the newest last.
    """

    place: str
    rows: tuple[ShardRow, ...]
    why: str | None
    round_trip: float | None
    events: tuple[Happening, ...]


@dataclass(slots=True)
class _Counted:
    """The counters of a shard at the last look."""

    pid: int | None
    at: float
    report: dict[str, Any] = field(default_factory=dict)


class Source:
    """Attaches to served shards, and attaches again whenever it has to. It changes nothing there.

    Args:
        place: What is watched, as it is shown.
        attach: Returns a started manager that uses the shards, without serving them.
    """

    def __init__(self, place: str, attach: Callable[[], InstanceManager]) -> None:
        self._place, self._attach = place, attach
        self._manager: InstanceManager | None = None
        self._watch: Watch | None = None
        self._counted: dict[int, _Counted] = {}
        self._events: deque[Happening] = deque(maxlen=MOST_EVENTS)
        self._was_served: bool | None = None

    def attach(self) -> None:
        """Attach to the server.

        Raises:
            SpexError: Nobody serves the shards.
        """
        self._manager = self._attach()
        self._watch = Watch(self._manager)
        self._counted = {}

    def look(self) -> View:
        """Return what is to be shown now, at the cost of one question to each shard; attaches if that is necessary."""
        try:
            if self._watch is None:
                self.attach()
            assert self._watch is not None
            for change in self._watch.look():
                self.note(change.level, _told(change))
        except SpexError as error:
            self.detach()
            return self._view((), str(error), None)
        shards = self._watch.shards
        if all(shard.status is ShardStatus.STOPPED for shard in shards):
            return self._view((), "its server has stopped", None)
        reports = {report["shard"]: report for report in self._watch.stats}
        now = time.monotonic()
        rows = tuple(self._row(shard, reports.get(shard.index), now) for shard in shards)
        return self._view(rows, None, self._watch.round_trip)

    def note(self, level: str, text: str) -> None:
        """Add an event."""
        self._events.append(Happening(datetime.now(UTC), level, text))

    def detach(self) -> None:
        """Let go of the server."""
        manager, self._manager, self._watch = self._manager, None, None
        if manager is not None:
            manager.close()

    # ------------------------------------------------------------------ inside

    def _view(self, rows: tuple[ShardRow, ...], why: str | None, round_trip: float | None) -> View:
        served = why is None
        if served != self._was_served and (self._was_served is not None or not served):
            self.note("info" if served else "warning", "served again" if served else f"nobody serves it: {why}")
        self._was_served = served
        return View(self._place, rows, why, round_trip, tuple(self._events))

    def _row(self, shard: ShardInfo, report: dict[str, Any] | None, now: float) -> ShardRow:
        if report is None:
            return ShardRow(**_status(shard))
        before, self._counted[shard.index] = self._counted.get(shard.index), _Counted(shard.pid, now, report)
        known = before is not None and before.pid == shard.pid and now > before.at
        rates = _rates(before.report, report, now - before.at) if before is not None and known else {}
        return ShardRow(
            **_status(shard),
            queue_depth=report.get("queue_depth"),
            deviations=report.get("deviations"),
            timeouts=report.get("timeouts"),
            store_size=report.get("store_size"),
            **rates,
        )


def _status(shard: ShardInfo) -> dict[str, Any]:
    return {
        "shard": shard.index,
        "status": str(shard.status),
        "pid": shard.pid,
        "restarts": shard.restarts,
        "last_exit": shard.last_exit,
    }


def _rates(before: dict[str, Any], after: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return a shard's rates between two reports of one worker; without what `stats` itself has asked."""
    asked = {kind: count - before["requests"].get(kind, 0) for kind, count in after["requests"].items()}
    requests = sum(count for kind, count in asked.items() if kind != "stats")
    batches = after["batches"] - before["batches"] - asked.get("stats", 0)
    worked = after.get("processor_seconds", 0.0) - before.get("processor_seconds", 0.0)
    return {
        "observations_per_second": sum(asked.get(kind, 0) for kind in OBSERVATIONS) / seconds,
        "requests_per_second": requests / seconds,
        "batch_size": requests / batches if requests and batches > 0 else None,
        "busy": min(1.0, worked / seconds),
        "microseconds_per_request": 1e6 * worked / requests if requests else None,
    }


def _told(change: News) -> str:
    facts = change.facts
    if change.event == "deviation":
        source, action, target = facts["transition"]
        step = f"starts in {target}" if source is None else f"{source} --[{action}]-> {target}"
        accepted = ", accepted" if facts["accepted"] else ""
        times = "once" if facts["count"] == 1 else f"{facts['count']} times"
        return f"{facts['specification']}: {step}: {facts['verdict']}{accepted} ({times} so far)"
    if "shard" in facts:
        end = f": {facts['last_exit']}" if facts["last_exit"] and change.event != "shard_ready" else ""
        return f"shard {facts['shard']} {_BECAME[change.event]}{end}"
    return str(facts.get("message", change.event))
