"""The sessions of a shard's clients, and their rows.

How long a client is gone is counted in the shard's *age*: the time that its workers have run, by a clock that nobody
sets. So a step of the wall clock makes nobody forgotten early, and neither does a shard that was not running.
"""

from __future__ import annotations

import logging
import time
from itertools import islice
from typing import Final

from ...errors import StoreError
from ..protocol import records
from ..protocol.answers import Answer
from ..protocol.requests import FORGOTTEN_AFTER
from ..protocol.session import ServerSession
from ..store import Batch
from ..store.keys import u64

EXPIRES_AFTER: Final = FORGOTTEN_AFTER * 1_000_000
"""Microseconds of the shard's age after a client was seen to be gone, in which it may still come back."""
_SWEEP_EVERY: Final = 600.0
_AGE: Final = b"age"
_LOST: Final = -1
"""In place of the highest number applied: a damaged row said it."""
PORTION: Final = 512
"""So many clients a tick looks at, so that requests have their turn."""
logger = logging.getLogger("spex_shards")


class Sessions:
    """All clients that this shard remembers, over the engine's batch.

    Attributes:
        unwritten: The clients whose rows must be written with the current batch.
        next_sweep: When `sweep` has something to do, on the clock of `time.monotonic`.

    Raises:
        StoreError: The store could not be read.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._sessions: dict[bytes, ServerSession] = {}
        self._attached: set[bytes] = set()
        self.unwritten: set[bytes] = set()
        self._written: set[bytes] = set()
        self._ended: set[bytes] = set()
        self._swept: bytes | None = None
        self._started = time.monotonic()
        self._age_before = int.from_bytes(batch.get("layout", _AGE) or b"", "big")
        self.next_sweep = self._started + _SWEEP_EVERY  # at the start nobody had the time to attach

    @property
    def age(self) -> int:
        """Microseconds that this shard has run, in this process and its predecessors; at least 1.

        What ran since the last sweep of a process that was killed is not counted.
        """
        return 1 + self._age_before + int((time.monotonic() - self._started) * 1_000_000)

    def get(self, client_id: bytes) -> ServerSession:
        """Return the session of a client that attaches, as far as it is known from before.

        A client whose rows are damaged is one of which nobody knows what was applied.

        Raises:
            StoreError: The store could not be read.
        """
        if client_id not in self._sessions:
            try:
                row = self._batch.get("clients", client_id)
                read = None if row is None else records.unseal(row, "a client")
                lost = read is not None and read[0] == _LOST
                self._sessions[client_id] = ServerSession(read, self._answers(client_id), lost=lost)
            except StoreError as error:
                if "row" not in error.context:
                    raise
                self._lose(client_id, error)
                self._sessions[client_id] = ServerSession(None, {}, lost=True)
        self._attached.add(client_id)
        self._ended.discard(client_id)
        return self._sessions[client_id]

    def ended(self, client_id: bytes) -> None:
        """Take a client's farewell: it sends nothing again, so nothing needs to be known of it."""
        session = self._sessions[client_id]
        session.opened = False
        if session.stored or client_id in self.unwritten:
            self._ended.add(client_id)
            self.unwritten.add(client_id)

    def left(self, client_id: bytes) -> None:
        """Note that a client is gone."""
        self._attached.discard(client_id)
        session = self._sessions.get(client_id)
        if session is not None:
            session.gone = self.age
            if session.stored:
                self.unwritten.add(client_id)
            elif client_id not in self.unwritten | self._written:  # not in the batch that is being answered
                del self._sessions[client_id]

    def write(self) -> None:
        """Put the rows of all changed sessions into the batch."""
        self._written, self.unwritten = self.unwritten, set()
        for client_id in self._written:
            if client_id in self._ended:
                self._delete(client_id)
                continue
            row, answers, dropped = self._sessions[client_id].rows()
            self._batch.put("clients", client_id, row)
            for number in dropped:
                self._batch.delete("answers", client_id + u64(number))
            for number, answer in answers.items():
                self._batch.put("answers", client_id + u64(number), answer)

    def committed(self) -> None:
        """The batch was kept."""
        for client_id in self._written:
            session = self._sessions[client_id]
            session.committed()
            if client_id in self._ended:
                session.forgotten()
                self._ended.discard(client_id)
            if client_id not in self._attached and client_id not in self.unwritten:
                del self._sessions[client_id]
        self._written = set()

    def failed(self) -> None:
        """The batch was not kept: the rows are written with the next."""
        for client_id in self._written:
            self._sessions[client_id].failed()
        self.unwritten |= self._written

    def sweep(self) -> None:
        """From time to time, forget clients that are gone for a day, and note those that are gone unseen.

        A portion at a time; until the last one `next_sweep` is now.
        """
        now = time.monotonic()
        if now < self.next_sweep:
            return
        self._batch.restores(self, "_swept", "next_sweep")
        portion = list(islice(self._batch.range("clients", self._swept or b""), PORTION))
        age = self.age
        for client_id, row in portion:
            if client_id not in self._attached:
                self._sweep_one(client_id, row, age)
        if len(portion) < PORTION:
            self._swept, self.next_sweep = None, now + _SWEEP_EVERY
            self._batch.put("layout", _AGE, u64(age))
        else:
            self._swept, self.next_sweep = portion[-1][0] + b"\0", now

    def _sweep_one(self, client_id: bytes, row: bytes, age: int) -> None:
        try:
            applied, events, gone = records.unseal(row, "a client")
        except StoreError as error:
            self._lose(client_id, error)
            return
        if not 0 < gone <= age:  # an older version wrote the wall clock's time, or the age was counted anew
            self._batch.put("clients", client_id, records.seal([applied, events, age]))
        elif gone < age - EXPIRES_AFTER:
            self._delete(client_id)

    def _lose(self, client_id: bytes, error: StoreError) -> None:
        """Have a damaged row replaced by one that says so, until its client must have been told."""
        logger.error("what was known of client %s is lost: %s", client_id.hex(), error)
        self._delete(client_id)
        self._batch.put("clients", client_id, records.seal([_LOST, 0, self.age]))

    def _delete(self, client_id: bytes) -> None:
        self._batch.delete("clients", client_id)
        for key, _ in list(self._batch.range("answers", client_id, client_id + b"\xff" * 9)):
            self._batch.delete("answers", key)

    def _answers(self, client_id: bytes) -> dict[int, Answer]:
        rows = self._batch.range("answers", client_id, client_id + b"\xff" * 9)
        return {int.from_bytes(key[16:], "big"): _answer(row) for key, row in rows}


def _answer(row: bytes) -> Answer:
    plain = records.unseal(row, "an answer")
    try:
        return Answer.stored(plain)
    except ValueError as error:
        raise StoreError(f"a damaged row: {error}", row="an answer") from None
