"""The rows of instances. Each observation changes a bounded number of rows, however long the instance's history is."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple

from ..errors import StoreError
from ..messages.values import LATEST, PlainInstance
from ..runtime.protocol import records
from ..runtime.store import Batch
from ..runtime.store.keys import u32, u64
from .catalogue import Catalogue, Entry
from .row_forms import INSTANCE_VERSION, InstanceRow, RunRow, instance_row, new_row, values_of

MAX_PLAIN_KEY: Final = 490
"""The key of a longer identifier is a digest: LMDB's keys have at most 511 bytes, and indexes put four in front."""
INLINE_HISTORY: Final = 64
"""A history of up to this many entries is removed together with its instance; longer ones are removed in portions."""
NUMBERS_AT_ONCE: Final = 1024
MOST_CACHED: Final = 8192
"""How many instances' rows are cached in memory. No other process writes them, so they are never stale."""
_PLAIN, _DIGEST = b"\x00", b"\x01"
_US: Final = timedelta(microseconds=1)


class Found(NamedTuple):
    """An instance's key and row."""

    key: bytes
    row: InstanceRow


_found: Final[Callable[[tuple[Any, ...]], Found]] = partial(tuple.__new__, Found)
"""Return what is found, of its parts; see `new_row`."""
_place: Final[Callable[[int, int], bytes]] = struct.Struct(">QQ").pack
"""Return the key of an entry of a history: the history's number, and the entry's."""


def key_of(identifier: bytes) -> bytes:
    """Return the key of an identifier's canonical bytes."""
    if len(identifier) <= MAX_PLAIN_KEY:
        return _PLAIN + identifier
    return _DIGEST + hashlib.blake2b(identifier, digest_size=32).digest()


def identifier_bytes(found: Found) -> bytes:
    """Return the canonical bytes of an instance's identifier."""
    return found.key[1:] if found.row.identifier is None else found.row.identifier


class Instances:
    """The instances of one shard.

    Args:
        batch: The shard's batch.
        catalogue: The shard's specifications.

    Attributes:
        garbage: Whether histories of removed instances are left to delete.
        earliest: The earliest due time of an index, by its table's name.
    """

    def __init__(self, batch: Batch, catalogue: Catalogue) -> None:
        self._batch = batch
        self._catalogue = catalogue
        self._next_number, self._numbers_end = 0, 0
        self._cache: dict[bytes, Found] = {}
        batch.on_rollback = self._cache.clear
        self.garbage = batch.first("garbage") is not None
        self.earliest: dict[str, int | None] = {}
        self.look_for_earliest("deadlines")

    def find(self, identifier: bytes) -> Found | None:
        """Return the instance with an identifier, given as canonical bytes, or None.

        Raises:
            StoreError: The row is damaged, or belongs to another identifier with the same digest.
        """
        key = _PLAIN + identifier if len(identifier) <= MAX_PLAIN_KEY else key_of(identifier)
        found = self._cache.get(key) or self.at(key)
        if found is not None and found.row.identifier is not None and found.row.identifier != identifier:
            raise StoreError("two identifiers of one digest: the instance cannot be told apart")
        return found

    def at(self, key: bytes) -> Found | None:
        """Return the instance with a key, or None."""
        found = self._cache.get(key)
        if found is None:
            row = self._batch.get("instances", key)
            if row is None:
                return None
            if len(self._cache) >= MOST_CACHED:
                self._drop_oldest()
            found = self._cache[key] = Found(key, instance_row(row))
        return found

    def unread(self, identifiers: Iterable[bytes]) -> list[bytes]:
        """Return the keys of those instances, each once, whose rows are not in memory."""
        return [key for key in dict.fromkeys(map(key_of, identifiers)) if key not in self._cache]

    def create(self, entry: Entry, identifier: bytes, meta: bytes | None, state: str | None, now: int) -> Found:
        """Create an instance without history, in `state`, and return it."""
        key = key_of(identifier)
        number = self._number()
        kept = identifier if key[:1] == _DIGEST else None
        row = InstanceRow(INSTANCE_VERSION, entry.number, number, 0, now, None, None, False, state, kept)
        found = self._put(key, row)
        self._batch.put("by_spec", u32(entry.number) + key, b"")
        if meta is not None:
            self._batch.put("metas", u64(number), records.seal_flat(meta))
        return found

    def reserve(self) -> int:
        """Return a number for a new instance, which no other instance gets."""
        return self._number()

    def adopt(self, found: Found, entry: Entry, number: int, meta: bytes | None, *, parked: bool) -> Found:
        """Copy an instance from another shard, unchanged but for its numbers; its history must be copied already.

        Args:
            found: Its key and row on the other shard.
            entry: Its specification on this shard.
            number: Its number on this shard, from `reserve`.
            meta: The row of its meta on the other shard, or None.
            parked: Whether its timeout waits for a handler.

        Returns:
            The instance on this shard.
        """
        row = found.row._replace(specification=entry.number, number=number)
        self._batch.put("by_spec", u32(entry.number) + found.key, b"")
        if meta is not None:
            self._batch.put("metas", u64(number), meta)
        row = self._set_deadline(found.key, row._replace(deadline=None), entry, row.deadline)
        if parked and row.deadline is not None:
            due = u64(row.deadline) + u64(number)
            self._batch.delete("deadlines", due)
            self._batch.put("parked", u32(entry.number) + due, found.key)
        row = self._set_prune(found.key, row._replace(prune=None), row.prune)
        return self._put(found.key, row)

    def append(
        self, found: Found, entry: Entry, action: str, target: str, now: int, run: RunRow | None = None
    ) -> Found:
        """Move an instance: add an entry to its history, and compute its due times again.

        Args:
            found: The instance.
            entry: Its specification.
            action: The action.
            target: The state that it is in now.
            now: The time. The new entry gets at least the time of the previous one.
            run: The position of its run now, if runs are judged.

        Returns:
            The instance as it is now.
        """
        key, row = found
        version, specification, number, seq, last, deadline, prune, _, _, kept, _ = row
        now, seq = max(now, last), seq + 1
        self._batch.put_row("history", _place(number, seq), (now, action, target))
        declaration = entry.declaration
        moved = new_row((version, specification, number, seq, now, deadline, prune, False, target, kept, run))
        if declaration.transition_timeout is not None or deadline is not None:
            moved = self._set_deadline(key, moved, entry, _due(now, declaration.transition_timeout))
        if declaration.prune_timeout is not None or prune is not None:
            moved = self._set_prune(key, moved, self._prune_due(moved, entry))
        return self._put(key, moved)

    def settle(self, found: Found, entry: Entry) -> None:
        """Compute an instance's due times again, because its specification's options have changed."""
        row = found.row
        timeout = entry.declaration.transition_timeout
        deadline = None if row.reported or not row.seq else _due(row.last, timeout)
        row = self._set_deadline(found.key, row, entry, deadline)
        row = self._set_prune(found.key, row, self._prune_due(row, entry))
        if row != found.row:
            self._put(found.key, row)

    def close_deadline(self, found: Found, entry: Entry, *, reported: bool) -> None:
        """Remove an instance's deadline, because it has passed; `reported` says whether its timeout was reported."""
        row = self._set_deadline(found.key, found.row._replace(reported=reported), entry, None)
        self._put(found.key, row)

    def remove(self, found: Found) -> None:
        """Remove an instance with all its rows. A long history is only marked as garbage, and removed in portions."""
        row, batch = found.row, self._batch
        entry = self._catalogue.by_number(row.specification)
        self._set_deadline(found.key, row, entry, None)
        self._set_prune(found.key, row, None)
        batch.delete("instances", found.key)
        self._cache.pop(found.key, None)
        batch.delete("by_spec", u32(row.specification) + found.key)
        batch.delete("metas", u64(row.number))
        if row.seq > INLINE_HISTORY:
            batch.put("garbage", u64(row.number), u64(row.seq))
            self.garbage = True
        else:
            for seq in range(1, row.seq + 1):
                batch.delete("history", u64(row.number) + u64(seq))

    def remove_garbage(self, most: int) -> None:
        """Delete up to `most` entries of a removed instance's history; `garbage` then says whether more may be left."""
        first = self._batch.first("garbage")
        self.garbage = first is not None
        if first is None:
            return
        number, left = first[0], int.from_bytes(first[1], "big")
        for seq in range(max(1, left - most + 1), left + 1):
            self._batch.delete("history", number + u64(seq))
        if left > most:
            self._batch.put("garbage", number, u64(left - most))
        else:
            self._batch.delete("garbage", number)

    def history(self, number: int, start: int, stop: int) -> list[Any]:
        """Return the entries ``start <= sequence < stop`` of a history, oldest first, in plain form."""
        rows = self._batch.range("history", u64(number) + u64(max(start, 1)), u64(number) + u64(max(stop, 1)))
        return [records.unseal(row, "a history entry") for _, row in rows]

    def plain(self, found: Found, newest: int) -> PlainInstance:
        """Return an instance's plain form, with the `newest` entries of its history."""
        row = found.row
        meta = self._batch.get("metas", u64(row.number))
        history = self.history(row.number, row.seq + 1 - newest, row.seq + 1) if newest and row.seq else []
        return PlainInstance(
            self._catalogue.by_number(row.specification).name,
            identifier_bytes(found),
            None if meta is None else records.unseal(meta, "a meta"),
            row.state,
            history,
        )

    def walk(self, specification: int | None, after: bytes | None) -> Iterator[Found]:
        """Iterate over the instances after the key `after`, in key order; the batch must not change meanwhile.

        Args:
            specification: The number of their specification, or None for all instances.
            after: The key; None: begin at the first.

        Raises:
            StoreError: A row is damaged.
        """
        start = b"" if after is None else after + b"\x00"
        if specification is None:
            for key, row in self._batch.range("instances", start):
                yield Found(key, instance_row(row))
            return
        for key in self.keys(specification, after):
            found = self.at(key)
            if found is None:
                raise StoreError("a damaged index: an instance listed for its specification is not there")
            yield found

    def keys(self, specification: int, after: bytes | None) -> Iterator[bytes]:
        """Iterate over the keys of a specification's instances after the key `after`, in order; see `walk`."""
        prefix = u32(specification)
        start = b"" if after is None else after + b"\x00"
        for key, _ in self._batch.range("by_spec", prefix + start, u32(specification + 1)):
            yield key[4:]

    def look_for_earliest(self, table: str) -> None:
        """Read the earliest due time of an index into `earliest`."""
        first = self._batch.first(table)
        self.earliest[table] = None if first is None else int.from_bytes(first[0][:8], "big")

    def _put(self, key: bytes, row: InstanceRow) -> Found:
        self._batch.put_row("instances", key, values_of(row))
        if len(self._cache) >= MOST_CACHED:
            self._drop_oldest()
        found = self._cache[key] = _found((key, row))
        return found

    def _drop_oldest(self) -> None:
        for key in list(islice(self._cache, MOST_CACHED // 2)):
            del self._cache[key]

    def _number(self) -> int:
        # Numbers are reserved in the store by the thousand. Those that are left at a restart are never used.
        if self._next_number >= self._numbers_end:
            stored = self._batch.get("layout", b"next instance")
            start = 1 if stored is None else int.from_bytes(stored, "big")
            self._batch.put("layout", b"next instance", u64(start + NUMBERS_AT_ONCE))
            # If this reservation is undone, the numbers must be forgotten too: the next one reserves them again.
            self._batch.on_undo(self._forget_numbers)
            self._next_number, self._numbers_end = start, start + NUMBERS_AT_ONCE
        self._next_number += 1
        return self._next_number - 1

    def _forget_numbers(self) -> None:
        self._next_number = self._numbers_end = 0

    def _set_deadline(self, key: bytes, row: InstanceRow, entry: Entry, due: int | None) -> InstanceRow:
        if row.deadline is not None:
            old = u64(row.deadline) + u64(row.number)
            self._batch.delete("deadlines", old)
            if entry.stored.handler.kind == "shipped":
                self._batch.delete("parked", u32(entry.number) + old)
        if due is not None:
            self._batch.put("deadlines", u64(due) + u64(row.number), key)
            earliest = self.earliest["deadlines"]
            if earliest is None or due < earliest:
                self.earliest["deadlines"] = due
        return row if row.deadline == due else row._replace(deadline=due)

    def _set_prune(self, key: bytes, row: InstanceRow, due: int | None) -> InstanceRow:
        if row.prune is not None:
            self._batch.delete("prunable", u64(row.prune) + u64(row.number))
        if due is not None:
            self._batch.put("prunable", u64(due) + u64(row.number), key)
        return row if row.prune == due else row._replace(prune=due)

    def _prune_due(self, row: InstanceRow, entry: Entry) -> int | None:
        if not row.seq or not entry.prunes_in(row.state):
            return None
        return _due(row.last, entry.declaration.prune_timeout)


def _due(since: int, timeout: timedelta | None) -> int | None:
    return None if timeout is None else min(since + timeout // _US, LATEST)
