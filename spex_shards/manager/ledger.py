"""Counts what became of observations that may not be kept, and logs that once per interval.

# Guarantees:
#
# * Nothing is dropped in silence: each observation is counted when its call returns, and what was not kept is in the
#   next record of the log, at the latest when the manager closes.
# * No log handler is called while a lock is held, and an exception of a log filter does not reach the program.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from .. import log_fields
from ..errors import (
    CallTimeout,
    DataDirError,
    InstanceError,
    ManagerClosed,
    ShardDown,
    ShardFailed,
    SpexError,
    TransitionError,
    code_of,
    show,
)
from ..runtime.client.call_site import call_site

logger: Final = logging.getLogger("spex_shards")
_all: weakref.WeakSet[Ledger] = weakref.WeakSet()
_LOST: Final = (CallTimeout, DataDirError, ManagerClosed, ShardDown, ShardFailed)
"""The errors that mean that no shard has applied an observation, or that nobody will know."""
_Last = tuple[tuple[str, Any] | None, Exception | None, str | None]
"""The observation (what, of which identifier), why it was not kept, and the place of the call."""


class Losses(NamedTuple):
    """What became of the observations of one process, in the modes ``"observe"`` and ``"warn"``.

    An observation is counted once as `kept`, `posted`, `late`, `lost` or `refused` when its call returns. All counts
    begin at 0 in a forked child.

    Attributes:
        kept: They were durable when their call returned. Deviations are kept as well.
        posted: They were sent by calls that do not wait. Those that were refused later are in `refused` as well.
        late: They were on their way when the wait ended (`observe_timeout`), and are applied when their shard goes on.
            Those that were refused later are in `refused` as well.
        lost: They were not sent, or were given up before they were applied.
        refused: Error class → how many observations could not be applied because of it.
        deviations: How many calls were answered with a deviation that the error handler did not accept. Calls that do
            not wait are not counted here; the error handler logs their deviations.
    """

    kept: int = 0
    posted: int = 0
    late: int = 0
    lost: int = 0
    refused: Mapping[str, int] = {}
    deviations: int = 0


class Ledger:
    """The counts of a manager.

    Args:
        interval: Seconds between two records of the log.

    Attributes:
        kept, posted: As in `Losses`.
        unreported: Whether something was not kept that the log does not tell yet.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self.reset()
        _all.add(self)

    def reset(self) -> None:
        """Begin at 0, as in a forked child."""
        # A signal handler may observe something in the middle of a call that holds the lock.
        self._lock = threading.RLock()
        # These two grow by one statement without a call, which other threads and signal handlers cannot cut in two.
        self.kept = self.posted = 0
        self._late = self._lost = self._deviations = 0
        self._refused: Counter[str] = Counter()
        self._pending: Counter[str] = Counter()
        self._last: _Last = (None, None, None)
        self._next_report = 0.0
        self.unreported = False

    def losses(self, failed: Mapping[type[SpexError], int]) -> Losses:
        """Return the counts.

        Args:
            failed: Error class → how many requests have failed that nobody waited for.
        """
        refused, deviations = Counter(self._refused), self._deviations
        for cls, count in failed.items():
            if issubclass(cls, TransitionError):
                deviations += count
            else:
                refused[code_of(cls)] += count
        return Losses(self.kept, self.posted, self._late, self._lost, dict(refused), deviations)

    def deviation(self) -> None:
        """Count an observation that was kept, and is a deviation."""
        self.kept += 1
        with self._lock:
            self._deviations += 1

    def failure(self, error: Exception, what: str, identifier: Any) -> None:
        """Count an observation that was not kept, or not yet; and log it if a record is due.

        Args:
            error: Why it was not kept.
            what: What was observed.
            identifier: The instance's identifier.
        """
        late = isinstance(error, CallTimeout) and error.maybe_executed
        starting = isinstance(error, CallTimeout) and error.context.get("starting")
        with self._lock:
            if late:
                self._late += 1
            elif isinstance(error, _LOST):
                self._lost += 1
            else:
                self._refused[_code(error)] += 1
        # The error handler has logged an `InstanceError`. And a start often takes longer than a call may wait.
        if not isinstance(error, InstanceError) and not starting:
            self._note("late" if late else _code(error), (what, identifier), error)

    def not_started(self, error: Exception, late: int, posted: int) -> None:
        """Count observations as lost that waited for a start which has failed."""
        with self._lock:
            self._late -= late
            self.posted -= posted
            self._lost += late + posted
        if late + posted:
            self._note(_code(error), None, error, late + posted)

    def failed_later(self, error: Exception, *, waited: bool) -> None:
        """Count that an observation failed which was counted as late, or as posted if its caller has not `waited`."""
        if isinstance(error, CallTimeout) and error.maybe_executed:
            return
        with self._lock:
            if isinstance(error, TransitionError):
                self._deviations += 1
            elif not isinstance(error, _LOST):
                self._refused[_code(error)] += 1
        if isinstance(error, _LOST):
            self.not_started(error, int(waited), int(not waited))
        elif not isinstance(error, (TransitionError, InstanceError)):
            self._note(_code(error), None, error)

    def report_if_due(self, *, closing: bool = False) -> None:
        """Log what was not kept since the last record, if the interval has passed or the manager is `closing`."""
        with self._lock:
            now = time.monotonic()
            if not self._pending or not (closing or now >= self._next_report):
                return
            self._next_report = now + self._interval
            pending, self._pending = self._pending, Counter()
            last, self.unreported = self._last, False
        with suppress(Exception):  # a log filter of the application may raise anything
            what, error, site = last
            fields = {
                "identifier": what[1] if what else None,
                "spex_reason": getattr(error, "reason", None),
                "call_site": site,
                "count": sum(pending.values()),
            }
            logger.warning("%s", _text(pending, *last), extra=log_fields.about("not_kept", **fields))

    def _note(self, kind: str, about: tuple[str, Any] | None, error: Exception, count: int = 1) -> None:
        last = about, error, call_site()
        with self._lock:
            self._pending[kind] += count
            self._last = last
            self.unreported = True
        self.report_if_due()


def _code(error: Exception) -> str:
    return code_of(type(error)) if isinstance(error, SpexError) else type(error).__name__


def _text(pending: Mapping[str, int], about: tuple[str, Any] | None, error: Exception | None, place: str | None) -> str:
    others = [f"{count} because of {kind}" for kind, count in sorted(pending.items()) if kind != "late"]
    late = pending.get("late", 0)
    parts = [f"{late} late (not answered within observe_timeout)"] if late else []
    parts += [f"not kept: {', '.join(others)}"] if others else []
    told = f"observations of process {os.getpid()}: {'; '.join(parts)}"
    told += f"; the last: {about[0]} of {show(about[1])}" if about else ""
    told += f" (called from {place})" if place else ""
    told += f": {error}"
    told += "; late ones are applied once the shards go on" if late else ""
    return f"{told}; losses() has all counts, and shards() says which shards are down"


def _after_fork_in_child() -> None:
    for ledger in list(_all):
        ledger.reset()


os.register_at_fork(after_in_child=_after_fork_in_child)
