"""Log records of no request, such as those of timeouts: kept until an application has logged them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from .. import records
from ..engine.rows import u64
from ..errors import StoreError
from ..session import frame
from ..store import Batch
from .peers import REPORT, Peer

MOST_KEPT: Final = 10_000
AT_ONCE: Final = 32_768
"""Bytes that go to a client before it has confirmed what it had: they fit a pipe, so that no reply waits for them."""
_Row = tuple[int, Any]
logger = logging.getLogger("spex_shards")


class Outbox:
    """Records on their way, over the engine's batch.

    They are numbered, and given out in order to one client at a time, which confirms what it has logged; then they
    are deleted. Whoever was given a number was given or had confirmed all before it: so a client that has seen number
    n, whenever it says so, has no need of any up to n, and a client that is given one again drops it. What a client
    took along when it died is given to the next.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._waiting = deque(self._read())
        counter = batch.get("layout", b"next report")
        self._next = 1 if counter is None else int.from_bytes(counter, "big")
        self._holder: Peer | None = None
        self._given = 0

    @property
    def waiting(self) -> bool:
        """Whether there is anything to deliver now: nothing is on its way that must be confirmed first."""
        return bool(self._waiting) and (self._holder is None or self._holder.closed)

    def take(self, captured: list[Any]) -> None:
        """Move captured records into the batch; the oldest go when there are too many."""
        if not captured:
            return
        count, first = len(captured), self._next
        self._batch.on_undo(lambda: self._untake(count, first))
        for record in captured:
            self._batch.put("outbox", u64(self._next), records.seal(record))
            self._waiting.append((self._next, record))
            self._next += 1
        captured.clear()
        self._drop(len(self._waiting) - MOST_KEPT)
        self._batch.put("layout", b"next report", u64(self._next))

    def deliver(self, peers: Iterable[Peer]) -> Peer | None:
        """Write a portion of what waits into the events of the first client that takes any; return that client."""
        for peer in peers:
            if peer.closed or peer.stalled or peer.events or not peer.session.opened:
                continue
            for number, record in self._waiting:
                peer.events += frame((number, REPORT, record))
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
        self._drop(sum(1 for waiting, _ in self._waiting if waiting <= number))
        if peer is self._holder and number >= self._given:
            self._holder = None

    def _read(self) -> Iterable[_Row]:
        for key, row in list(self._batch.range("outbox", b"")):
            try:
                yield int.from_bytes(key, "big"), records.unseal(row, "a log record")
            except StoreError as error:
                self._batch.delete("outbox", key)
                logger.error("a log record that waited is lost: %s", error)

    def _drop(self, count: int) -> None:
        if count <= 0:
            return
        dropped = [self._waiting.popleft() for _ in range(count)]
        self._batch.on_undo(lambda: self._waiting.extendleft(reversed(dropped)))
        for number, _ in dropped:
            self._batch.delete("outbox", u64(number))

    def _untake(self, count: int, first: int) -> None:
        for _ in range(count):
            self._waiting.pop()
        self._next = first
