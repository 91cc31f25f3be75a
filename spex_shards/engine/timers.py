"""Work that becomes due: timeouts, pruning, and long changes that are made in portions. Time is an argument."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final

from ..domain.instance import Instance
from ..errors import HandlerError, StoreError, TransitionTimeout, show
from ..log_fields import about_error
from ..runtime.store import Batch
from ..runtime.store.keys import u32, u64
from ..runtime.watch import Watch
from . import handlers
from .catalogue import Catalogue, Entry
from .rows import Found, Instances

PORTION: Final = 256
"""How many instances one tick treats at most: bounded, so that requests do not wait long."""
GARBAGE_PORTION: Final = 4096
CONTEXT_HISTORY: Final = 100
logger = logging.getLogger("spex_shards")


class Timers:
    """The timers of one shard. They are rows, so what became due while no process ran is still due at the next start.

    Args:
        batch: The shard's batch.
        catalogue: The shard's specifications.
        instances: The shard's instances.
        snapshot: Returns an instance with a number of its newest history entries.
        prune_interval: Microseconds between pruning passes; None: there is only the pass at the start.
        silent_before: Timeouts due before that time are marked as reported, without a report; 0: none.
        watch: Notes which handler is called, and refuses those that have killed too many workers.
        now: The time.

    Attributes:
        timeouts_seen: How many timeouts were reported since the start.
        held: Whether timeouts must wait, because the outbox for their log records is full.
    """

    def __init__(
        self,
        batch: Batch,
        catalogue: Catalogue,
        instances: Instances,
        snapshot: Callable[[Found, int], Instance],
        prune_interval: int | None,
        silent_before: int,
        watch: Watch,
        now: int,
    ) -> None:
        self._batch = batch
        self._catalogue = catalogue
        self._instances = instances
        self._snapshot = snapshot
        self._prune_interval = prune_interval
        self._silent_before = silent_before
        self._watch = watch
        self._next_prune: int | None = now
        self._pruning_until: int | None = None
        self._settling = self._batch.first("jobs") is not None
        self.timeouts_seen = 0
        self.held = False

    def next_due(self) -> int | None:
        """Return when the next tick is due: microseconds since the epoch (0: at once), or None if never."""
        if self._settling or self._instances.garbage or self._pruning_until is not None:
            return 0
        deadline = None if self.held else self._instances.earliest["deadlines"]
        if deadline is None:
            return self._next_prune
        # One microsecond later: a timeout is reported after its time has passed.
        return deadline + 1 if self._next_prune is None else min(deadline + 1, self._next_prune)

    def tick(self, now: int) -> int | None:
        """Do a bounded portion of the work that is due; return when the next tick is due, as `next_due`."""
        # Registered before the portion's changes, and so called after all of them are undone.
        self._batch.on_undo(lambda: self._instances.look_for_earliest("deadlines"))
        self._batch.restores(self, "_settling", "_next_prune", "_pruning_until", "timeouts_seen")
        self._batch.restores(self._instances, "garbage")
        earliest = self._instances.earliest["deadlines"]
        if self._settling:
            self._settle_portion()
        elif earliest is not None and earliest < now and not self.held:
            self._report_timeouts(now)
        elif self._pruning_until is not None or (self._next_prune is not None and self._next_prune <= now):
            self._prune_portion(now)
        elif self._instances.garbage:
            self._instances.remove_garbage(GARBAGE_PORTION)
        return self.next_due()

    def specification_changed(self, entry: Entry, old: Entry | None) -> None:
        """Make due, if a specification's options have changed, that its instances' due times are computed again.

        Timeouts that waited for its handler become due as well, if it is there now.
        """
        d = entry.declaration
        was = None if old is None else old.declaration
        if was is not None and _timing(d) != _timing(was):
            self._batch.put("jobs", u32(entry.number), b"")
            self._settling = True
        self.handler_declared(entry)

    def handler_declared(self, entry: Entry) -> None:
        """Make the timeouts due that waited for a specification's handler, if it is there now."""
        if not entry.waits_for_handler:
            self._unpark(entry)

    def _settle_portion(self) -> None:
        first = self._batch.first("jobs")
        if first is None:
            self._settling = False
            return
        job, after = first
        entry = self._catalogue.by_number(int.from_bytes(job, "big"))
        portion = list(islice(self._instances.keys(entry.number, after or None), PORTION))
        for key in portion:
            self._alone("its due times cannot be computed", partial(self._settle, key, entry))
        if len(portion) < PORTION:
            self._batch.delete("jobs", job)
        else:
            self._batch.put("jobs", job, portion[-1])

    def _settle(self, key: bytes, entry: Entry) -> None:
        found = self._instances.at(key)
        if found is None:
            raise StoreError("a damaged index: an instance listed for its specification is not there", row="an index")
        self._instances.settle(found, entry)

    def _alone(self, what: str, step: Callable[[], None]) -> bool:
        """Do a step that concerns one instance; return False if its rows are damaged.

        Only this step is undone then, and an error is logged, so that the other instances of the portion are treated.
        A store that cannot be read affects all instances, so its error is raised.
        """
        mark = self._batch.mark()
        try:
            step()
        except StoreError as error:
            if "row" not in error.context:
                raise
            self._batch.rollback(mark)
            logger.error("an instance is left out, %s: %s", what, error, extra=about_error(error, "instance_left_out"))
            return False
        return True

    def _report_timeouts(self, now: int) -> None:
        for key, instance in self._portion(self._batch.range("deadlines", b"", u64(now))):
            step = partial(self._report_timeout, key, instance)
            if not self._alone("its timeout is not reported", step):
                self._batch.delete("deadlines", key)
        self._instances.look_for_earliest("deadlines")

    def _portion(self, rows: Iterator[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        # A suspect gets a portion of its own, so that everything before it is committed if it kills the worker again.
        portion = list(islice(rows, PORTION))
        place = next((place for place, (key, _) in enumerate(portion) if self._watch.deaths(key)), len(portion))
        return portion[: max(1, place)]

    def _report_timeout(self, key: bytes, instance: bytes) -> None:
        found = self._instances.at(instance)
        due = int.from_bytes(key[:8], "big")
        if found is None or found.row.deadline != due or u64(found.row.number) != key[8:]:
            self._batch.delete("deadlines", key)
            return
        entry = self._catalogue.by_number(found.row.specification)
        if due < self._silent_before:
            self._instances.close_deadline(found, entry, reported=True)
        elif entry.waits_for_handler:
            self._batch.delete("deadlines", key)
            self._batch.put("parked", u32(entry.number) + key, instance)
        else:
            self._report(found, entry, key)

    def _report(self, found: Found, entry: Entry, key: bytes) -> None:
        instance = self._snapshot(found, CONTEXT_HISTORY)
        self._instances.close_deadline(found, entry, reported=True)
        self.timeouts_seen += 1
        refusal = self._watch.refusal(key)
        if refusal is not None:
            text = f"the error handler of {entry.name} is not asked about the timeout of instance "
            handlers.report(HandlerError(f"{text}{show(instance.identifier)} any more: {refusal}"))
            return
        error = TransitionTimeout(
            f"instance {show(instance.identifier)} of {entry.name} has been in state {instance.current_state!r} "
            f"longer than its transition timeout of {entry.declaration.transition_timeout}"
            f"{entry.outline.ways_on(instance.current_state)}",
            instance=instance,
        )
        self._watch.timing(key)
        word = handlers.ask(entry.handler(), error, None)
        self._watch.clear()
        handlers.report(word)

    def _unpark(self, entry: Entry) -> None:
        parked = list(self._batch.range("parked", u32(entry.number), u32(entry.number + 1)))
        for key, instance in parked:
            self._batch.delete("parked", key)
            self._batch.put("deadlines", key[4:], instance)
        if parked:
            self._instances.look_for_earliest("deadlines")

    def _prune_portion(self, now: int) -> None:
        if self._pruning_until is None:
            self._pruning_until = now
            self._next_prune = None if self._prune_interval is None else now + self._prune_interval
        portion = list(islice(self._batch.range("prunable", b"", u64(self._pruning_until)), PORTION))
        for key, instance in portion:
            if not self._alone("it is not pruned", partial(self._prune, key, instance)):
                self._batch.delete("prunable", key)
        if len(portion) < PORTION:
            self._pruning_until = None

    def _prune(self, key: bytes, instance: bytes) -> None:
        found = self._instances.at(instance)
        if found is None or u64(found.row.number) != key[8:]:
            self._batch.delete("prunable", key)
        else:
            self._instances.remove(found)


def _timing(declaration: Any) -> tuple[Any, ...]:
    states = declaration.terminal_states
    return declaration.transition_timeout, declaration.prune_timeout, declaration.prunable_states, states
