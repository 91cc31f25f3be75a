"""The load that is traced, and the reference for the content after each batch."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import xxhash

import spex_shards as spex
from spex_shards.engine import Engine, EngineOptions, ModelSource
from spex_shards.messages.specifications import describe
from spex_shards.runtime.protocol import codec, records
from spex_shards.runtime.protocol.codec import canonical
from spex_shards.runtime.store import TABLES, Batch, MemoryStore
from spex_shards.runtime.store.checkpoint import CHECKPOINT, FIRST_EPOCH, ForkedCheckpoint
from spex_shards.runtime.store.files import OsFiles
from spex_shards.runtime.store.keys import u64
from spex_shards.runtime.store.lmdb_store import LmdbStore
from spex_shards.runtime.store.logged_store import Due, LoggedStore

NOW = 1_700_000_000_000_000
MODES = ("disk", "process", "unsynced LMDB")
CLIENT = b"a client's id  ."
SYNC_EVERY = 0.3
PACE = 0.006


class Busy(spex.Specification):
    """Has rows in every index; nothing becomes due while the load runs."""

    name = "crash.Busy"
    transition_timeout = 1e6
    prune_timeout = 1e6
    prunable_states = ("b",)
    transitions = [("a", "go", "b"), ("b", "go", "a")]


def batches(store: Any, count: int) -> Iterator[tuple[int, Engine]]:
    """Carry out a number of batches on a store, always the same ones; yield after each was committed."""
    engine = Engine(Batch(store), ModelSource(learning_mode=True), EngineOptions(), NOW)
    engine.register(describe(Busy)[0], None)
    engine.batch.commit()
    yield 0, engine
    long = canonical("long")
    for number in range(1, count + 1):
        now = NOW + number * 1000
        if number % 50 == 1:  # over sixty-four entries by then: it leaves garbage
            engine.delete_instance(long)
            engine.init_instance(Busy.name, long, None, "a", now)
        for step in range(2):
            engine.transition(long, "go", "ba"[step], now)
        own = canonical(("instance", number))
        meta = codec.encode_meta({"number": number, "filling": "x" * (number % 4 * 700)})
        engine.init_instance(Busy.name, own, meta, "a", now)
        if number % 3 == 0:
            engine.transition(own, f"go {number % 9}", "b", now)
        if number % 4 == 0:
            engine.delete_instance(canonical(("instance", number // 2)))
        engine.batch.put("clients", CLIENT, records.seal([number, 0, 0]))
        if number % 5 == 0:
            engine.batch.put("answers", CLIENT + u64(number), records.seal([number, True, number, [], []]))
        engine.timers.tick(now)
        engine.batch.commit()
        yield number, engine


def digest(store: Any) -> bytes:
    """Return a digest of everything that a store holds, except its checkpoint."""
    state = xxhash.xxh3_128()
    for table in TABLES:
        for key, value in store.range(table, b"", None):
            if table != "layout" or key not in (CHECKPOINT, FIRST_EPOCH):
                state.update(codec.pack([table, key, value]))
    return state.digest()


def reference(count: int) -> list[bytes]:
    """Return the digest after each batch, beginning with that of an empty store."""
    store = MemoryStore()
    return [digest(store), *(digest(store) for _ in batches(store, count))]


def main(folder: Path, mode: str, count: int, acknowledgements: Path) -> None:
    """Run the load, and write the number of each committed batch to a file."""
    out = os.open(acknowledgements, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    LmdbStore(folder, sync=True).close()  # so that its file is in its folder for good, whatever the mode
    base = LmdbStore(folder, sync=mode != MODES[2])
    store: Any = base
    if mode != MODES[2]:
        due = Due(rows=150, seconds=0.2)
        store = LoggedStore(
            base, OsFiles(folder), sync_each=mode == "disk", checkpointer=ForkedCheckpoint(base), due=due
        )
    synced = time.monotonic()
    for number, _ in batches(store, count):
        os.write(out, b"%d\n" % number)
        if store.next_upkeep <= time.monotonic():
            store.upkeep()
        if store.next_upkeep == inf and mode == MODES[2] and time.monotonic() - synced > SYNC_EVERY:
            base._env.sync(True)
            synced = time.monotonic()
            os.write(out, b"synced\n")
        time.sleep(PACE)
    store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
