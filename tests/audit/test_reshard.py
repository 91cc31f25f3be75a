"""`reshard`: moves only instances that must move, loses nothing, and continues after being killed at any point."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards.audit import backup, reshard, verify
from spex_shards.audit.moving import InstanceContents
from spex_shards.engine import Engine, EngineOptions, ModelSource
from spex_shards.engine.models import stored_models
from spex_shards.engine.rows import identifier_bytes
from spex_shards.messages.specifications import describe
from spex_shards.runtime.data_dir import COPYING, DELETING, DataDir, Layout, OwnerLock
from spex_shards.runtime.protocol import codec, records, routing
from spex_shards.runtime.protocol.codec import canonical
from spex_shards.runtime.store import Batch
from spex_shards.runtime.store.keys import u32, u64
from spex_shards.runtime.store.lmdb_store import LmdbStore
from spex_shards.runtime.store.opening import StoreOptions, open_store, open_view
from tests.audit.test_verify import run
from tests.support.contract_specs import Order
from tests.support.killing import kill_the_command, killed_at
from tests.support.places import WHOLE, of_length
from tests.support.processes import wait_until

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND


class Timed(spex.Specification):
    """Has due times; nothing becomes due while the tests run."""

    name = "reshard.Timed"
    transition_timeout = 1e6
    prune_timeout = 2e6
    prunable_states = ("b",)
    transitions = [("a", "go", "b"), ("b", "go", "a")]


class Lenient(spex.Specification):
    """Accepts everything that its model does not have."""

    name = "reshard.Lenient"
    transitions = [("a", "go", "b")]

    @classmethod
    def error_handler(cls, error: spex.SpexError, caller: Any) -> None:
        """Accept."""


FIXED = spex.ImplModel(
    specification=Lenient.name, transitions=[(None, spex.INITIALISATION, "a"), ("a", "go", "b")], learning_mode=False
)


def fill(path: Path, shards: int, seed: int, instances: int = 60, longest: int = 12) -> None:
    """Make a directory with every kind of row in every shard, by the engines themselves."""
    random = Random(seed)
    directory = DataDir(path)
    directory.make()
    directory.check_layout(shards)
    table = routing.table(shards)
    source = ModelSource(files={Lenient.name: FIXED}, learning_mode=False)
    engines, stores = [], []
    for index in range(shards):
        store = open_store(directory.shard(index), StoreOptions("process"))
        stores.append(store)
        engine = Engine(Batch(store), source, EngineOptions(), NOW)
        for cls in random.sample([Timed, Lenient], 2):  # their numbers differ from shard to shard
            engine.register(describe(cls)[0], None)
        engine._models.create(Timed.name)
        engine.batch.commit()
        engines.append(engine)
    names: list[Any] = [("n", number, "long" * random.choice([0, 1, 200])) for number in range(instances)]
    for name in names:
        key = canonical(name)
        engine = engines[table[routing.slot_of(key)]]
        cls = random.choice([Timed, Lenient])
        meta = codec.encode_meta({"of": str(name[1])}) if random.random() < 0.5 else None
        if random.random() < 0.1:
            engine.mock_instance(cls.name, key, meta, "a", NOW)
        else:
            engine.init_instance(cls.name, key, meta, "a", NOW + random.randrange(SECOND))
        for _ in range(random.choice([0, 1, 3, longest])):
            action = random.choice(["go", "fly", "swim"])
            engine.transition(key, action, random.choice("ab"), NOW + random.randrange(SECOND))
        if random.random() < 0.15:
            engine.delete_instance(key)
        engine.batch.commit()
    for index, (engine, store) in enumerate(zip(engines, stores, strict=True)):
        for number in range(index + 1):
            engine.batch.put("outbox", u64(number + 1), records.seal([f"shard {index} says {number}"]))
        engine.batch.put("layout", b"next report", u64(index + 2))
        engine.batch.commit()
        store.close()


def content(path: Path, shards: int) -> dict[str, Any]:
    """Return the content of a directory, without shard numbers and row numbers."""
    instances: dict[bytes, Any] = {}
    models: dict[str, set[Any]] = {}
    deviations: dict[Any, Any] = {}
    reports: list[Any] = []
    for index in range(shards):
        shard = InstanceContents(open_view(DataDir(path).shard(index)))
        for portion in shard.portions():
            for found in portion:
                identifier = identifier_bytes(found)
                assert identifier not in instances
                assert routing.table(shards)[routing.slot_of(identifier)] == index
                name = shard.catalogue.by_number(found.row.specification).name
                meta = shard.batch.get("metas", u64(found.row.number))
                row = found.row._replace(number=0, specification=0)
                instances[identifier] = (name, row, meta, list(shard.history_rows(found)), shard.is_parked(found))
        for name, model in stored_models(shard.batch).items():
            models.setdefault(name, set()).update(model.transitions)
        for name, (_, row) in shard._deviations().items():
            count, first, last = deviations.get(name, (0, row[5], row[6]))
            deviations[name] = (count + row[4], min(first, row[5]), max(last, row[6]))
        reports += [row for _, row in shard.batch.range("outbox", b"")]
        shard.close()
    return {"instances": instances, "models": models, "deviations": deviations, "reports": sorted(reports)}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[Any]:
    """Return the differences of two contents in a short form."""
    found = []
    for name in one:
        if isinstance(one[name], dict):
            keys = one[name].keys() | other[name].keys()
            found += [
                (name, k, one[name].get(k), other[name].get(k)) for k in keys if one[name].get(k) != other[name].get(k)
            ]
        elif one[name] != other[name]:
            found.append((name, one[name], other[name]))
    return found


# ---------------------------------------------------------------------- what it does


MORE_SHARDS = [(7, 1), (4, 7), (16, 15), *([(2, 1), (3, 5), (1, 6)] if WHOLE else [])]


@pytest.mark.parametrize(
    ("before", "after"),
    [(1, 2), (5, 3), *(pytest.param(*both, marks=pytest.mark.long) for both in MORE_SHARDS)],
)
def test_everything_is_there_afterwards_and_where_it_routes_to(tmp_path: Path, before: int, after: int) -> None:
    """Instances keep history, meta and due times; models, counts and log records are kept; verify is clean."""
    fill(tmp_path / "data", before, seed=before * 100 + after)
    expected = content(tmp_path / "data", before)
    done = reshard(tmp_path / "data", after)
    assert (done.before, done.after) == (before, after)
    assert differences(expected, content(tmp_path / "data", after)) == []
    assert expected["reports"]
    assert expected["deviations"]
    assert verify(tmp_path / "data") == []
    old, new = routing.table(before), routing.table(after)
    slots = [routing.slot_of(key) for key in expected["instances"]]
    assert done.moved == sum(old[slot] != new[slot] for slot in slots)
    names = {path.name for path in (tmp_path / "data").glob("shard-*")}
    assert names == {f"shard-{index:03}" for index in range(after)}
    assert DataDir(tmp_path / "data").read_layout() == Layout(after)


@given(before=st.integers(1, 8), after=st.integers(1, 8), further=st.integers(1, 8), seed=st.integers(0, 1 << 30))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.long
def test_any_numbers_of_shards_one_after_the_other(
    tmp_path_factory: pytest.TempPathFactory, before: int, after: int, further: int, seed: int
) -> None:
    """The content stays the same, also after going back."""
    path = tmp_path_factory.mktemp("any") / "data"
    fill(path, before, seed, instances=25)
    expected = content(path, before)
    for shards in (after, further):
        reshard(path, shards)
        assert differences(expected, content(path, shards)) == []
        assert verify(path) == []


@pytest.mark.long
def test_it_moves_only_what_must(tmp_path: Path) -> None:
    """From 8 to 9 shards, about a ninth of the instances move; the others keep their numbers."""
    fill(tmp_path / "data", 8, seed=1, instances=of_length(60, 100, 300), longest=1)
    count = len(content(tmp_path / "data", 8)["instances"])
    done = reshard(tmp_path / "data", 9)
    assert 0 < done.moved < count / 4


@pytest.mark.long
def test_a_long_history_moves_in_portions(tmp_path: Path) -> None:
    """A history longer than a batch counts as garbage while it is partly copied."""
    path = tmp_path / "data"
    fill(path, 1, seed=3, instances=5, longest=9000)
    expected = content(path, 1)
    assert max(row.seq for _, row, *_ in expected["instances"].values()) > 8192
    reshard(path, 6)
    assert differences(expected, content(path, 6)) == []
    assert verify(path) == []
    reshard(path, 1)
    assert differences(expected, content(path, 1)) == []
    assert verify(path) == []


@pytest.mark.long
def test_what_is_in_a_log_only_moves_too(tmp_path: Path) -> None:
    """The log is that of a crash, on source and target shards."""
    from spex_shards.runtime.store.files import OsFiles
    from spex_shards.runtime.store.logged_store import LoggedStore

    path = tmp_path / "data"
    fill(path, 3, seed=5)
    for index in range(3):
        store = LoggedStore(LmdbStore(DataDir(path).shard(index), sync=True), OsFiles(DataDir(path).shard(index)),
                            sync_each=True)  # fmt: skip
        shard = InstanceContents(store)
        for portion in shard.portions():
            for found in portion[::2]:
                shard.remove(found)
            shard.batch.commit()
        store._log.close()
        store._base.close()
    expected = content(path, 3)
    reshard(path, 2)
    assert differences(expected, content(path, 2)) == []
    reshard(path, 4)
    assert differences(expected, content(path, 4)) == []
    assert verify(path) == []


@pytest.mark.long
def test_timeouts_that_wait_for_a_handler_still_do(tmp_path: Path) -> None:
    """Parked rows stay parked if only a client can supply the handler."""
    path = tmp_path / "data"
    fill(path, 1, seed=8, instances=30)
    store = LmdbStore(DataDir(path).shard(0), sync=True)
    number, plain = records.unseal(store.get("specifications", Timed.name.encode()) or b"", "a specification")
    plain[-1] = ["shipped", "__main__", "Timed"]
    due = list(store.range("deadlines", b"", None))
    store.apply({
        "specifications": {Timed.name.encode(): records.seal([number, plain])},
        "deadlines": {key: None for key, _ in due[::2]},
        "parked": {u32(number) + key: value for key, value in due[::2]},
    })  # fmt: skip
    store.close()
    assert verify(path) == []
    expected = content(path, 1)
    assert sum(parked for *_, parked in expected["instances"].values()) == len(due[::2]) > 2
    for shards in (4, 2):
        reshard(path, shards)
        assert differences(expected, content(path, shards)) == []
        assert verify(path) == []


def test_due_times_are_computed_anew_where_two_shards_knew_another_specification(tmp_path: Path) -> None:
    """The target shard keeps its specification, and computes the moved instances' due times again."""
    path = tmp_path / "data"
    fill(path, 2, seed=9)
    store = LmdbStore(DataDir(path).shard(1), sync=True)
    number, plain = records.unseal(store.get("specifications", Timed.name.encode()) or b"", "a specification")
    plain[4] = 5 * SECOND
    store.apply({"specifications": {Timed.name.encode(): records.seal([number, plain])}, "jobs": {u32(number): b""}})
    store.close()
    reshard(path, 1)
    assert verify(path) == []
    opened = open_store(DataDir(path).shard(0), StoreOptions("process"))
    engine = Engine(Batch(opened), ModelSource(), EngineOptions(), NOW)
    while engine.timers.next_due() == 0:
        engine.timers.tick(NOW)
        engine.batch.commit()
    opened.close()
    assert verify(path) == []
    timed = [row for name, row, *_ in content(path, 1)["instances"].values() if name == Timed.name and row.seq]
    assert {row.deadline - row.last for row in timed} == {10**6 * SECOND}


# ---------------------------------------------------------------------- killed at any point


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("before", "after"),
    [(2, 3), *(pytest.param(*both, marks=pytest.mark.long) for both in [*([(3, 2)] if WHOLE else []), (3, 1)])],
)
def test_it_is_killed_at_every_step_and_goes_on(tmp_path: Path, before: int, after: int) -> None:
    """It is killed before each write, rename and unlink (or a share of them); another run completes it."""
    fill(tmp_path / "sound", before, seed=before + after, instances=8)
    expected = content(tmp_path / "sound", before)
    path, step, ended = tmp_path / "data", 0, False
    while not ended:
        step += of_length(5, 4, 1)
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(tmp_path / "sound", path)
        ended = killed_at(step, partial(reshard, path, after))
        assert verify(path) == []
        layout = DataDir(path).read_layout()
        assert layout is not None
        if layout.step is not None:
            with pytest.raises(
                spex.DataDirError, match=rf"from {before} to {after} shards.*reshard {path} --to {after}"
            ):
                DataDir(path).check_layout(after)
        if step % 2:
            killed_at(1 + step % 7, partial(reshard, path, after))  # and again
            assert verify(path) == []
        reshard(path, after)
        assert differences(expected, content(path, after)) == []
        assert verify(path) == []
    assert step >= 20


@pytest.mark.long
@pytest.mark.parametrize(("before", "after"), [(2, 4), pytest.param(4, 2, marks=pytest.mark.long)])
def test_it_can_be_undone_until_something_is_deleted(tmp_path: Path, before: int, after: int) -> None:
    """Asking for the old number undoes it; after a deletion, the change must be finished first."""
    fill(tmp_path / "sound", before, seed=2, instances=12)
    expected = content(tmp_path / "sound", before)
    undone = refused = 0
    for step in range(3, 60, of_length(7, 6, 2)):
        path = tmp_path / f"data-{step}"
        shutil.copytree(tmp_path / "sound", path)
        killed_at(step, partial(reshard, path, after))
        layout = DataDir(path).read_layout()
        assert layout is not None
        if layout.step == COPYING:
            undone += 1
            reshard(path, before)
            assert verify(path) == []
            assert differences(expected, content(path, before)) == []
        elif layout.step == DELETING:
            refused += 1
            with pytest.raises(
                spex.DataDirError, match=f"is being changed from {before} to {after}.*finish that first"
            ):
                reshard(path, before)
    assert undone
    assert refused


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.long
@pytest.mark.parametrize(("before", "after"), [*([(2, 5)] if WHOLE else []), (5, 2)])
def test_the_command_is_killed_at_random_instants(tmp_path: Path, before: int, after: int) -> None:
    """The real process is killed in each state of the layout record, and at random instants: clean each time."""
    path = tmp_path / "data"
    fill(path, before, seed=7, instances=of_length(60, 100, 500))
    expected = content(path, before)
    kill_the_command(path, ["reshard", path, "--to", after], Random(before))
    assert differences(expected, content(path, after)) == []


def test_ctrl_c_stops_it_at_a_good_place(tmp_path: Path) -> None:
    """The message says how to continue."""
    path = tmp_path / "data"
    fill(path, 2, seed=4)
    with pytest.raises(KeyboardInterrupt, match=f"nothing is lost.*spex-shards reshard {path} --to 3"):
        reshard(path, 3, interrupted=lambda: True)
    assert verify(path) == []
    told: list[tuple[int, int]] = []
    reshard(path, 3, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 0
    assert verify(path) == []


# ---------------------------------------------------------------------- what it refuses


def test_what_cannot_be_changed_is_refused(tmp_path: Path) -> None:
    """Each refusal names its rule; nothing is changed."""
    path = tmp_path / "data"
    fill(path, 2, seed=4, instances=10)
    for bad in (0, 1025, "3", 2.0, True):
        with pytest.raises(ValueError, match="the number of shards must be an int from 1 to 1024, got: "):
            reshard(path, bad)  # type: ignore[arg-type]
    with pytest.raises(spex.DataDirError, match="is no data directory"):
        reshard(tmp_path / "nowhere", 3)
    with OwnerLock(DataDir(path)), pytest.raises(spex.DataDirLocked, match=f"belongs to process {os.getpid()}"):
        reshard(path, 3)
    (path / "shard-002").mkdir()
    with pytest.raises(spex.DataDirError, match="shard-002 is there, though it belongs to no shard; move it away"):
        reshard(path, 3)
    (path / "shard-002").rmdir()
    assert reshard(path, 2).moved == 0
    assert DataDir(path).read_layout() == Layout(2)


def test_a_directory_in_between_opens_by_nothing_else(tmp_path: Path) -> None:
    """Managers of any number of shards, backup, export and connect refuse it."""
    path = tmp_path / "data"
    fill(path, 2, seed=4, instances=10)
    with pytest.raises(KeyboardInterrupt):
        reshard(path, 3, interrupted=lambda: True)
    hint = rf"from 2 to 3 shards, which was interrupted; finish it with: spex-shards reshard {path} --to 3"
    places = {"data_dir": path, "impl_models_dir": tmp_path / "models"}
    opens: list[Callable[[], Any]] = [
        spex.SimpleInstanceManager(**places).start,
        lambda: spex.connect(path),
        lambda: backup(path, tmp_path / "backup"),
        *(spex.ShardedInstanceManager(**places, distribution_factor=n).start for n in (2, 3)),
    ]
    for call in opens:
        with pytest.raises(spex.DataDirError, match=hint):
            call()
    code, out, err = run("export", "--data-dir", path)
    assert (code, out) == (2, "")
    assert "spex-shards reshard" in err


def test_a_damaged_instance_is_told_before_anything_is_deleted(tmp_path: Path) -> None:
    """The change can then be undone, so that the rest stays usable."""
    path = tmp_path / "data"
    fill(path, 2, seed=4)
    store = LmdbStore(DataDir(path).shard(1), sync=True)
    key, row = list(store.range("instances", b"", None))[-1]
    store.apply({"instances": {key: row[:-1] + bytes([row[-1] ^ 1])}})
    store.close()
    with pytest.raises(spex.StoreError, match="checksum of an instance"):
        reshard(path, 1)
    reshard(path, 2)
    assert len(verify(path)) > 0
    assert DataDir(path).read_layout() == Layout(2)


# ---------------------------------------------------------------------- with managers


@pytest.mark.process
def test_a_client_that_lives_through_it_never_routes_by_the_old_number(tmp_path: Path, no_process_left: None) -> None:
    """Its error says to make a new manager, and none of its requests reaches a wrong shard."""
    places = {"data_dir": tmp_path / "data", "impl_models_dir": tmp_path / "models", "learning_mode": True}
    with spex.ShardedInstanceManager(**places, distribution_factor=2) as manager:
        manager.init_instance(Order, 0, initial_state="new")
        client = spex.connect(tmp_path / "data", call_timeout=20.0)
        assert client.get_instance(0).current_state == "new"
    reshard(tmp_path / "data", 5)
    with spex.ShardedInstanceManager(**places, distribution_factor=5) as manager:

        def refused() -> bool:
            try:
                client.init_instance(Order, 1, initial_state="new")
            except spex.ShardDown as error:
                return "was changed from 2 to 5 shards; make a new manager" in str(error)
            return False

        wait_until(refused, "the client has heard of it")
        for number in range(40):
            with pytest.raises(spex.ShardDown, match="make a new manager"):
                client.init_instance(Order, number + 1, initial_state="new")
        client.close()
        assert [instance.identifier for instance in manager.iter_instances()] == [0]
        with spex.connect(tmp_path / "data") as fresh:
            assert fresh.get_instance(0).current_state == "new"
    assert verify(tmp_path / "data") == []


@pytest.mark.long
@pytest.mark.process
def test_managers_find_everything_afterwards(tmp_path: Path, no_process_left: None) -> None:
    """They find instances, models and deviations; the error for the old number names the command."""
    places = {"data_dir": tmp_path / "data", "impl_models_dir": tmp_path / "models", "learning_mode": True}
    with spex.ShardedInstanceManager(**places, distribution_factor=4) as manager:
        for number in range(50):
            manager.init_instance(Order, number, initial_state="new")
            manager.transition(number, "pay", "paid")
        before = {instance.identifier: instance for instance in manager.iter_instances()}
        models = {model.specification: model.transitions for model in manager.all_impl_models()}
    with pytest.raises(spex.LayoutMismatch, match=r"spex-shards reshard .* --to 1"):
        spex.SimpleInstanceManager(**places).start()
    reshard(tmp_path / "data", 1)
    with spex.SimpleInstanceManager(**places) as simple:
        assert {instance.identifier: instance for instance in simple.iter_instances()} == before
        assert {model.specification: model.transitions for model in simple.all_impl_models()} == models
        simple.transition(7, "ship", "shipped")
    reshard(tmp_path / "data", 3)
    with spex.ShardedInstanceManager(**places, distribution_factor=3) as manager:
        assert manager.get_instance(7).current_state == "shipped"
        assert len(list(manager.iter_instances())) == 50
    assert verify(tmp_path / "data") == []


# ---------------------------------------------------------------------- the command


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    """It prints one line; having nothing to do is no error; wrong numbers are exit code 2."""
    path = tmp_path / "data"
    fill(path, 2, seed=4, instances=10)
    moved = [key for key in content(path, 2)["instances"] if routing.table(3)[routing.slot_of(key)] == 2]
    assert len(moved) == 1
    assert run("reshard", path, "--to", 3) == (0, f"{path}: 2 → 3 shards, 1 instance moved\n", "")
    assert run("reshard", path, "--to", 3) == (0, f"{path} has 3 shards already\n", "")
    code, out, err = run("reshard", path, "--to", 0)
    assert (code, out) == (2, "")
    assert "must be an int from 1 to 1024, got: 0" in err
