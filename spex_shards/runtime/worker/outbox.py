"""Log records of no request, such as those of timeouts: kept until an application has logged them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from ...errors import StoreError
from ..protocol import records
from ..protocol.answers import REPORT, Event
from ..protocol.session import frame
from ..store import Batch
from ..store.keys import u64
from .logs import record_plain
from .peers import Peer

MOST_KEPT: Final = 10_000
"""When so many wait, nothing more is taken that would log something: deadlines stay what they are."""
MOST_BYTES: Final = 64 << 20
"""As `MOST_KEPT`, for the bytes of all rows that wait: a handler of the application's may log as much as it likes."""
_SPARE: Final = 1_000
"""So many more are kept of what was logged unasked; the rest is counted."""
NEXT: Final = b"next report"
"""In the table `layout`: the number of the next record."""
LOST: Final = b"reports lost"
"""In the table `layout`: how many records could not be kept and are not reported as lost yet; no row: none."""
AT_ONCE: Final = 32_768
"""Bytes that go to a client before it has confirmed what it had: they fit a pipe, so that no reply waits for them."""
_Row = tuple[int, Any, int]
logger = logging.getLogger("spex_shards")


class Outbox:
    """Records on their way, over the engine's batch.

    They are numbered, and given out in order to one client at a time, which confirms what it has logged; then they
    are deleted. Whoever was given a number was given or had confirmed all before it: so a client that has seen number
    n, whenever it says so, has no need of any up to n, and a client that is given one again drops it. What a client
    took along when it died is given to the next.

    Attributes:
        reports: What waits: number, record and bytes of the row.
        size: The bytes of all of them.
        lost: How many records could not be kept, and are not reported as lost yet.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self.reports = deque(self._read())
        self.size = sum(size for _, _, size in self.reports)
        counter = batch.get("layout", NEXT)
        self._next = 1 if counter is None else int.from_bytes(counter, "big")
        lost = batch.get("layout", LOST)
        self.lost = 0 if lost is None else int.from_bytes(lost, "big")
        self._holder: Peer | None = None
        self._given = 0

    @property
    def waiting(self) -> bool:
        """Whether there is anything to deliver now: nothing is on its way that must be confirmed first."""
        return bool(self.reports) and (self._holder is None or self._holder.closed)

    @property
    def full(self) -> bool:
        """Whether nothing is to be done just now that logs something and can wait."""
        return len(self.reports) >= MOST_KEPT or self.size >= MOST_BYTES

    def take_unasked(self, captured: list[Any]) -> None:
        """Move captured records into the batch that nothing promises: those that there is no room for are counted.

        How many those were is a record of its own, as soon as there is room.
        """
        if captured:
            room = max(0, MOST_KEPT + _SPARE - len(self.reports)) if self.size < MOST_BYTES else 0
            self.lose(len(captured) - room)
            del captured[room:]
        if self.lost and len(self.reports) + len(captured) < MOST_KEPT and self.size < MOST_BYTES:
            captured.append(_about_lost(self.lost))
            self._count(0)
        self.take(captured)

    def lose(self, count: int) -> None:
        """Count records that could not be kept."""
        if count > 0:
            self._count(self.lost + count)

    def _count(self, lost: int) -> None:
        self._batch.restores(self, "lost")
        self.lost = lost
        self._batch.put("layout", LOST, u64(lost) if lost else None)

    def take(self, captured: list[Any]) -> None:
        """Move captured records into the batch, all of them."""
        if not captured:
            return
        count, first = len(captured), self._next
        self._batch.on_undo(lambda: self._untake(count, first))
        for record in captured:
            row = records.seal(record)
            self._batch.put("outbox", u64(self._next), row)
            self.reports.append((self._next, record, len(row)))
            self.size += len(row)
            self._next += 1
        captured.clear()
        self._batch.put("layout", NEXT, u64(self._next))

    def deliver(self, peers: Iterable[Peer]) -> Peer | None:
        """Write a portion of what waits into the events of the first client that takes any; return that client."""
        for peer in peers:
            if peer.closed or peer.stalled or peer.events or not peer.session.opened:
                continue
            for number, record, _ in self.reports:
                peer.events += frame(Event(number, REPORT, record))
                self._given = number
                if len(peer.events) >= AT_ONCE:
                    break
            self._holder = peer
            return peer
        return None

    def seen(self, peer: Peer, number: int) -> None:
        """Take what a client says: it has logged everything up to that number."""
        if number >= self._next:
            return  # it speaks of another store
        self._drop(sum(1 for waiting, _, _ in self.reports if waiting <= number))
        if peer is self._holder and number >= self._given:
            self._holder = None

    def _read(self) -> Iterable[_Row]:
        for key, row in list(self._batch.range("outbox", b"")):
            try:
                yield int.from_bytes(key, "big"), records.unseal(row, "a log record"), len(row)
            except StoreError as error:
                self._batch.delete("outbox", key)
                logger.error("a log record that waited is lost: %s", error)

    def _drop(self, count: int) -> None:
        if count <= 0:
            return
        dropped = [self.reports.popleft() for _ in range(count)]
        self._batch.on_undo(lambda: self.reports.extendleft(reversed(dropped)))
        self._batch.restores(self, "size")
        self.size -= sum(size for _, _, size in dropped)
        for number, _, _ in dropped:
            self._batch.delete("outbox", u64(number))

    def _untake(self, count: int, first: int) -> None:
        for _ in range(count):
            self.size -= self.reports.pop()[2]
        self._next = first


def _about_lost(count: int) -> list[Any]:
    text = "%d log records of this shard were lost: more waited than are kept, since no application took them"
    return record_plain(logger.makeRecord(logger.name, logging.ERROR, __file__, 0, text, (count,), None))
