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
from ..call import Call
from ..protocol.operations import STATS, Operation
from ..protocol.requests import DECLARE
from ..shard import Shard
from ..system.turns import Inside, Turn, interruption

_inside, _committing = Inside(), Inside()


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
        self._due = self._upkeep = inf
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
            self._commit()
        except SpexError as error:
            # A signal handler may raise at any place, so the state in memory is not known: no rollback is possible.
            foreign = interruption(error)
            if foreign is not None:
                raise foreign from None
            batch.rollback(mark)
            self._commit()
            self.busy = False
            raise
        self.busy = False
        return value, kept

    def declared(self, declarations: list[tuple[Any, ...]], call: Call) -> bool:
        """Carry declarations out in a tenure that no other thread knows yet; return whether that succeeded.

        If not, the tenure stays `busy`: whoever comes next replaces it, and tries again or gets the store's error.
        """
        try:
            for arguments in declarations:
                self.carry_out(DECLARE, arguments, call)
        except SpexError:
            self.busy = True
        return not self.busy

    @_committing
    def _commit(self) -> None:
        self.batch.commit()

    def may_be_committing(self) -> bool:
        """Return whether a thread is in the middle of a commit, so that it is unknown whether its batch is kept."""
        return _committing.anywhere(self)

    def _run(self, operation: Operation, arguments: tuple[Any, ...], call: Call) -> Any:
        if operation is DECLARE:
            return self.service.declare(list(arguments))
        if operation is STATS:
            return {**self.service.stats(), "store_size": self.store.size()}
        return self.service.operations[operation](*arguments, call=call)

    def next_look(self) -> tuple[int | None, float]:
        """Return when work and upkeep are due next, for the keeper, which sleeps until then."""
        # A call may change the times while they are read here. Until they are noted, it wakes the keeper in any case.
        self._due = self._upkeep = inf
        due, upkeep = self.service.next_due(), self.store.next_upkeep
        self._due, self._upkeep = inf if due is None else due, upkeep
        return due, upkeep

    def is_due_sooner(self) -> bool:
        """Return whether work or upkeep is due before the keeper looks next."""
        due = self.service.next_due()
        return (due is not None and due < self._due) or self.store.next_upkeep < self._upkeep

    @_inside
    def tick(self, now: int) -> None:
        """Do a portion of the work that is due, and commit it.

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
                self._commit()
        except StoreError:
            batch.rollback(mark)
            self._commit()  # the batch is empty: this only releases the read view
            self.busy = False
            raise
        self.busy = False

    @_inside
    def upkeep(self) -> None:
        """Do the store's due maintenance.

        Raises:
            StoreError: The store cannot keep its guarantees any more.
        """
        self.store.upkeep()

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
