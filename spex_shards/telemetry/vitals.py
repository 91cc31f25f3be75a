"""Reads the state of shards for any number of readers, at the cost of at most one question to each shard a second.

# Guarantees:
#
# * No reader waits longer than the time that it gives, whatever hangs: another thread asks the questions.
# * A shard that does not answer is asked less and less often, so that unanswered questions do not gather.
# * Nothing is asked while nobody reads, and a manager is never started by this.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ..errors import SpexError
from ..manager import InstanceManager
from ..runtime.shard_info import ShardInfo, ShardStatus
from ..runtime.system.waits import capped
from ..runtime.transport import Transport

FRESH_FOR: Final = 1.0
"""Seconds for which what is known is handed out again."""
ANSWER_WITHIN: Final = 0.8
"""Seconds that the shards have to answer a question."""
LONGEST_PAUSE: Final = 60.0
"""The most seconds until a shard that does not answer is asked again."""


class ShardVitals(NamedTuple):
    """What is known of one shard.

    Attributes:
        shard: Its index.
        up: Whether it is ready, and has answered in time.
        status: Its status as its supervisor knows it; None if the supervisor does not answer.
        pid: The process of its worker, if there is one.
        restarts: How often it was restarted, as far as that is known.
        last_exit: How its previous process ended; None: there was none.
        counters: Its counters (see `InstanceManager.stats`); None if it is not up.
    """

    shard: int
    up: bool
    status: str | None
    pid: int | None
    restarts: int
    last_exit: str | None
    counters: dict[str, Any] | None


class Vitals:
    """Vitals of one manager's shards. Thread-safe; a forked child reads for itself.

    Args:
        manager: Returns the manager, or None while there is none.
    """

    def __init__(self, manager: Callable[[], InstanceManager | None]) -> None:
        self._manager = manager
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._asking = False
        self._read_at = float("-inf")
        self._newest: tuple[ShardVitals, ...] = ()
        self._silent: dict[int, tuple[float, float, int | None]] = {}

    def read(self, within: float = 1.0) -> tuple[ShardVitals, ...]:
        """Return what is known of each shard, at most a second old; empty while the manager is not open.

        Args:
            within: The most seconds to wait. Shards of which nothing newer is known by then are not up.
        """
        if self._pid != os.getpid():
            self._begin()
        deadline = time.monotonic() + within
        with self._changed:
            while time.monotonic() - self._read_at > FRESH_FOR:
                if not self._asking:
                    self._asking = True
                    threading.Thread(target=self._ask, name="spex-shards-vitals", daemon=True).start()
                if not self._changed.wait(capped(deadline - time.monotonic())):
                    return tuple(one._replace(up=False, counters=None) for one in self._newest)
            return self._newest

    # ------------------------------------------------------------------ inside

    def _ask(self) -> None:
        try:
            found = self._found()
        except Exception:  # no supervisor answers, or the process is about to end
            found = tuple(one._replace(up=False, status=None, counters=None) for one in self._newest)
        with self._changed:
            self._newest, self._read_at, self._asking = found, time.monotonic(), False
            self._changed.notify_all()

    def _found(self) -> tuple[ShardVitals, ...]:
        manager = self._manager()
        transport = None if manager is None else manager.transport
        if transport is None:
            return ()
        shards = transport.shards()
        reports = self._reports(transport, shards)
        return tuple(
            ShardVitals(
                one.index, one.index in reports, str(one.status), one.pid, one.restarts, one.last_exit,
                reports.get(one.index),
            )
            for one in shards
        )  # fmt: skip

    def _reports(self, transport: Transport, shards: list[ShardInfo]) -> dict[int, dict[str, Any]]:
        now = time.monotonic()
        for shard, (_, _, pid) in list(self._silent.items()):
            if pid != shards[shard].pid:
                del self._silent[shard]  # it is another process
        ready = [one.index for one in shards if one.status is ShardStatus.READY]
        asked = [shard for shard in ready if self._silent.get(shard, (now, 0.0, None))[0] <= now]
        outcomes = transport.reports(asked, ANSWER_WITHIN)
        for shard, outcome in outcomes.items():
            if isinstance(outcome, SpexError):
                pause = min(LONGEST_PAUSE, 2 * self._silent.get(shard, (0.0, 0.5, None))[1])
                self._silent[shard] = (time.monotonic() + pause, pause, shards[shard].pid)
            else:
                self._silent.pop(shard, None)
        return {shard: outcome for shard, outcome in outcomes.items() if not isinstance(outcome, SpexError)}
