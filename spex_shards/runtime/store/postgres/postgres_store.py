"""The store of a shard in PostgreSQL, for the one process that owns the shard.

::

    open     claim: epoch + 1, a new claim                        from now on, nobody else's batch is kept
    apply    one statement: seq + 1 if epoch, claim and seq are ours, with all puts and deletions
    broken   connect again, lock the owner's row, compare seq     kept, not kept (sent again), or `StoreLost`
    release  a batch that only read counts if the claim is still ours

# Guarantees:
#
# * `apply` returns if the batch is kept, and raises `StoreError` if it is not. If neither can be known, or if the shard
#   belongs to another owner, it raises `StoreLost`, and so does every later call.
# * A statement that is still on its way when it is sent again is kept once: its condition names the number of batches.
# * If a batch was found to be kept after its connection broke, one more write follows before `apply` returns. A commit
#   whose wait for a replica was cut off is visible without being replicated; a later commit that did wait covers it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ....errors import DataDirError, StoreError
from ..failures import Fenced, StoreLost
from ..keys import check_keys
from ..port import Changes
from .claimant import Claimant
from .link import Broken, Link, array, int4, int8, number
from .reading import TableReader
from .statements import Statements

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult


_PAUSE: Final = 0.05


class PostgresStore:
    """A shard's rows in PostgreSQL.

    Args:
        link: A connection that is not open yet.
        statements: The statements of the namespace.
        shard: The shard.
        claimant: Who claims it.

    Attributes:
        far: True: a read costs a round trip.
        next_upkeep: When to look whether the shard is still owned, in a cluster; else infinity.
        last: The sequence of the newest batch that is committed.

    Raises:
        StoreLost: The server cannot be reached.
        DataDirError: The shard cannot be claimed.
    """

    far = True

    def __init__(self, link: Link, statements: Statements, shard: int, claimant: Claimant) -> None:
        self._link = link
        self._statements = statements
        self._shard = shard
        self._claimant = claimant
        self._secret = secrets.token_bytes(16)
        self._fetched: dict[str, dict[bytes, bytes | None]] = {}
        self._reader = TableReader(self._read, statements, shard)
        self._lost: StoreLost | None = None
        # Another store of this process takes this one's place; and how many batches there were when it did.
        self._succeeding = False
        self._succeeded: int | None = None
        try:
            self.claim, self.last = self._claimed()
        except BaseException:
            self._link.close()
            raise
        self.next_upkeep = time.monotonic() + claimant.looks_every
        self._owned = [int4(shard), int8(self.claim), self._secret]

    def _claimed(self) -> tuple[int, int]:
        who = self._claimant
        values = [int4(self._shard), int8(who.term), self._secret, who.name.encode(), who.cluster, int8(who.resumes)]
        deadline = time.monotonic() + self._link.wait.patience
        while True:
            self._open(deadline)
            try:
                result = self._link.run(self._statements.claim, values)
            except Broken as error:
                self._give_up_at(deadline, error)
                continue
            if result.ntuples:
                return number(result.get_value(0, 0)), number(result.get_value(0, 1))
            elsewhere = bool(who.resumes) and self._is_elsewhere()
            self._link.close()
            if elsewhere:
                raise self._lose("another process has claimed the shard", Fenced)
            text = f"shard {self._shard} cannot be claimed: another manager has taken the namespace over"
            raise DataDirError(f"{text}; stop one of the two", shard=self._shard)

    def _is_elsewhere(self) -> bool:
        """Return whether another owner has claimed the shard since this one's supervisor had it."""
        with suppress(Broken):
            result = self._link.run(self._statements.look, [int4(self._shard)])
            return bool(result.ntuples) and number(result.get_value(0, 0)) > self._claimant.resumes
        return False

    def _open(self, deadline: float) -> None:
        """Connect; if that fails, the store is lost, because its owner may have been replaced meanwhile."""
        try:
            self._link.open(deadline)
        except StoreLost as error:
            self._lost = error
            raise

    def _give_up_at(self, deadline: float, error: Broken) -> None:
        if time.monotonic() > deadline:
            raise self._lose(f"PostgreSQL gives no answer: {error}")
        self._link.wait.on_wait()
        time.sleep(_PAUSE)

    # ------------------------------------------------------------------ reads

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        fetched = self._fetched.get(table)
        if fetched is not None and key in fetched:
            return fetched[key]
        return self._reader.get(table, key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """Return the values of all `keys`, in one round trip; `get` has them at hand until the batch ends."""
        found = self._reader.get_many(table, keys)
        self._fetched.setdefault(table, {}).update(found)
        return found

    def range(
        self, table: str, start: bytes, stop: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over ``start <= key < stop`` in key order (or the reverse)."""
        return self._reader.range(table, start, stop, reverse=reverse)

    def release(self) -> None:
        """Confirm that the shard is still owned, so that what was read may be answered.

        Raises:
            StoreLost: Another process owns the shard, or it cannot be known.
        """
        self._fetched.clear()
        if not self._read(self._statements.confirm, self._owned).ntuples:
            raise self._lose("another process has claimed the shard", Fenced)

    def _read(self, statement: str, values: Sequence[bytes | None]) -> PGresult:
        self._check()
        link = self._link
        deadline = 0.0
        while True:
            try:
                return link.run(statement, values)
            except Broken as error:
                if link is not self._link:
                    raise StoreError("the view was left behind by a call that interrupted its reader") from None
                deadline = deadline or time.monotonic() + link.wait.patience
                self._give_up_at(deadline, error)
                self._open(deadline)
                self._compare(deadline)

    def _compare(self, deadline: float) -> None:
        """On a new connection: check that the shard is owned, and has the batches that it should have."""
        try:
            seq = self._look()
        except Broken as error:
            self._give_up_at(deadline, error)
            return
        if seq != self.last:
            raise self._lose(f"the store has {seq} batches, where this owner had {self.last}")

    # ------------------------------------------------------------------ batches

    def apply(self, changes: Changes) -> None:
        """Commit all changes, by one statement.

        Blocks while the connection is lost, for the patience that the store was opened with.

        Raises:
            StoreError: Nothing was committed.
            StoreLost: It is unknown whether the changes are committed, or the shard is not owned any more.
        """
        self._fetched.clear()
        self._check()
        statement, values = self._statement(changes)
        taken = broke = False
        while True:
            try:
                taken = bool(self._link.run(statement, values).ntuples)
            except Broken:
                broke = True
            except StoreError as error:
                if broke:  # what was sent before may still arrive
                    raise self._lose(f"what became of a batch cannot be found out: {error}") from error
                raise
            else:
                if taken and not self._link.warned:
                    self.last += 1
                    return
            finally:
                self._leave_if_succeeded()
            if self._was_kept(possible=taken or broke):
                return

    def _statement(self, changes: Changes) -> tuple[str, list[bytes | None]]:
        puts: list[str] = []
        deletes: list[str] = []
        put_values: list[bytes | None] = []
        delete_values: list[bytes | None] = []
        for table in sorted(changes):
            rows = changes[table]
            gone = [key for key, value in rows.items() if value is None]
            kept = [key for key, value in rows.items() if value is not None]
            check_keys(table, rows)
            if kept:
                puts.append(table)
                put_values += [array(kept), array([value for value in rows.values() if value is not None])]
            if gone:
                deletes.append(table)
                delete_values.append(array(gone))
        statement = self._statements.batch(tuple(puts), tuple(deletes))
        return statement, [*self._owned, int8(self.last), *put_values, *delete_values]

    def _was_kept(self, *, possible: bool) -> bool:
        """Find out whether the batch after the last one is committed; then it certainly lasts.

        Args:
            possible: Whether it may be: its statement has said so, or a connection was lost after it was sent.

        Raises:
            StoreLost: It cannot be known, or the shard is not owned any more.
        """
        deadline = time.monotonic() + self._link.wait.patience
        kept, connected = False, True
        while True:
            batches = self._batches_at_end()
            if batches is not None:
                if batches > self.last:
                    return True
                raise StoreError("the batch was left behind by a call that interrupted it")
            try:
                if not connected:
                    self._open(deadline)
                    connected = True
                seq = self._look()
                if self._batches_at_end() is not None:
                    continue
                if seq == self.last and not kept:
                    return False
                if seq <= self.last or not possible:
                    raise self._lose(f"the store has {seq} batches, where this owner had {self.last + kept}")
                kept = True
                if self._covers(seq):
                    self.last = seq + 1
                    return True
                self._give_up_at(deadline, Broken("no replica has confirmed the batch"))
            except Broken as broken:
                connected = False
                self._give_up_at(deadline, broken)
            except StoreLost:
                raise
            except (StoreError, DataDirError) as error:  # not of the batch: what became of that is still not known
                raise self._lose(f"what became of a batch cannot be found out: {error}") from error

    def _covers(self, seq: int) -> bool:
        """Commit one batch more than `seq`, without rows; return whether that lasts, and so all batches before it."""
        made = self._link.run(self._statements.batch((), ()), [*self._owned, int8(seq)]).ntuples
        return bool(made) and not self._link.warned

    def _look(self) -> int:
        """Return how many batches the shard has; wait for a statement of a lost connection that is being executed.

        Raises:
            Broken: The connection was lost.
            StoreLost: Another process owns the shard.
        """
        result = self._link.run(self._statements.look, [int4(self._shard)])
        if not result.ntuples:
            raise self._lose("the namespace has been removed")
        epoch, claim, seq = (result.get_value(0, column) for column in range(3))
        if claim != self._secret:
            while self._succeeding:
                time.sleep(_PAUSE)
            if self._succeeded is not None:
                return self._succeeded  # the caller looks at that again
            owner = (result.get_value(0, 3) or b"").decode()
            error: type[StoreLost] = Fenced
            if number(epoch) < self.claim:
                owner, error = "the server has lost this owner's claim and its last batches, and nobody", StoreLost
            text = f"{owner} has claimed the shard: epoch {number(epoch)}, batch {number(seq)} in the store; "
            raise self._lose(f"{text}this owner had epoch {self.claim}, batch {self.last}", error)
        return number(seq)

    def _batches_at_end(self) -> int | None:
        """Return how many batches there were when another store of this process took this one's place; None: none has.

        That store has read what is committed, also by a statement of this one. It may be set at any moment.
        """
        return self._succeeded

    def _lose(self, why: str, error: type[StoreLost] = StoreLost) -> StoreLost:
        self._lost = error(f"shard {self._shard} in PostgreSQL: {why}", shard=self._shard)
        return self._lost

    def _check(self) -> None:
        if self._succeeded is not None:
            raise StoreError("the batch was left behind by a call that interrupted it")
        if self._lost is not None:
            raise type(self._lost)(str(self._lost), **self._lost.context)

    # ------------------------------------------------------------------ for a shard in the calling process

    def begin_view(self) -> None:
        """Read over a new connection from now on; a call that is in the middle of reading keeps the old one."""
        old, self._link = self._link, self._link.another()
        old.leave()
        self._fetched = {}
        deadline = time.monotonic() + self._link.wait.patience
        self._open(deadline)
        self._compare(deadline)

    def reopened(self, *, in_use: bool) -> PostgresStore:  # noqa: ARG002 - the server knows what is being executed
        """Return a store that continues with everything that is committed; this one commits nothing more.

        Args:
            in_use: Whether a thread may be in the middle of `apply`.

        Raises:
            DataDirError: The shard cannot be claimed again.
            StoreLost: The server cannot be reached.
        """
        # The claim waits for a statement of this store that is being executed, and refuses one that comes later.
        self._succeeding = True
        try:
            store = PostgresStore(self._link.another(), self._statements, self._shard, self._claimant)
            self._succeeded = store.last
        finally:
            self._succeeding = False
        self._link.leave()
        return store

    def _leave_if_succeeded(self) -> None:
        if self._succeeded is not None:
            self._link.leave()

    # ------------------------------------------------------------------ the rest

    def make_room(self) -> None:
        """Do nothing: this store is never full."""

    def upkeep(self) -> None:
        """Look whether the shard is still owned; if the server does not answer now, the next use will find out.

        Raises:
            Fenced: Another process has claimed the shard.
        """
        self.next_upkeep = time.monotonic() + self._claimant.looks_every
        self._check()
        with suppress(Broken):
            if not self._link.run(self._statements.confirm, self._owned).ntuples:
                raise self._lose("another process has claimed the shard", Fenced)

    def size(self) -> int:
        """Return the size of the namespace in bytes, divided by the number of its shards."""
        return self._reader.size()

    def rows(self) -> int:
        """Return about how many rows the namespace has, divided by the number of its shards."""
        return self._reader.rows()

    def close(self) -> None:
        """Close the connection. The shard can be claimed at any time, also while it is open."""
        self._link.close()
