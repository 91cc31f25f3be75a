"""Log records of no request, such as those of timeouts: kept until an application has taken them."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from .. import records
from ..engine.rows import u64
from ..session import frame
from ..store import Batch
from .peers import REPORT

MOST_KEPT: Final = 10_000


class Outbox:
    """Records on their way, over the engine's batch; numbered, so that a client drops what it has had already."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        rows = batch.range("outbox", b"")
        self._waiting = deque((int.from_bytes(key, "big"), records.unseal(row, "a log record")) for key, row in rows)
        counter = batch.get("layout", b"next report")
        self._next = 1 if counter is None else int.from_bytes(counter, "big")

    @property
    def waiting(self) -> bool:
        """Whether there is anything to deliver."""
        return bool(self._waiting)

    def take(self, captured: list[Any]) -> None:
        """Move captured records into the batch; the oldest go when there are too many."""
        if not captured:
            return
        for record in captured:
            self._batch.put("outbox", u64(self._next), records.seal(record))
            self._waiting.append((self._next, record))
            self._next += 1
        captured.clear()
        while len(self._waiting) > MOST_KEPT:
            number, _ = self._waiting.popleft()
            self._batch.delete("outbox", u64(number))
        self._batch.put("layout", b"next report", u64(self._next))

    def deliver(self, events: bytearray) -> None:
        """Write everything that waits into a client's events, and take it out of the batch."""
        while self._waiting:
            number, record = self._waiting.popleft()
            events += frame((number, REPORT, record))
            self._batch.delete("outbox", u64(number))
