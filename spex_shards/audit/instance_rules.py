"""The rules for instances and for every index over them, in both directions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from ..engine.catalogue import Entry
from ..engine.following import followed, holds
from ..engine.row_forms import RunRow, instance_row
from ..engine.rows import MAX_PLAIN_KEY, Found, identifier_bytes, key_of
from ..messages.values import LATEST
from ..runtime.protocol import codec, records
from ..runtime.store.keys import u32, u64
from .reading import Reading, is_time, naming, number, require

_US: Final = timedelta(microseconds=1)


def audit_instances(reading: Reading) -> None:
    """Check that every instance has all its rows, and that these rows agree with it."""
    counter = reading.store.get("layout", b"next instance")
    end = 1 if counter is None else number(counter)
    for key, row in reading.rows("instances"):
        shown = naming(key, row)
        with reading.row("instances", shown):
            found = Found(key, instance_row(row))
            _form(found)
            if found.row.number in reading.instances:
                reading.report("instances", shown, "no two instances have one number", found.row.number)
            if found.row.number >= end:
                reading.report("layout", "next instance", f"it is above the number of {shown}", end)
            reading.instances[found.row.number] = found.row.seq
            _place(reading, found, shown)
            _history(reading, found, shown)
            _run(reading, found, shown)
            _indexes(reading, found, shown)


def _form(found: Found) -> None:
    row = found.row
    integers = (row.specification, row.number, row.seq, row.last)
    require(all(type(value) is int for value in integers) and row.number > 0 and row.seq >= 0, f"numbers {integers}")
    times = [time for time in (row.last, row.deadline, row.prune) if time is not None]
    require(all(map(is_time, times)), f"times {times}")
    require(type(row.reported) is bool, f"reported {row.reported!r}")
    require(row.state is None or type(row.state) is str, f"state {row.state!r}")


def _place(reading: Reading, found: Found, shown: str) -> None:
    identifier = identifier_bytes(found)
    require(type(identifier) is bytes, f"identifier {identifier!r}")
    if key_of(identifier) != found.key or (found.row.identifier is not None) != (len(identifier) > MAX_PLAIN_KEY):
        reading.report("instances", shown, "the key is that of the identifier", found.key.hex())
    codec.identifier_of(identifier)
    homes = reading.homes(identifier)
    if reading.shard not in homes:
        reading.report("instances", shown, f"it lies on shard {min(homes)}, where it routes to", reading.shard)


def _history(reading: Reading, found: Found, shown: str) -> None:
    row, prefix = found.row, u64(found.row.number)
    seq, last, state = 0, None, None
    for key, entry in reading.store.range("history", prefix, u64(row.number + 1)):
        seq += 1
        if number(key[8:]) != seq:
            reading.report("history", shown, f"entry {seq} of 1 to {row.seq} is there", f"entry {number(key[8:])}")
            return
        with reading.row("history", f"{shown}, entry {seq}"):
            time, action, state = records.unseal(entry, "a history entry")
            require(is_time(time) and type(action) is str and type(state) is str, f"{[time, action, state]}")
            if last is not None and time < last:
                reading.report("history", f"{shown}, entry {seq}", "times never decrease", f"{time} after {last}")
            last = time
    if seq != row.seq:
        reading.report("history", shown, f"it has the {row.seq} entries that the instance says", f"{seq} entries")
    elif seq and (last, state) != (row.last, row.state):
        rule = f"the newest entry has the instance's time and state, {row.last} and {row.state!r}"
        reading.report("history", shown, rule, f"{last} and {state!r}")


def _run(reading: Reading, found: Found, shown: str) -> None:
    row, entry = found.row, reading.specifications.get(found.row.specification)
    if row.run is None or entry is None or not holds(row.run, entry):
        return  # runs are not judged, or this one is computed anew when it is next needed
    run: RunRow | None = None
    for _, stored in reading.store.range("history", u64(row.number), u64(row.number + 1)):
        _, action, state = records.unseal(stored, "a history entry")
        run = followed(run, entry, action, state)
        if run is None:
            return  # it was mocked, and its history does not say in which state
    if run != row.run:
        rule = "its run is where its history leads"
        reading.report("instances", shown, rule, f"{row.run[1:]}, where it leads to {run and run[1:]}")


def _indexes(reading: Reading, found: Found, shown: str) -> None:
    row, store = found.row, reading.store
    entry = reading.specifications.get(row.specification)
    if entry is None:
        reading.report("instances", shown, "its specification is stored", row.specification)
        return
    if store.get("by_spec", u32(row.specification) + found.key) != b"":
        reading.report("by_spec", shown, "every instance is listed for its specification", "it is not")
    meta = store.get("metas", u64(row.number))
    if meta is not None:
        with reading.row("metas", shown):
            _meta(records.unseal(meta, "a meta"))
    if row.deadline is not None:
        due = u64(row.deadline) + u64(row.number)
        waits = [store.get("deadlines", due), store.get("parked", u32(row.specification) + due)]
        if sorted(waits, key=lambda value: value is None) != [found.key, None]:
            reading.report(
                "deadlines", shown, f"its deadline {row.deadline} is there once", f"{waits.count(found.key)} times"
            )
    if row.prune is not None and store.get("prunable", u64(row.prune) + u64(row.number)) != found.key:
        reading.report("prunable", shown, f"its due time {row.prune} is there", "it is not")
    if row.specification not in reading.settling:
        _due_times(reading, found, entry, shown)


def _meta(meta: Any) -> None:
    require(type(meta) is bytes, f"{meta!r}")
    value = codec.decode(meta)
    require(type(value) is dict and all(type(name) is str for name in value), f"{type(value).__name__}")


def _due_times(reading: Reading, found: Found, entry: Entry, shown: str) -> None:
    row, declaration = found.row, entry.declaration
    deadline = None if row.reported or not row.seq else _after(row.last, declaration.transition_timeout)
    prune = _after(row.last, declaration.prune_timeout) if row.seq and entry.prunes_in(row.state) else None
    if row.deadline != deadline:
        reading.report("instances", shown, f"its deadline is {deadline}, as its specification says", row.deadline)
    if row.prune != prune:
        reading.report("instances", shown, f"it may be pruned at {prune}, as its specification says", row.prune)


def _after(since: int, timeout: timedelta | None) -> int | None:
    return None if timeout is None else min(since + timeout // _US, LATEST)


# ---------------------------------------------------------------------- from the indexes to the instances


def audit_indexes(reading: Reading) -> None:
    """Check that every row of an index belongs to an instance that agrees with it; run after `audit_instances`."""
    _by_spec(reading)
    for table, skip in (("deadlines", 0), ("parked", 4), ("prunable", 0)):
        for key, value in reading.rows(table):
            with reading.row(table, key):
                _due_row(reading, table, key, skip, value)
    for key, _ in reading.rows("metas"):
        if len(key) != 8 or number(key) not in reading.instances:
            reading.report("metas", key, "it belongs to an instance", "no instance of that number")
    _left_over(reading)


def _by_spec(reading: Reading) -> None:
    for key, value in reading.rows("by_spec"):
        with reading.row("by_spec", key):
            found = reading.at(key[4:])
            if value or found is None or found.row.specification != number(key[:4]):
                specification = None if found is None else found.row.specification
                rule = f"it lists an instance of specification {number(key[:4])}"
                reading.report("by_spec", key, rule, "no instance" if found is None else f"{specification}, {value!r}")


def _due_row(reading: Reading, table: str, key: bytes, skip: int, value: bytes) -> None:
    require(len(key) == skip + 16, f"a key of {len(key)} bytes")
    due, owner = number(key[skip : skip + 8]), number(key[skip + 8 :])
    found = reading.at(value)
    said = None if found is None else found.row.prune if table == "prunable" else found.row.deadline
    if found is None or found.row.number != owner or said != due:
        text = "no instance" if found is None else f"number {found.row.number}, {said}"
        reading.report(table, key, f"the instance of number {owner} is due at {due}", text)
    elif table == "parked":
        entry = reading.specifications.get(number(key[:4]))
        if entry is None or entry.stored.handler.kind != "shipped" or found.row.specification != entry.number:
            reading.report(table, key, "it waits for the shipped handler of its specification", number(key[:4]))


def _left_over(reading: Reading) -> None:
    """Check that each history row belongs to an instance, or is counted garbage of a deleted one."""
    garbage: dict[int, int] = {}
    for key, value in reading.rows("garbage"):
        owner = number(key)
        if len(key) != 8 or len(value) != 8 or not number(value) or owner in reading.instances:
            reading.report("garbage", key, "it counts the history of an instance that is gone", value.hex())
        else:
            garbage[owner] = number(value)
    left = dict(garbage)
    for key, _ in reading.rows("history"):
        owner, seq = number(key[:8]), number(key[8:])
        if len(key) == 16 and owner in reading.instances:
            continue  # `audit_instances` has compared it already
        if len(key) != 16 or not 1 <= seq <= garbage.get(owner, 0):
            reading.report("history", key, "it belongs to an instance, or is garbage", f"instance number {owner}")
        else:
            left[owner] -= 1
    for owner, missing in left.items():
        if missing:
            rule = f"as many entries are left of its history as it says, {garbage[owner]}"
            reading.report("garbage", u64(owner), rule, garbage[owner] - missing)
