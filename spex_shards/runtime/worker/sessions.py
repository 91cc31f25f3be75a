"""The sessions of a shard's clients, and their rows.

The shard forgets a client that has been gone for a day. It measures this time by its *age*: the time that its workers
have run, on the monotonic clock. By the wall clock, setting the clock forward, or not running the shard for a day,
would make it forget clients that come back, and it could not tell any more which of their requests it has applied.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import islice
from typing import Final

from ...errors import StoreError
from ...log_fields import about
from ..protocol import records
from ..protocol.answers import Answer
from ..protocol.requests import FORGOTTEN_AFTER
from ..protocol.session import ServerSession
from ..store import Batch
from ..store.keys import u64

EXPIRES_AFTER: Final = FORGOTTEN_AFTER * 1_000_000
"""How long a client that is gone may come back, in microseconds of the shard's age."""
_SWEEP_EVERY: Final = 600.0
_AGE: Final = b"age"
_LOST: Final = -1
"""Stored in place of a client's highest applied number, when its row was damaged."""
PORTION: Final = 512
"""How many clients one tick examines: bounded, so that requests do not wait long."""
logger = logging.getLogger("spex_shards")


class Sessions:
    """All clients that this shard remembers, stored through the shard's batch.

    Args:
        batch: The shard's batch.
        monotonic: Returns seconds on a clock that nobody sets.

    Attributes:
        unwritten: The clients whose rows must be written with the current batch.
        next_sweep: When `sweep` has work, on the clock `monotonic`.

    Raises:
        StoreError: The store could not be read.
    """

    def __init__(self, batch: Batch, monotonic: Callable[[], float]) -> None:
        self._batch = batch
        self._monotonic = monotonic
        self._sessions: dict[bytes, ServerSession] = {}
        self._attached: set[bytes] = set()
        self.unwritten: set[bytes] = set()
        self._written: set[bytes] = set()
        self._ended: set[bytes] = set()
        self._swept: bytes | None = None
        self._started = monotonic()
        self._age_before = int.from_bytes(batch.get("layout", _AGE) or b"", "big")
        self.next_sweep = self._started + _SWEEP_EVERY  # not at the start, before clients had the time to attach

    @property
    def age(self) -> int:
        """How long this shard has run, in this process and earlier ones, in microseconds; at least 1.

        Of a process that was killed, the time since its last sweep is not counted.
        """
        return 1 + self._age_before + int((self._monotonic() - self._started) * 1_000_000)

    def get(self, client_id: bytes) -> ServerSession:
        """Return the session of a client that attaches, read from its rows if there are any.

        If the rows are damaged, it is not known which requests were applied: the session then refuses a client that
        sends requests again.

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
        """Note that a client has said `BYE`: it sends nothing more, so its rows are deleted with the current batch."""
        session = self._sessions[client_id]
        session.opened = False
        if session.stored or client_id in self.unwritten:
            self._ended.add(client_id)
            self.unwritten.add(client_id)

    def left(self, client_id: bytes) -> None:
        """Note that a client's channel is closed; it may come back."""
        self._attached.discard(client_id)
        session = self._sessions.get(client_id)
        if session is not None:
            session.gone = self.age
            if session.stored:
                self.unwritten.add(client_id)
            elif client_id not in self.unwritten | self._written:  # else `committed` or `failed` still needs it
                del self._sessions[client_id]

    def write(self) -> None:
        """Put the rows of all changed sessions into the batch."""
        self._written, self.unwritten = self.unwritten, set()
        for client_id in self._written:
            if client_id in self._ended:
                self._delete(client_id)
                continue
            row, answers, dropped = self._sessions[client_id].rows()
            self._batch.put_row("clients", client_id, row)
            for number in dropped:
                self._batch.delete("answers", client_id + u64(number))
            for number, answer in answers.items():
                self._batch.put("answers", client_id + u64(number), answer)

    def committed(self) -> None:
        """Note that the batch was committed."""
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
        """Note that the batch was rolled back: its rows are written with the next one."""
        for client_id in self._written:
            self._sessions[client_id].failed()
        self.unwritten |= self._written

    def sweep(self) -> None:
        """Delete the rows of clients that have been gone for a day; do nothing before `next_sweep`.

        A client that is not attached, and was never noted as gone, is noted as gone now: it left while no worker ran.
        One call examines a bounded portion; until the last portion, `next_sweep` is now.
        """
        now = self._monotonic()
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
        if not 0 < gone <= age:  # 0: not noted; above the age: an older version's wall clock, or time that a kill lost
            self._batch.put("clients", client_id, records.seal([applied, events, age]))
        elif gone < age - EXPIRES_AFTER:
            self._delete(client_id)

    def _lose(self, client_id: bytes, error: StoreError) -> None:
        """Replace a damaged row by one that says so, for as long as its client may come back."""
        logger.error("the row of client %s is lost: %s", client_id.hex(), error, extra=about("client_lost"))
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
