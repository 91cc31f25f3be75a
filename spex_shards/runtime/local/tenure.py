"""A tenure: the time of one open shard in this process. It is never mended: what goes wrong with it is left behind.

# Guarantees:
#
# * One thread at a time is inside. What it does in memory is worth nothing before the batch is kept, which is
#   one append to the log. So whoever finds a tenure in which a call was cut off, or is interrupted, loses nothing by
#   having another made of what the log holds.
# * A tenure is `dead` before its log is closed, and that is before the log is read for the next one. Whoever has a
#   batch kept and finds the tenure alive afterwards can be sure that it is in the next one; whoever finds it dead
#   asks `inherited`.
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
        turn: Whoever has it is inside.
        busy: Somebody is inside, or was cut off there.
        dead: It is left behind, or about to be.
        inherited: The sequence of the newest batch that the next tenure has; None: there is no next one yet.
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
        """Carry an operation out in a batch of its own, and keep that.

        Returns:
            What it returned, and the sequence of the newest batch that was kept then.

        Raises:
            SpexError: What the operation or the store raised; nothing was changed.
            BaseException: Anything else has come in between, and the tenure is of no use any more: `busy` says so.
        """
        batch = self.batch
        self.busy = True
        mark = batch.mark()
        try:
            value = self._run(operation, arguments, call)
            # Before it is kept: afterwards a call that interrupts this one may have others kept on top.
            kept = self.store.last + batch.dirty
            batch.commit()
        except SpexError as error:
            # An error that a signal handler has raised may have come at any place: nothing can be undone then.
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
        """Return whether something is due at another time than when this was asked last, or upkeep is due sooner."""
        due, upkeep = self.service.next_due(), self.store.next_upkeep
        if due == self._due and upkeep >= self._upkeep:
            return False
        self._due, self._upkeep = due, upkeep
        return True

    @_inside
    def tick(self, now: int) -> int | None:
        """Do a portion of what is due, and keep it; return when the next is.

        Raises:
            StoreError: It could not be done; nothing was changed.
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
            batch.commit()  # of nothing: what was read for it is let go
            self.busy = False
            raise
        self.busy = False
        return due

    @_inside
    def upkeep(self) -> None:
        """Do what is due in the store.

        Raises:
            StoreError: The store cannot keep its promises any more.
        """
        self.store.upkeep()
        self._upkeep = self.store.next_upkeep

    @_inside
    def make_room(self) -> None:
        """Wait until the store takes something again.

        Raises:
            StoreError: Checkpoints fail.
        """
        self.store.make_room()

    @_inside
    def close(self) -> None:
        """Write everything out and let go of the store."""
        self.batch.rollback()
        self.store.close()
