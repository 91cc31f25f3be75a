"""A tenure: the time during which one open shard is used in this process. After a fault it is replaced, never repaired.

# Guarantees:
#
# * One thread at a time is inside a tenure. Its changes in memory count for nothing until the batch is committed, which
#   is a single append to the log. So a thread that finds a tenure in which a call was cut off, or which it interrupts
#   itself, loses nothing by having a new tenure made from the log.
# * A tenure is marked `dead` before its log is closed, and the log is closed before it is read for the next tenure. So
#   if a thread has committed a batch and then finds its tenure alive, the next tenure is certain to have that batch. If
#   it finds the tenure dead, it must compare with `inherited`.
"""

from __future__ import annotations

from math import inf
from typing import Any

from ...errors import SpexError, StoreError
from ..protocol.operations import STATS, Operation
from ..protocol.requests import DECLARE
from ..service import Call
from ..shard import Shard
from ..system.turns import Inside, Turn, interruption

_inside = Inside()


class Tenure:
    """An open shard, for one thread at a time.

    Args:
        shard: The shard.

    Attributes:
        turn: The thread that holds it is inside.
        busy: Whether a call is inside, or was cut off there.
        dead: Whether the tenure is abandoned, or about to be.
        inherited: The sequence of the newest batch that the next tenure has; None: there is no next tenure yet.
    """

    def __init__(self, shard: Shard) -> None:
        self.store, self.batch, self.service = shard.store, shard.batch, shard.service
        self._due: int | None = None
        self._upkeep = inf
        self.turn = Turn(self, _inside)
        self.busy = self.dead = False
        self.inherited: int | None = None

    @_inside
    def carry_out(self, operation: Operation, arguments: tuple[Any, ...], call: Call) -> tuple[Any, int]:
        """Carry out an operation in a batch of its own, and commit the batch.

        Returns:
            The operation's value, and the sequence of the newest batch that is committed then.

        Raises:
            SpexError: The operation or the store raised it; nothing was changed.
            BaseException: Any other exception came in between. `busy` stays set: the tenure must be replaced.
        """
        batch = self.batch
        self.busy = True
        mark = batch.mark()
        try:
            value = self._run(operation, arguments, call)
            # Read before the commit: right after it, a call that interrupts this one may commit further batches.
            kept = self.store.last + batch.dirty
            batch.commit()
        except SpexError as error:
            # A signal handler may raise at any place, so the state in memory is not known: no rollback is possible.
            foreign = interruption(error)
            if foreign is not None:
                raise foreign from None
            batch.rollback(mark)
            batch.commit()
            self.busy = False
            raise
        self.busy = False
        return value, kept

    def _run(self, operation: Operation, arguments: tuple[Any, ...], call: Call) -> Any:
        if operation is DECLARE:
            return self.service.declare(list(arguments))
        if operation is STATS:
            return {**self.service.stats(), "store_size": self.store.size()}
        return self.service.operations[operation](*arguments, call=call)

    def is_due_sooner(self) -> bool:
        """Return whether the next due time differs from the last call's, or upkeep has become due sooner."""
        due, upkeep = self.service.next_due(), self.store.next_upkeep
        if due == self._due and upkeep >= self._upkeep:
            return False
        self._due, self._upkeep = due, upkeep
        return True

    @_inside
    def tick(self, now: int) -> int | None:
        """Do a portion of the work that is due, and commit it; return when the next is due, or None.

        Raises:
            StoreError: The store failed; nothing was changed.
        """
        service, batch = self.service, self.batch
        self.busy = True
        due = service.next_due()
        mark = batch.mark()
        try:
            if due is not None and due <= now:
                service.tick(now)
                batch.commit()
                due = service.next_due()
        except StoreError:
            batch.rollback(mark)
            batch.commit()  # the batch is empty: this only releases the read view
            self.busy = False
            raise
        self.busy = False
        return due

    @_inside
    def upkeep(self) -> None:
        """Do the store's due maintenance.

        Raises:
            StoreError: The store cannot keep its guarantees any more.
        """
        self.store.upkeep()
        self._upkeep = self.store.next_upkeep

    @_inside
    def make_room(self) -> None:
        """Wait until the store accepts writes again.

        Raises:
            StoreError: Checkpoints keep failing.
        """
        self.store.make_room()

    @_inside
    def close(self) -> None:
        """Roll back, write everything to the disk, and close the store.

        Raises:
            StoreError: Not everything could be written.
        """
        self.batch.rollback()
        self.store.close()
