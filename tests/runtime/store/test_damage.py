"""Damaged rows and disks: what they affect, and what they do not."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lmdb
import pytest

import spex_shards as spex
from spex_shards.engine import Engine, EngineOptions, ModelSource
from spex_shards.messages.specifications import describe
from spex_shards.runtime.protocol.codec import canonical
from spex_shards.runtime.store import Batch, MemoryStore
from tests.engine.test_engine import run_due
from tests.support.processes import wait_until

SECOND = 1_000_000


def timed(timeout: float) -> type[spex.Specification]:
    """Return a specification with a timeout, always under the same name."""
    return spex.Specification.define(
        "damage.Timed",
        [("a", "go", "b")],
        transition_timeout=timeout,
        prune_timeout=timeout,
        prunable_states=spex.ALL,
    )


def engine_over(store: MemoryStore, **options: Any) -> Engine:
    """Return an engine."""
    return Engine(Batch(store), ModelSource(learning_mode=True), EngineOptions(**options), 0)


def filled(store: MemoryStore, **options: Any) -> Engine:
    """Return an engine with five instances, one of which is damaged on disk."""
    engine = engine_over(store, **options)
    engine.register(describe(timed(1))[0], None)
    for number in range(5):
        engine.init_instance("damage.Timed", canonical(number), None, None, 0)
    engine.batch.commit()
    rows = store.tables["instances"]
    key = sorted(rows)[2]
    rows[key] = b"\xff" + rows[key][1:]
    engine._instances._cache.clear()
    return engine


def test_a_damaged_instance_keeps_the_others_from_no_timeout(caplog: pytest.LogCaptureFixture) -> None:
    """Four are reported; the fifth loses its deadline, with an error that says why."""
    store = MemoryStore()
    engine = filled(store)
    run_due(engine, 2 * SECOND)
    assert engine.timers.timeouts_seen == 4
    assert not store.tables["deadlines"]
    assert caplog.text.count("an instance is left out, its timeout is not reported: a damaged row") == 1


def test_a_damaged_instance_keeps_the_others_from_no_pruning(caplog: pytest.LogCaptureFixture) -> None:
    """Four are pruned."""
    store = MemoryStore()
    engine = filled(store, prune_interval_us=SECOND)
    run_due(engine, 3 * SECOND)
    assert len(store.tables["instances"]) == 1
    assert not store.tables["prunable"]
    assert caplog.text.count("an instance is left out, it is not pruned: a damaged row") == 1


def test_a_damaged_instance_keeps_the_others_from_no_new_deadline(caplog: pytest.LogCaptureFixture) -> None:
    """When the options of a specification change, four get new due times, and the job ends."""
    store = MemoryStore()
    engine = filled(store)
    engine.register(describe(timed(7))[0], None)
    run_due(engine, 0)
    due = [int.from_bytes(key[:8], "big") for key in store.tables["deadlines"]]
    assert sorted(due) == [SECOND, *[7 * SECOND] * 4]
    assert not store.tables["jobs"]
    assert caplog.text.count("an instance is left out, its due times cannot be computed: a damaged row") == 1


def test_an_in_process_manager_reports_once_beside_a_damaged_instance(
    places: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Over several ticks and runs, each sound instance's timeout and the damaged one's error are reported once."""
    cls = spex.Specification.define("damage.Fuse", [("a", "go", "b")], transition_timeout=0.5)
    with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:
        for number in range(5):
            manager.init_instance(cls, number)
    env = lmdb.open(str(places["data_dir"] / "shard-000"), max_dbs=32)
    table = env.open_db(b"instances")
    with env.begin(write=True) as txn:
        key, row = sorted(txn.cursor(table))[2]
        txn.put(key, b"\xff" + row[1:], db=table)
    env.close()
    for _ in range(2):
        with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:
            wait_until(lambda: "is not reported" in caplog.text, "the damage is found")
            wait_until(lambda: caplog.text.count("longer than its transition timeout") >= 4, "the others are reported")
            manager.stats()
    assert caplog.text.count("longer than its transition timeout") == 4
    assert caplog.text.count("is not reported") == 1


@pytest.mark.pure
def test_a_tick_whose_portion_fails_is_undone(places: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    """Its earlier changes are not committed with the next call, also in process."""
    cls = spex.Specification.define("damage.Slow", [("a", "go", "b")], transition_timeout=0.2)
    with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:
        timers = manager.transport.shard.tenure.service.engine.timers
        real = timers._report
        failing = [True]

        def report(found: Any, entry: Any, key: bytes) -> None:
            if failing[0]:
                manager.transport.shard.tenure.service.engine._instances.close_deadline(found, entry, reported=True)
                raise spex.StoreError("the store could not read")
            real(found, entry, key)

        timers._report = report
        manager.init_instance(cls, 1)
        wait_until(lambda: "due work failed, and will be tried again" in caplog.text, "it is tried")
        manager.init_instance(cls, 2)  # a commit
        failing[0] = False
        wait_until(lambda: "instance 1 of damage.Slow has been" in caplog.text, "it is reported")


def test_a_disk_that_fails_at_the_end_leaves_the_directory_free(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing raises a StoreError, and the next owner gets the lock."""
    manager = spex.SimpleInstanceManager(**places, learning_mode=True).start()
    manager.init_instance(timed(3600), 1)
    base = manager.transport.shard.tenure.store._base
    environment = base._env

    class Failing:
        """An environment that cannot be synced."""

        def __getattr__(self, name: str) -> Any:
            return getattr(environment, name)

        def sync(self, *_: Any) -> None:
            raise lmdb.DiskError("mdb_env_sync: Input/output error")

    monkeypatch.setattr(base, "_env", Failing())
    with pytest.raises(spex.StoreError, match=r"could not be forced to the disk.*Input/output error"):
        manager.close()
    manager.close()
    with spex.SimpleInstanceManager(**places, learning_mode=True) as again:
        assert again.get_instance(1).current_state == "a"


@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
@pytest.mark.parametrize("table", ["clients", "outbox"])
def test_a_shard_starts_though_a_row_of_its_own_books_is_damaged(
    places: dict[str, Path], table: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A client's row or a log record is damaged: the shard serves, and reports the loss when it reads the row."""
    options: dict[str, Any] = {**places, "distribution_factor": 1, "learning_mode": True}
    with spex.ShardedInstanceManager(**options) as manager:
        manager.init_instance(timed(3600), 1)
    env = lmdb.open(str(places["data_dir"] / "shard-000"), max_dbs=32)
    with env.begin(write=True) as txn:
        txn.put(b"\0\0\0\0\0\0\0\1", b"garbage", db=env.open_db(table.encode(), txn))
    env.close()
    with caplog.at_level(logging.ERROR), spex.ShardedInstanceManager(**options) as manager:
        assert manager.get_instance(1).current_state == "a"
        [shard] = manager.shards()
        assert (shard.status, shard.restarts) == (spex.ShardStatus.READY, 0)
        if table == "outbox":
            wait_until(lambda: "a log record that waited is lost" in caplog.text, "the loss is logged")
