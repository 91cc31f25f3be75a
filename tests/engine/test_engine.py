"""The engine on stores in memory and on disk; the time is an argument."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.domain import specification
from spex_shards.engine import Engine, EngineOptions, ModelSource
from spex_shards.messages.specifications import describe
from spex_shards.runtime.protocol.codec import canonical
from spex_shards.runtime.store import Batch, MemoryStore
from spex_shards.runtime.store.lmdb_store import LmdbStore
from tests.support.contract_specs import Lenient, Order, Strict, model
from tests.support.places import of_length

SECOND = 1_000_000
ONE = canonical(1)


class Counting(MemoryStore):
    """A store that counts reads and writes, and fails on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.bytes = 0
        self.failing = False

    def get(self, table: str, key: bytes) -> bytes | None:
        """Count a read."""
        self.operations += 1
        value = super().get(table, key)
        self.bytes += len(value or b"")
        return value

    def range(
        self, table: str, start: bytes, stop: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Count each row."""
        for row in super().range(table, start, stop, reverse=reverse):
            self.operations += 1
            self.bytes += len(row[1])
            yield row

    def apply(self, changes: Any) -> None:
        """Count each change, or fail."""
        if self.failing:
            raise spex.StoreError("the disk is full")
        for rows in changes.values():
            self.operations += len(rows)
            self.bytes += sum(len(value or b"") for value in rows.values())
        super().apply(changes)


def engine_on(store: Any, known: spex.ImplModel | None = None, **options: Any) -> Engine:
    """Return an engine with one instance of Lenient."""
    source = ModelSource(files={known.specification: known}) if known else ModelSource(learning_mode=True)
    engine = Engine(Batch(store), source, EngineOptions(**options), 0)
    engine.register(describe(Lenient)[0], None)
    engine.init_instance(Lenient.name, ONE, None, None, 0)
    engine.batch.commit()
    return engine


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Return each kind of store."""
    made = MemoryStore() if request.param == "memory" else LmdbStore(tmp_path / "env", sync=False)
    yield made
    made.close()


def test_the_engine_needs_nothing_but_a_store(store: Any) -> None:
    """The same calls give the same answers on a dict and on LMDB."""
    engine = engine_on(store, model(Lenient, ("a", "go", "b")))
    assert engine.transition(ONE, "go", "b", SECOND) is None
    assert engine.transition(ONE, "stop", "c", 2 * SECOND) is None
    engine.batch.commit()
    number, seq, plain = engine.get_instance(ONE, 10)
    assert (number, seq) == (1, 3)
    assert list(plain) == [
        Lenient.name,
        ONE,
        None,
        "c",
        [[0, spex.INITIALISATION, "a"], [SECOND, "go", "b"], [2 * SECOND, "stop", "c"]],
    ]
    [seen] = engine.deviations(None)
    assert (seen.transition, seen.accepted) == (spex.Transition("b", "stop", "c"), True)


@pytest.mark.long
@pytest.mark.parametrize("known", [None, model(Lenient, ("a", "go", "b"))])
@pytest.mark.parametrize("action", ["go", "explode"])
def test_cost_does_not_depend_on_the_length_of_the_history(known: Any, action: str) -> None:
    """A transition has the same cost at 200 and at 10,000 entries (short: 2,000), also for deviations."""
    store = Counting()
    engine = engine_on(store, known)
    for number in range(200):
        engine.transition(ONE, action, "b", number)
    engine.batch.commit()
    costs = []
    for target in (200, of_length(2_000, 5_000, 10_000)):
        while engine.get_instance(ONE, 0).seq < target:
            for _ in range(500):
                engine.transition(ONE, action, "b", 7)
            engine.batch.commit()
        before = store.operations, store.bytes
        engine.transition(ONE, action, "b", 8)
        engine.batch.commit()
        costs.append((store.operations - before[0], store.bytes - before[1]))
    assert costs[1][0] <= costs[0][0]
    assert costs[1][1] <= costs[0][1] + 64


def test_starting_reads_no_instance_and_no_history() -> None:
    """Opening an engine costs the same with 10 and with 2,000 instances."""
    costs = []
    for count in (10, 2000):
        store = Counting()
        engine = engine_on(store)
        for number in range(count):
            engine.init_instance(Lenient.name, canonical(("x", number)), None, None, 0)
        engine.batch.commit()
        before = store.operations
        Engine(Batch(store), ModelSource(learning_mode=True), EngineOptions(), 0)
        costs.append(store.operations - before)
    assert costs[0] == costs[1]


def test_a_batch_that_cannot_be_kept_leaves_no_trace_in_memory() -> None:
    """Instances, models, deviations, specifications and timers are as before."""
    store = Counting()
    engine = engine_on(store, model(Lenient, ("a", "go", "b")))
    rows = {table: dict(rows) for table, rows in store.tables.items()}
    store.failing = True
    engine.register(describe(Order)[0], None)
    engine.transition(ONE, "go", "b", 1)
    engine.transition(ONE, "stop", "c", 2)
    engine.init_instance(Lenient.name, canonical(2), b"\x80", None, 3)
    with pytest.raises(spex.StoreError):
        engine.batch.commit()
    store.failing = False
    assert store.tables == rows
    assert engine.get_instance(ONE, 10).instance.state == "a"
    assert engine.deviations(None) == []
    assert engine.knows(Order.name) is None
    with pytest.raises(spex.InstanceNotFound):
        engine.get_instance(canonical(2), 1)
    engine.transition(ONE, "go", "b", 4)
    engine.batch.commit()
    assert engine.get_instance(ONE, 10).seq == 2


def test_one_request_can_be_rolled_back_within_a_batch() -> None:
    """Earlier requests of the batch stay."""
    engine = engine_on(MemoryStore())
    engine.transition(ONE, "first", "b", 1)
    mark = engine.batch.mark()
    engine.transition(ONE, "second", "c", 2)
    engine.init_instance(Lenient.name, canonical(2), None, None, 2)
    engine.batch.rollback(mark)
    engine.batch.commit()
    assert engine.get_instance(ONE, 10).instance.state == "b"
    [learned] = engine.impl_models()
    assert {t.action for t in learned.transitions} == {spex.INITIALISATION, "first"}
    with pytest.raises(spex.InstanceNotFound):
        engine.get_instance(canonical(2), 1)


def test_times_never_decrease_within_an_instance(store: Any) -> None:
    """If the clock goes back, an entry gets the time of the one before it."""
    engine = engine_on(store)
    engine.transition(ONE, "go", "b", 100)
    engine.transition(ONE, "go", "b", 50)
    engine.batch.commit()
    assert [entry[0] for entry in engine.get_instance(ONE, 10).instance.history] == [0, 100, 100]


def timed(store: Any, **options: Any) -> Engine:
    """Return an engine with an instance whose timeout is one second and which may be pruned after two."""
    cls = spex.Specification.define(
        "engine.Timed", [("a", "go", "b")], transition_timeout=1, prune_timeout=2, prunable_states=spex.ALL
    )
    engine = Engine(Batch(store), ModelSource(learning_mode=True), EngineOptions(**options), 0)
    engine.register(describe(cls)[0], None)
    engine.init_instance("engine.Timed", ONE, None, None, 0)
    engine.batch.commit()
    run_due(engine, 0)
    return engine


def run_due(engine: Engine, now: int) -> None:
    """Tick until nothing is due."""
    for _ in range(1000):
        due = engine.timers.next_due()
        if due is None or due > now:
            return
        engine.timers.tick(now)
        engine.batch.commit()
    pytest.fail("ticking does not end")


def test_a_timeout_is_due_strictly_after_its_time_and_reported_once(store: Any) -> None:
    """At the due time nothing happens, a microsecond later it is reported, and never again."""
    engine = timed(store)
    run_due(engine, SECOND)
    assert engine.timers.timeouts_seen == 0
    assert engine.timers.next_due() == SECOND + 1
    run_due(engine, SECOND + 1)
    run_due(engine, 100 * SECOND)
    assert engine.timers.timeouts_seen == 1
    engine.transition(ONE, "go", "b", 101 * SECOND)
    engine.batch.commit()
    run_due(engine, 103 * SECOND)
    assert engine.timers.timeouts_seen == 2


def test_pruning_is_strict_and_by_interval(store: Any) -> None:
    """An instance older than the timeout is pruned at the following pass."""
    engine = timed(store, prune_interval_us=SECOND)
    run_due(engine, 2 * SECOND)
    assert engine.get_instance(ONE, 0).seq == 1
    run_due(engine, 3 * SECOND)
    with pytest.raises(spex.InstanceNotFound):
        engine.get_instance(ONE, 0)
    assert engine.timers.next_due() == 4 * SECOND


def test_without_an_interval_only_the_pass_at_the_start_prunes(store: Any) -> None:
    """The next engine over the store prunes what has become idle."""
    engine = timed(store)
    run_due(engine, 50 * SECOND)
    assert engine.get_instance(ONE, 0).seq == 1
    again = Engine(Batch(store), ModelSource(learning_mode=True), EngineOptions(), 50 * SECOND)
    run_due(again, 50 * SECOND)
    assert again.page(None, None, 0) == ([], None)
    assert again.timers.next_due() is None


def test_what_was_due_in_a_batch_that_was_not_kept_is_due_still() -> None:
    """Timeouts, pruning passes, portions and counters are as before the tick."""
    store = Counting()
    engine = timed(store, prune_interval_us=SECOND)
    store.failing = True
    for now in (SECOND + 1, 3 * SECOND, 4 * SECOND):
        due = engine.timers.next_due()
        engine.timers.tick(now)
        with pytest.raises(spex.StoreError):
            engine.batch.commit()
        assert (engine.timers.next_due(), engine.timers.timeouts_seen) == (due, 0)
    store.failing = False
    run_due(engine, 4 * SECOND)
    assert engine.timers.timeouts_seen == 1
    with pytest.raises(spex.InstanceNotFound):
        engine.get_instance(ONE, 0)


def test_a_specification_declared_in_a_batch_that_was_not_kept_judges_nothing() -> None:
    """Later judgements use the specification before it."""
    store = Counting()
    engine = engine_on(store, model(Lenient, ("a", "go", "b")))
    stricter = spex.Specification.define(Lenient.name, [("a", "go", "b")], error_handler=lambda error, _: None)
    store.failing = True
    engine.register(describe(stricter)[0], None)
    engine.transition(ONE, "go", "b", 1)
    engine.transition(ONE, "stop", "c", 2)
    assert [seen.verdict for seen in engine.deviations(None)] == [spex.Verdict.VIOLATION]
    with pytest.raises(spex.StoreError):
        engine.batch.commit()
    store.failing = False
    specification._registered[Lenient.name] = Lenient
    engine.transition(ONE, "go", "b", 1)
    engine.transition(ONE, "stop", "c", 2)
    assert [seen.verdict for seen in engine.deviations(None)] == [spex.Verdict.EQUIVALENT]


def test_a_long_history_is_removed_in_portions() -> None:
    """Deleting writes a bounded number of rows at once; ticks remove the rest, and nothing is left."""
    store = Counting()
    engine = engine_on(store)
    for number in range(20_000):
        engine.transition(ONE, "go", "b", number)
    engine.batch.commit()
    before = store.operations
    engine.delete_instance(ONE)
    engine.batch.commit()
    assert store.operations - before < 20
    assert len(store.tables["history"]) == 20_001
    ticks = 0
    while engine.timers.next_due() == 0 and ticks < 100:
        engine.timers.tick(1)
        engine.batch.commit()
        ticks += 1
    assert ticks > 3
    assert not store.tables["history"]
    assert not store.tables["garbage"]


def test_numbers_of_instances_are_never_used_twice() -> None:
    """After a restart, new numbers follow those that may have been used."""
    store = MemoryStore()
    engine = engine_on(store)
    again = Engine(Batch(store), ModelSource(learning_mode=True), EngineOptions(), 0)
    again.delete_instance(ONE)
    again.init_instance(Lenient.name, ONE, None, None, 0)
    again.batch.commit()
    assert again.get_instance(ONE, 0).number > 1
    assert engine.knows(Lenient.name) is not None


def test_numbers_taken_in_a_batch_that_was_not_kept_are_taken_anew() -> None:
    """Only stored numbers count: after a restart no number is used twice."""
    store = Counting()
    engine = Engine(Batch(store), ModelSource(learning_mode=True), EngineOptions(), 0)
    engine.register(describe(Lenient)[0], None)
    engine.batch.commit()
    store.failing = True
    engine.init_instance(Lenient.name, canonical("lost"), None, None, 0)
    with pytest.raises(spex.StoreError):
        engine.batch.commit()
    store.failing = False
    engine.init_instance(Lenient.name, ONE, None, None, 0)
    engine.batch.commit()
    again = Engine(Batch(store), ModelSource(learning_mode=True), EngineOptions(), 0)
    again.init_instance(Lenient.name, canonical(2), None, None, 0)
    assert again.get_instance(canonical(2), 0).number > again.get_instance(ONE, 0).number


def test_a_handler_that_only_a_client_can_send_is_waited_for() -> None:
    """Timeouts of its specification are parked, and reported when the handler arrives."""
    store = MemoryStore()
    got: list[str] = []

    def make() -> type[spex.Specification]:
        class Away(spex.Specification):
            name = "engine.Away"
            transition_timeout = 1
            transitions = [("a", "go", "b")]

            @classmethod
            def error_handler(cls, error: spex.SpexError, _caller: Any) -> None:
                got.append(error.reason)

        return Away

    cls = make()
    engine = Engine(Batch(store), ModelSource(learning_mode=True), EngineOptions(), 0)
    engine.register(describe(cls)[0], None)
    engine.init_instance(cls.name, ONE, None, None, 0)
    engine.batch.commit()
    del specification._registered[cls.name]
    engine = Engine(Batch(store), ModelSource(learning_mode=True), EngineOptions(), 0)
    run_due(engine, 5 * SECOND)
    assert (got, len(store.tables["parked"]), engine.timers.timeouts_seen) == ([], 1, 0)
    assert engine.timers.next_due() is None
    specification._registered[cls.name] = cls
    from spex_shards.messages.specifications import describe_for_shipping

    stored, shipped = describe_for_shipping(cls)
    engine.register(stored, shipped)
    run_due(engine, 6 * SECOND)
    assert (got, len(store.tables["parked"]), engine.timers.timeouts_seen) == (["transition_timeout"], 0, 1)


def test_a_damaged_row_is_a_store_error_that_says_what_it_is() -> None:
    """The checksum of each row is checked; other instances are served."""
    store = MemoryStore()
    engine = engine_on(store)
    engine.init_instance(Lenient.name, canonical(2), None, None, 0)
    engine.batch.commit()
    key = b"\x00" + ONE
    store.tables["instances"][key] = store.tables["instances"][key][:-1] + b"\x00"
    engine = Engine(Batch(store), ModelSource(learning_mode=True), EngineOptions(), 0)
    with pytest.raises(spex.StoreError, match="the checksum of an instance does not match"):
        engine.transition(ONE, "go", "b", 1)
    assert engine.transition(canonical(2), "go", "b", 1) is None


def test_judgements_are_remembered_until_something_changes() -> None:
    """A change of the accepted set counts too."""
    engine = engine_on(MemoryStore(), model(Strict, ("a", "go", "b")))
    engine.register(describe(Strict)[0], None)
    engine.init_instance(Strict.name, canonical(5), None, None, 0)
    engine.transition(canonical(5), "go", "b", 1)
    for _ in range(3):
        assert isinstance(engine.transition(canonical(5), "explode", "b", 2), spex.DeviationNotEquivalent)
    [seen] = engine.deviations(Strict.name)
    assert seen.count == 3


def test_a_batch_is_an_overlay(store: Any) -> None:
    """Reads see the puts; ranges are merged in both directions; a rollback to a mark undoes later changes."""
    batch = Batch(store)
    for key in (b"a", b"c", b"e"):
        batch.put("metas", key, b"old")
    batch.commit()
    batch.put("metas", b"b", b"new")
    batch.delete("metas", b"c")
    mark = batch.mark()
    batch.put("metas", b"e", b"newer")
    batch.put("metas", b"f", b"last")
    assert list(batch.range("metas", b"b")) == [(b"b", b"new"), (b"e", b"newer"), (b"f", b"last")]
    assert [key for key, _ in batch.range("metas", b"", b"f", reverse=True)] == [b"e", b"b", b"a"]
    batch.rollback(mark)
    assert list(batch.range("metas", b"")) == [(b"a", b"old"), (b"b", b"new"), (b"e", b"old")]
    batch.commit()
    assert [key for key, _ in store.range("metas", b"", None)] == [b"a", b"b", b"e"]
    assert batch.get("metas", b"c") is None
