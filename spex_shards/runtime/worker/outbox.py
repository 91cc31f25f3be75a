"""The outbox: log records that belong to no request, such as those of timeouts, until an application has logged them.

# Guarantees:
#
# * Records are numbered, and go in order to one client at a time, the holder. The holder confirms the number of the
#   newest record that it has logged; only then are the rows up to it deleted. Were they deleted when they are sent, the
#   records would be lost with a holder that dies before it logs them.
# * A client that got record n got all records before n as well, or they had been confirmed. So one that confirms n, at
#   any time, needs no record up to n; and it drops a record with a number that it has had before.
# * When the holder dies, all records that it did not confirm go to the next client. Where a connection may break while
#   its client lives (in a cluster), this is done only after `patience` seconds, or once the same client is back: its
#   first message confirms what it has logged.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import Any, Final

from ...errors import StoreError
from ...log_fields import about
from ..protocol import records
from ..protocol.answers import REPORT, Event
from ..protocol.session import frame
from ..store import Batch
from ..store.keys import u64
from .logs import record_plain
from .peers import Peer

MOST_KEPT: Final = 10_000
"""When the outbox holds this many records, it is full: no timeout is reported, and the timers' rows stay."""
MOST_BYTES: Final = 64 << 20
"""The outbox is also full when its rows have this many bytes: an application's handler may log long texts."""
_SPARE: Final = 1_000
"""A full outbox still takes this many records that are not the result of a timer; further ones are only counted."""
NEXT: Final = b"next report"
"""In the table `layout`: the number of the next record."""
LOST: Final = b"reports lost"
"""In the table `layout`: how many records could not be kept and are not reported as lost yet; no row: none."""
PATIENCE: Final = 10.0
"""Seconds for which a client of a cluster whose connection broke may come back, before its reports go to another."""
AT_ONCE: Final = 32_768
"""Bytes that a client gets before it has to confirm them. They fit into its pipe, so no reply waits behind them."""
_Row = tuple[int, Any, int]
logger = logging.getLogger("spex_shards")


class Outbox:
    """The log records that no application has confirmed yet, stored through the shard's batch.

    Args:
        batch: The shard's batch.
        monotonic: The clock.
        patience: Seconds for which a holder whose connection broke is waited for.

    Attributes:
        next_look: When a holder need not be waited for any more, on that clock; infinity: none is waited for.
        reports: The records, oldest first: number, record, and size of the row in bytes.
        size: The size of all their rows in bytes.
        lost: How many records were dropped for want of room since the last record that says how many.
    """

    def __init__(self, batch: Batch, monotonic: Callable[[], float], patience: float = 0.0) -> None:
        self._batch = batch
        self._monotonic, self._patience = monotonic, patience
        self.next_look = inf
        self.reports = deque(self._read())
        self.size = sum(size for _, _, size in self.reports)
        counter = batch.get("layout", NEXT)
        self._next = 1 if counter is None else int.from_bytes(counter, "big")
        lost = batch.get("layout", LOST)
        self.lost = 0 if lost is None else int.from_bytes(lost, "big")
        self._holder: Peer | None = None
        self._back: Peer | None = None
        self._given = 0

    @property
    def waiting(self) -> bool:
        """Whether `deliver` has work: there are records, and no living holder has to confirm earlier ones first."""
        holder = self._holder
        return bool(self.reports) and (holder is None or (holder.closed and not self._may_come_back()))

    def left(self, peer: Peer) -> None:
        """Note that a client has said its farewell: it is not waited for."""
        if peer is self._holder:
            self._holder, self.next_look = None, inf
        if peer is self._back:
            self._back = None

    def _may_come_back(self) -> bool:
        if not self._patience:
            return False
        now = self._monotonic()
        if self.next_look == inf:
            self.next_look = now + self._patience
        if now < self.next_look:
            return True
        self._holder, self.next_look = None, inf
        return False

    @property
    def full(self) -> bool:
        """Whether work that writes log records, and can wait, must wait."""
        return len(self.reports) >= MOST_KEPT or self.size >= MOST_BYTES

    def take_unasked(self, captured: list[Any]) -> None:
        """Move captured records into the batch as far as there is room; drop and count the rest.

        As soon as there is room again, one more record says how many were dropped.
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
        """Count records that were dropped. A negative count is ignored."""
        if count > 0:
            self._count(self.lost + count)

    def _count(self, lost: int) -> None:
        self._batch.restores(self, "lost")
        self.lost = lost
        self._batch.put("layout", LOST, u64(lost) if lost else None)

    def take(self, captured: list[Any]) -> None:
        """Move all captured records into the batch, and empty the list."""
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
        """Append a portion of the records to the events of the first client that can take them.

        Args:
            peers: All clients, the preferred ones first.

        Returns:
            That client, now the holder, whose events must be written; None: no client can take any.
        """
        # A client that is back may have read them before, and not logged them yet: it knows them by their numbers, and
        # logs them once, where another one would log them again.
        back = self._back if self._back is not None and not self._back.closed else None
        for peer in peers if back is None else (back,):
            if peer.closed or peer.stalled or peer.events or not peer.session.opened:
                continue
            for number, record, _ in self.reports:
                peer.events += frame(Event(number, REPORT, record))
                self._given = number
                if len(peer.events) >= AT_ONCE:
                    break
            self._holder, self._back, self.next_look = peer, None, inf
            return peer
        return None

    def seen(self, peer: Peer, number: int) -> None:
        """Delete the records up to `number`: a client confirms that it has logged them."""
        if self._holder is not None and self._holder.closed and peer.client_id == self._holder.client_id:
            self._holder, self._back, self.next_look = None, peer, inf
        if number >= self._next:
            return  # no such record was ever sent from this store: the client means an earlier store of this shard
        self._drop(sum(1 for waiting, _, _ in self.reports if waiting <= number))
        if peer is self._holder and number >= self._given:
            self._holder = None

    def _read(self) -> Iterable[_Row]:
        for key, row in list(self._batch.range("outbox", b"")):
            try:
                yield int.from_bytes(key, "big"), records.unseal(row, "a log record"), len(row)
            except StoreError as error:
                self._batch.delete("outbox", key)
                logger.error("a log record that waited is lost: %s", error, extra=about("records_lost", count=1))

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
    fields = about("records_lost", count=count)
    return record_plain(logger.makeRecord(logger.name, logging.ERROR, __file__, 0, text, (count,), None, extra=fields))
