"""A tenure: one engine's time in this process. It is never mended: what goes wrong with it is left behind.

# Guarantees:
#
# * One thread at a time is inside. What it does in memory is worth nothing before the engine's batch is kept, which is
#   one append to the log. So whoever finds a tenure in which a call was cut off, or is interrupted, loses nothing by
#   having another made of what the log holds.
# * A tenure is `dead` before its log is closed, and that is before the log is read for the next one. Whoever has a
#   batch kept and finds the tenure alive afterwards can be sure that it is in the next one; whoever finds it dead
#   asks `inherited`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from ...engine import Engine
from ...engine.handlers import Caller
from ...errors import SpexError, StoreError
from ..store.logged_store import LoggedStore
from ..system.turns import Inside, Turn, interruption

_inside = Inside()


class Tenure:
    """An engine and its store, for one thread at a time.

    Args:
        engine: The engine.
        store: Its store.

    Attributes:
        turn: Whoever has it is inside.
        busy: Somebody is inside, or was cut off there.
        dead: It is left behind, or about to be.
        inherited: The sequence of the newest batch that the next tenure has; None: there is no next one yet.
    """

    def __init__(self, engine: Engine, store: LoggedStore) -> None:
        self.engine = engine
        self.store = store
        self._batch = engine.batch
        self._due: int | None = None
        self._upkeep = inf
        self.turn = Turn(self, _inside)
        self.busy = self.dead = False
        self.inherited: int | None = None

    @_inside
    def carry_out(self, operation: Callable[[Engine, Caller], Any], caller: Caller) -> tuple[Any, int]:
        """Carry something out in a batch of its own, and keep that.

        Returns:
            What the operation returned, and the sequence of the newest batch that was kept then.

        Raises:
            SpexError: What the operation or the store raised; nothing was changed.
            BaseException: Anything else has come in between, and the tenure is of no use any more: `busy` says so.
        """
        engine = self.engine
        self.busy = True
        mark = engine.mark()
        try:
            value = operation(engine, caller)
            # Before it is kept: afterwards a call that interrupts this one may have others kept on top.
            kept = self.store.last + self._batch.dirty
            engine.commit()
        except SpexError as error:
            # An error that a signal handler has raised may have come at any place: nothing can be undone then.
            foreign = interruption(error)
            if foreign is not None:
                raise foreign from None
            engine.rollback(mark)
            engine.commit()
            self.busy = False
            raise
        self.busy = False
        return value, kept

    def is_due_sooner(self) -> bool:
        """Return whether something is due at another time than when this was asked last, or upkeep is due sooner."""
        due, upkeep = self.engine.next_due(), self.store.next_upkeep
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
        engine = self.engine
        self.busy = True
        due = engine.next_due()
        mark = engine.mark()
        try:
            if due is not None and due <= now:
                due = engine.tick(now)
                engine.commit()
        except StoreError:
            engine.rollback(mark)
            engine.commit()  # of nothing: what was read for it is let go
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
        self.engine.upkeep()
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
        self.engine.close()
