"""The sessions of a shard's clients, and their rows."""

from __future__ import annotations

import logging
from itertools import islice
from typing import Any, Final

from .. import records
from ..engine.rows import u64
from ..errors import StoreError
from ..session import ServerSession
from ..store import Batch

EXPIRES_AFTER: Final = 24 * 3600 * 1_000_000
"""Microseconds after a client was seen to be gone, in which it may still come back."""
_SWEEP_EVERY: Final = 600 * 1_000_000
PORTION: Final = 512
"""So many clients a tick looks at, so that requests have their turn."""
logger = logging.getLogger("spex_shards")


class Sessions:
    """All clients that this shard remembers, over the engine's batch."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._sessions: dict[bytes, ServerSession] = {}
        self._attached: set[bytes] = set()
        self._changed: set[bytes] = set()
        self._written: set[bytes] = set()
        self._ended: set[bytes] = set()
        self.next_sweep = 0
        self._swept: bytes | None = None

    @property
    def unwritten(self) -> bool:
        """Whether a client's row must be written though no request of it is at hand."""
        return bool(self._changed)

    def get(self, client_id: bytes) -> ServerSession:
        """Return the session of a client that attaches, as far as it is known from before.

        A client whose rows are damaged is one that was forgotten.

        Raises:
            StoreError: The store could not be read.
        """
        if client_id not in self._sessions:
            try:
                row = self._batch.get("clients", client_id)
                read = None if row is None else records.unseal(row, "a client")
                self._sessions[client_id] = ServerSession(read, self._answers(client_id))
            except StoreError as error:
                if "row" not in error.context:
                    raise
                logger.error("what was known of client %s is lost: %s", client_id.hex(), error)
                self._delete(client_id)
                self._sessions[client_id] = ServerSession(None, {})
        self._attached.add(client_id)
        self._ended.discard(client_id)
        return self._sessions[client_id]

    def changed(self, client_id: bytes) -> None:
        """Have the client's row written with the current batch."""
        self._changed.add(client_id)

    def ended(self, client_id: bytes) -> None:
        """Take a client's farewell: it sends nothing again, so nothing needs to be known of it."""
        session = self._sessions[client_id]
        session.opened = False
        if session.stored or client_id in self._changed:
            self._ended.add(client_id)
            self._changed.add(client_id)

    def left(self, client_id: bytes, now: int) -> None:
        """Note that a client is gone."""
        self._attached.discard(client_id)
        session = self._sessions.get(client_id)
        if session is not None:
            session.gone = now
            if session.stored:
                self._changed.add(client_id)
            elif client_id not in self._changed | self._written:  # not in the batch that is being answered
                del self._sessions[client_id]

    def write(self) -> None:
        """Put the rows of all changed sessions into the batch."""
        self._written, self._changed = self._changed, set()
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
            if client_id not in self._attached and client_id not in self._changed:
                del self._sessions[client_id]
        self._written = set()

    def failed(self) -> None:
        """The batch was not kept: the rows are written with the next."""
        for client_id in self._written:
            self._sessions[client_id].failed()
        self._changed |= self._written

    def sweep(self, now: int) -> None:
        """From time to time, forget clients that are gone for a day, and note those that are gone unseen.

        A portion at a time; until the last one `next_sweep` is now.
        """
        if now < self.next_sweep:
            return
        if self.next_sweep == 0:  # at the start nobody had the time to attach
            self.next_sweep = now + _SWEEP_EVERY
            return
        before = self._swept, self.next_sweep
        self._batch.on_undo(lambda: self._restore(*before))
        portion = list(islice(self._batch.range("clients", self._swept or b""), PORTION))
        for client_id, row in portion:
            if client_id not in self._attached:
                self._sweep_one(client_id, row, now)
        if len(portion) < PORTION:
            self._swept, self.next_sweep = None, now + _SWEEP_EVERY
        else:
            self._swept, self.next_sweep = portion[-1][0] + b"\0", now

    def _restore(self, swept: bytes | None, next_sweep: int) -> None:
        self._swept, self.next_sweep = swept, next_sweep

    def _sweep_one(self, client_id: bytes, row: bytes, now: int) -> None:
        try:
            applied, events, gone = records.unseal(row, "a client")
        except StoreError as error:
            logger.error("what was known of client %s is lost: %s", client_id.hex(), error)
            self._delete(client_id)
            return
        if not gone:
            self._batch.put("clients", client_id, records.seal([applied, events, now]))
        elif gone < now - EXPIRES_AFTER:
            self._delete(client_id)

    def _delete(self, client_id: bytes) -> None:
        self._batch.delete("clients", client_id)
        for key, _ in list(self._batch.range("answers", client_id, client_id + b"\xff" * 9)):
            self._batch.delete("answers", key)

    def _answers(self, client_id: bytes) -> dict[int, Any]:
        rows = self._batch.range("answers", client_id, client_id + b"\xff" * 9)
        return {int.from_bytes(key[16:], "big"): records.unseal(row, "an answer") for key, row in rows}
