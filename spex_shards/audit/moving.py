"""The content of a shard of Spex, in the form in which `reshard` moves it: instances, models and deviations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Self

from ..engine.catalogue import Catalogue, Entry
from ..engine.models import DeviationRow, deviation_row, stored_models
from ..engine.row_forms import instance_row, row_bytes
from ..engine.rows import Found, Instances, identifier_bytes
from ..errors import DataDirError
from ..runtime.protocol import records
from ..runtime.store import Store
from ..runtime.store.keys import u32, u64
from .contents import Contents
from .reading import naming, number

PORTION: Final = 512
_ENTRIES_AT_ONCE: Final = 4096
_GARBAGE_AT_ONCE: Final = 4096
_SAME: Final = ("seq", "last", "state", "identifier")


class InstanceContents(Contents[Found]):
    """The instances of a shard, with its models and deviations.

    Args:
        store: The shard's store.

    Attributes:
        catalogue: The shard's specifications.
        instances: The shard's instances.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.catalogue = Catalogue(self.batch)
        self.instances = Instances(self.batch, self.catalogue)

    def count(self) -> int:
        """Return the number of instances."""
        return sum(1 for _ in self.batch.range("instances", b""))

    def portions(self) -> Iterator[list[Found]]:
        """Iterate over all instances in lists of up to 512; a caller may remove the instances of each list."""
        after: bytes | None = None
        while True:
            portion = [found for found, _ in zip(self.instances.walk(None, after), range(PORTION), strict=False)]
            if not portion:
                return
            yield portion
            after = portion[-1].key

    def routed_by(self, found: Found) -> bytes:
        """Return the canonical bytes of an instance's identifier."""
        return identifier_bytes(found)

    def named(self, found: Found) -> str:
        """Return how an error's text names an instance."""
        return f"the instance {naming(found.key, row_bytes(found.row))}"

    def holds(self, found: Found) -> bool:
        """Return whether this shard holds an instance of another shard.

        Raises:
            DataDirError: It holds a different instance with the same identifier.
        """
        row = self.batch.get("instances", found.key)
        if row is None:
            return False
        own = instance_row(row)
        if any(getattr(own, name) != getattr(found.row, name) for name in _SAME):
            raise DataDirError(f"{self.named(found)} is on two shards, and differs; see spex-shards verify")
        return True

    def adopt(self, source: Self, found: Found) -> bool:
        """Copy an instance of another shard unchanged; return False if it was copied before.

        Raises:
            DataDirError: This shard has a different instance with the same identifier.
        """
        if self.holds(found):
            return False
        theirs = source.catalogue.by_number(found.row.specification)
        entry = self._entry(source, theirs)
        own_number = self.instances.reserve()
        for seq, row in source.history_rows(found):
            self.batch.put("history", u64(own_number) + u64(seq), row)
            if seq % _ENTRIES_AT_ONCE == 0:
                # Until the instance's own row is written, the copied part of the history counts as garbage: after an
                # interruption, the rows would otherwise belong to nothing.
                self.batch.put("garbage", u64(own_number), u64(seq))
                self.commit()
        if found.row.seq >= _ENTRIES_AT_ONCE:
            self.batch.delete("garbage", u64(own_number))
        parked = source.is_parked(found) and entry.stored.handler.kind == "shipped"
        meta = source.batch.get("metas", u64(found.row.number))
        self.instances.adopt(found, entry, own_number, meta, parked=parked)
        return True

    def history_rows(self, found: Found) -> Iterator[tuple[int, bytes]]:
        """Iterate over an instance's stored history: the sequence and the row of each entry."""
        for key, row in self.batch.range("history", u64(found.row.number), u64(found.row.number + 1)):
            records.unseal(row, "a history entry")
            yield number(key[8:]), row

    def is_parked(self, found: Found) -> bool:
        """Return whether an instance's timeout waits for a handler."""
        row = found.row
        if row.deadline is None:
            return False
        return self.batch.get("parked", u32(row.specification) + u64(row.deadline) + u64(row.number)) is not None

    def _entry(self, source: Self, theirs: Entry) -> Entry:
        own = self.catalogue.get(theirs.name)
        entry = own or self.catalogue.register(theirs.stored, None)[0]
        pending = source.batch.get("jobs", u32(theirs.number)) is not None
        if (pending or entry.digest != theirs.digest) and self.batch.get("jobs", u32(entry.number)) != b"":
            self.batch.put("jobs", u32(entry.number), b"")  # the due times of all its instances are computed again
        return entry

    def remove(self, found: Found) -> None:
        """Remove an instance."""
        self.instances.remove(found)

    def tidy(self) -> bool:
        """Remove a portion of the histories that removed instances have left; return whether there was any."""
        if not self.instances.garbage:
            return False
        self.instances.remove_garbage(_GARBAGE_AT_ONCE)
        return True

    # ------------------------------------------------------------------ rows that belong to a shard as a whole

    def check_rest(self) -> None:
        """Read the rows that `take_rest` will need, so that damage is found before anything is changed.

        Raises:
            StoreError: A row is damaged.
        """
        stored_models(self.batch)
        self._deviations()
        super().check_rest()

    def _unite(self, source: Self) -> None:
        self._unite_models(source)
        self._unite_deviations(source)

    def _unite_models(self, source: Self) -> None:
        own = stored_models(self.batch)
        last = max((model.number for model in own.values()), default=0)
        for name, theirs in stored_models(source.batch).items():
            model = own.get(name)
            known, size = (model.transitions, model.size) if model else (set(), 0)
            if model is None:
                last += 1
                self.batch.put("models", u32(last) + u64(0), records.seal([name]))
            place = u32(model.number if model else last)
            for step, transition in enumerate(sorted(theirs.transitions - known, key=_in_order), size + 1):
                self.batch.put("models", place + u64(step), records.seal(list(transition)))

    def _deviations(self) -> dict[tuple[str, ...], tuple[int, DeviationRow]]:
        found = {}
        for key, row in self.batch.range("deviations", b""):
            one = deviation_row(row)
            found[one.specification, *one.transition] = number(key), one
        return found

    def _unite_deviations(self, source: Self) -> None:
        own = self._deviations()
        last = max((place for place, _ in own.values()), default=0)
        for name, (_, theirs) in source._deviations().items():
            if name in own:
                place, values = own[name]
                self.batch.put("deviations", u64(place), records.seal(_united(values, theirs)))
            else:
                last += 1
                self.batch.put("deviations", u64(last), records.seal(theirs))


def _united(one: DeviationRow, other: DeviationRow) -> DeviationRow:
    """Return two rows of the same deviation as one; the newer verdict counts."""
    older, newer = sorted((one, other), key=lambda row: row.last)
    accepted = newer.accepted or (older.accepted and older.digest == newer.digest)
    return newer._replace(accepted=accepted, times=newer.times + older.times, first=min(newer.first, older.first))


def _in_order(transition: Any) -> tuple[str, str, str]:
    return (transition.source or "", transition.action, transition.target)
