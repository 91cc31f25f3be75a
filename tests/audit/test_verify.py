"""`verify`: a sound directory has no findings, and every fault is found, named and survived."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from typer.testing import CliRunner

import spex_shards as spex
from spex_shards.audit import Finding, verify
from spex_shards.engine.row_forms import InstanceRow, instance_row, row_bytes
from spex_shards.engine.rows import key_of
from spex_shards.runtime.data_dir import DataDir, Layout, OwnerLock
from spex_shards.runtime.protocol import records, routing
from spex_shards.runtime.protocol.codec import canonical
from spex_shards.runtime.protocol.records import seal, seal_flat
from spex_shards.runtime.store.keys import u32, u64
from spex_shards.runtime.store.lmdb_store import LmdbStore
from tests.support.contract_specs import Strict
from tests.support.processes import kill_worker

LONG = "long " * 200


class Watched(spex.Specification):
    """Has rows in every index."""

    name = "verify.Watched"
    transition_timeout = 3600
    prune_timeout = 3600
    prunable_states = ("b", "c")
    transitions = [("a", "go", "b"), ("b", "go", "c")]


def fill(manager: Any) -> None:
    """Make every kind of row: long identifiers, garbage, metas, models, deviations."""
    for name in ("one", "two", LONG):
        manager.init_instance(Watched, name, meta={"name": name[:5]}, initial_state="a")
        manager.transition(name, "go", "b")
    manager.transition("one", "go", "c")
    manager.mock_instance(Watched, "mocked", "b")
    manager.init_instance(Watched, "old", initial_state="a")
    for step in range(100):
        manager.transition("old", "go", "ab"[step % 2])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a data directory of one shard that no process uses."""
    path = tmp_path / "data"
    model = spex.ImplModel(
        specification=Strict.name, transitions=[(None, spex.INITIALISATION, "a"), ("a", "go", "b"), ("b", "stop", "c")]
    )
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / f"{Strict.name}.spex").write_text(model.serialise())
    with spex.SimpleInstanceManager(data_dir=path, impl_models_dir=tmp_path / "models", learning_mode=False) as manager:
        manager.init_instance(Strict, "strict", initial_state="a")
        with pytest.raises(spex.DeviationNotEquivalent):
            manager.transition("strict", "fly", "b")
    with spex.SimpleInstanceManager(data_dir=path, impl_models_dir=tmp_path / "none", learning_mode=True) as manager:
        fill(manager)
    return path


@pytest.fixture
def store(directory: Path) -> Iterator[LmdbStore]:
    """Return the store of that directory, for tampering."""
    made = LmdbStore(directory / "shard-000", sync=False)
    close, open_ = made.close, [True]
    made.close = lambda: close() if open_ and open_.pop() else None  # type: ignore[method-assign]
    yield made
    made.close()


def row_of(store: LmdbStore, identifier: Any) -> InstanceRow:
    """Return an instance's row."""
    row = store.get("instances", key_of(canonical(identifier)))
    assert row is not None
    return instance_row(row)


def put_instance(store: LmdbStore, identifier: Any, **fields: Any) -> None:
    """Change fields of an instance's row, and nothing else."""
    row = row_of(store, identifier)._replace(**fields)
    store.apply({"instances": {key_of(canonical(identifier)): row_bytes(row)}})


def first(store: LmdbStore, table: str) -> tuple[bytes, bytes]:
    """Return a table's first row."""
    return next(iter(list(store.range(table, b"", None))))


def flip(row: bytes) -> bytes:
    """Return a row with one bit changed."""
    return bytes([row[0] ^ 1]) + row[1:]


class Judged(spex.Specification):
    """Its runs are judged."""

    name = "verify.Judged"
    judge = "run"
    transitions = [("a", "go", "b"), ("b", "stop", "a")]


def test_a_run_that_is_not_where_its_history_leads_is_found(places: dict[str, Path]) -> None:
    """A position of an older specification is none: it is computed anew when it is needed."""
    with spex.SimpleInstanceManager(**places) as manager:
        manager.init_instance(Judged, 1)
        manager.transition(1, "go", "b")
        manager.mock_instance(Judged, 2, "b")
        manager.transition(2, "stop", "a")
    assert verify(places["data_dir"]) == []
    store = LmdbStore(DataDir(places["data_dir"]).shard(0), sync=False)
    run = row_of(store, 1).run
    assert run is not None
    put_instance(store, 1, run=run._replace(position=0))
    store.close()
    [finding] = verify(places["data_dir"])
    assert (finding.table, finding.rule) == ("instances", "its run is where its history leads")
    store = LmdbStore(DataDir(places["data_dir"]).shard(0), sync=False)
    put_instance(store, 1, run=run._replace(digest=b"of another"))
    store.close()
    assert verify(places["data_dir"]) == []


# ---------------------------------------------------------------------- what is sound


def test_a_directory_that_was_closed_is_clean(directory: Path) -> None:
    """It has every kind of row; it is clean through any path to it, and at a second run."""
    assert verify(directory) == []
    assert verify(str(directory)) == []
    assert verify(os.path.relpath(directory)) == []


@pytest.mark.process
def test_a_directory_whose_shards_were_killed_is_clean(places: dict[str, Path], no_process_left: None) -> None:
    """The content of the redo log counts; verify does not write it anywhere."""
    manager = spex.ShardedInstanceManager(**places, distribution_factor=3, learning_mode=True, max_restarts=0).start()
    for number in range(500):
        manager.init_instance_nowait(Watched, number, initial_state="a")
        manager.transition_nowait(number, "go", "b")
    for number in range(0, 500, 5):
        manager.delete_instance(number)
    manager.flush(20)
    for index in range(3):
        kill_worker(manager, index)
    manager.close()
    before = {path: path.read_bytes() for path in places["data_dir"].glob("shard-*/log-*")}
    assert before
    assert verify(places["data_dir"]) == []
    assert {path: path.read_bytes() for path in places["data_dir"].glob("shard-*/log-*")} == before


def test_timeouts_that_wait_for_a_handler_are_clean(directory: Path, store: LmdbStore) -> None:
    """A parked row replaces the deadline's row if only a client can supply the handler."""
    key, value = first(store, "deadlines")
    number = instance_row(store.get("instances", value) or b"").specification
    store.apply({"deadlines": {key: None}, "parked": {u32(number) + key: value}})
    store.close()
    assert [finding.table for finding in verify(directory)] == ["parked"]
    name = Watched.name.encode()
    again = LmdbStore(directory / "shard-000", sync=False)
    _, plain = records.unseal(again.get("specifications", name) or b"", "a specification")
    plain[-1] = ["shipped", "__main__", "Watched"]
    again.apply({"specifications": {name: seal([number, plain])}})
    again.close()
    assert verify(directory) == []


def test_a_new_directory_is_clean(tmp_path: Path) -> None:
    """Nothing was ever stored in it."""
    directory = DataDir(tmp_path / "data")
    directory.make()
    directory.check_layout(5)
    assert verify(directory.path) == []


# ---------------------------------------------------------------------- what is not


Damage = Callable[[LmdbStore], None]


def _delete(table: str) -> Damage:
    return lambda store: store.apply({table: {first(store, table)[0]: None}})


def _flip(table: str) -> Damage:
    return lambda store: store.apply({table: {first(store, table)[0]: flip(first(store, table)[1])}})


def _put(table: str, key: bytes, value: bytes) -> Damage:
    return lambda store: store.apply({table: {key: value}})


def _instance(identifier: Any, **fields: Any) -> Damage:
    return lambda store: put_instance(store, identifier, **fields)


def _history(seq: int, **change: Any) -> Damage:
    def damage(store: LmdbStore) -> None:
        key = u64(row_of(store, "one").number) + u64(seq)
        time, action, state = records.unseal(store.get("history", key) or b"", "a history entry")
        entry = {"time": time, "action": action, "state": state, **change}
        store.apply({"history": {key: seal_flat(tuple(entry.values()))}})

    return damage


def _missing_entry(store: LmdbStore) -> None:
    store.apply({"history": {u64(row_of(store, "one").number) + u64(2): None}})


def _foreign_key(store: LmdbStore) -> None:
    row = store.get("instances", key_of(canonical(LONG))) or b""
    store.apply({"instances": {key_of(canonical(LONG + "!")): row}})


def _twice_parked(store: LmdbStore) -> None:
    key, value = first(store, "deadlines")
    store.apply({"parked": {u32(row_of(store, "one").specification) + key: value}})


def _renumbered(store: LmdbStore) -> None:
    put_instance(store, "two", number=row_of(store, "one").number)


def _low_counter(store: LmdbStore) -> None:
    store.apply({"layout": {b"next instance": u64(1)}})


def _long_garbage(store: LmdbStore) -> None:
    store.apply({"garbage": {u64(900): u64(3)}, "history": {u64(900) + u64(1): seal_flat((1, "a", "b"))}})


CLIENT = bytes(range(16))
MODEL = [None, spex.INITIALISATION, "a"]
DAMAGES: dict[str, tuple[Damage, str, str]] = {
    "instance flipped": (_flip("instances"), "instances", "checksum"),
    "instance gone": (_delete("instances"), "by_spec", "lists an instance"),
    "instance of another form": (_put("instances", b"\0x", seal([1, 2])), "instances", "checksum"),
    "state of another type": (_instance("one", state=5), "instances", "form of its kind"),
    "number twice": (_renumbered, "instances", "have one number"),
    "number used up": (_low_counter, "layout", "above the number"),
    "unknown specification": (_instance("one", specification=99), "instances", "specification is stored"),
    "key of another identifier": (_foreign_key, "instances", "key is that"),
    "not listed": (_delete("by_spec"), "by_spec", "listed for its specification"),
    "listed in vain": (_put("by_spec", u32(1) + b"\0nobody", b""), "by_spec", "lists an instance"),
    "listed with a value": (lambda s: s.apply({"by_spec": {first(s, "by_spec")[0]: b"x"}}), "by_spec", "lists"),
    "no deadline row": (_delete("deadlines"), "deadlines", "is there once"),
    "parked as well": (_twice_parked, "deadlines", "is there once"),
    "deadline of nobody": (_put("deadlines", u64(5) + u64(5), b"\0nobody"), "deadlines", "is due at"),
    "short deadline": (_put("deadlines", u64(5), b"\0nobody"), "deadlines", "form"),
    "deadline that the specification does not say": (_instance("one", deadline=77), "instances", "its deadline is"),
    "reported with a deadline": (_instance("one", reported=True), "instances", "its deadline is None"),
    "no prune row": (_delete("prunable"), "prunable", "due time"),
    "prune of nobody": (_put("prunable", u64(5) + u64(5), b"\0nobody"), "prunable", "is due at"),
    "prune that the specification does not say": (_instance("one", prune=77), "instances", "may be pruned"),
    "parked for nobody": (_put("parked", u32(1) + u64(5) + u64(5), b"\0nobody"), "parked", "is due at"),
    "history entry gone": (_missing_entry, "history", "entry 2 of 1 to 3"),
    "newest entry gone": (_instance("one", seq=4), "history", "entries that the instance says"),
    "first entry gone": (_delete("history"), "history", "entry 1 of 1 to"),
    "history flipped": (_flip("history"), "history", "checksum"),
    "history goes back": (_history(1, time=1 << 61), "history", "never decrease"),
    "history of another type": (_history(1, action=7), "history", "form"),
    "newest entry of another state": (_history(3, state="z"), "history", "time and state"),
    "newest entry of another time": (_instance("one", last=99), "history", "time and state"),
    "history of nobody": (_put("history", u64(999) + u64(1), seal_flat((1, "a", "b"))), "history", "garbage"),
    "garbage of an instance": (
        lambda s: s.apply({"garbage": {u64(row_of(s, "one").number): u64(1)}}), "garbage", "instance that is gone",
    ),
    "garbage that is not there": (_long_garbage, "garbage", "as many entries"),
    "meta of nobody": (_put("metas", u64(999), seal_flat(b"")), "metas", "belongs to an instance"),
    "meta flipped": (_flip("metas"), "metas", "checksum"),
    "meta that is no dict": (lambda s: s.apply({"metas": {first(s, "metas")[0]: seal_flat(b"\x01")}}), "metas", "form"),
    "specification flipped": (_flip("specifications"), "specifications", "checksum"),
    "specification gone": (_delete("specifications"), "instances", "specification is stored"),
    "specification under another name": (
        lambda s: s.apply({"specifications": {b"other": first(s, "specifications")[1]}}), "specifications", "form",
    ),
    "job of no specification": (_put("jobs", u32(99), b""), "jobs", "specification is stored"),
    "model flipped": (_flip("models"), "models", "checksum"),
    "model without its header": (_delete("models"), "models", "is next"),
    "gap in a model": (_put("models", u32(1) + u64(50), seal(["a", "go", "z"])), "models", "is next"),
    "gap between models": (_put("models", u32(50) + u64(0), seal(["name"])), "models", "is next"),
    "transition twice": (
        lambda s: s.apply({"models": {u32(2) + u64(0): seal(["n"]), u32(2) + u64(1): seal(MODEL),
                                      u32(2) + u64(2): seal(MODEL)}}), "models", "form",
    ),
    "transition of no model": (_put("models", u32(2) + u64(0), seal(["verify.Watched"])), "models", "form"),
    "deviation flipped": (_flip("deviations"), "deviations", "checksum"),
    "deviation twice": (
        lambda s: s.apply({"deviations": {u64(99): first(s, "deviations")[1]}}), "deviations", "form",
    ),
    "answer of nobody": (_put("answers", CLIENT + u64(3), seal([3, True, None, []])), "answers", "counts as applied"),
    "answer to another number": (_put("answers", CLIENT + u64(3), seal([4, True, None, []])), "answers", "form"),
    "client flipped": (_put("clients", CLIENT, flip(seal_flat((1, 0, 0)))), "clients", "checksum"),
    "client of another form": (_put("clients", CLIENT, seal_flat((1, 0))), "clients", "form"),
    "outbox above its counter": (_put("outbox", u64(7), seal(["record"])), "layout", "above 7"),
    "outbox flipped": (_put("outbox", u64(7), flip(seal(["record"]))), "outbox", "checksum"),
    "unknown counter": (_put("layout", b"colour", b"red"), "layout", "is known"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_whatever_is_wrong_is_found(name: str, directory: Path, store: LmdbStore) -> None:
    """Each fault is found with the table, the rule and the value."""
    damage, table, rule = DAMAGES[name]
    damage(store)
    store.close()
    findings = verify(directory)
    assert any(f.shard == 0 and f.table == table and rule in f.rule and f.value for f in findings), findings


def test_an_instance_is_found_on_a_shard_that_it_does_not_route_to(directory: Path) -> None:
    """A request for its identifier would never find it there."""
    (directory / "shard-000").rename(directory / "shard-001")
    DataDir(directory).write_layout(Layout(2))
    elsewhere = [
        name for name in ("one", "two", LONG, "mocked", "old", "strict")
        if routing.table(2)[routing.slot_of(canonical(name))] == 0
    ]  # fmt: skip
    findings = verify(directory)
    assert sum("it lies on shard 0" in finding.rule for finding in findings) == len(elsewhere) > 0
    assert [f.table for f in findings if f.shard == 0] == ["store"]  # and that shard is missing


def test_a_row_is_named_by_its_identifier(directory: Path, store: LmdbStore) -> None:
    """The finding shows the identifier; if that cannot be read, it shows the key."""
    put_instance(store, "one", deadline=77)
    _flip("metas")(store)
    store.close()
    text = "\n".join(map(str, verify(directory)))
    assert "shard 0, instances, 'one': its deadline is" in text
    assert "found: 77" in text


def test_thousands_of_findings_are_cut_short(directory: Path, store: LmdbStore) -> None:
    """The first thousand of a table are listed, and one more stands for the rest."""
    store.apply({"metas": {u64(number): b"" for number in range(5000, 8000)}})
    store.close()
    findings = verify(directory)
    assert len(findings) == 1001
    assert findings[-1].value == "more findings, which are not listed"


def make_deadly(data: Path, key: bytes) -> None:
    """Damage the page of a key, in every version in the file, so that reading it runs beyond the map."""
    content = bytearray(data.read_bytes())
    entry = len(key).to_bytes(2, sys.byteorder) + key
    place = content.find(entry)
    assert place > 0
    while place > 0:
        first = place // 4096 * 4096 + 16  # where the page's first entry lies
        content[first : first + 2] = b"\xff\xff"
        place = content.find(entry, place + 1)
    data.write_bytes(content)


@pytest.mark.process
def test_a_store_whose_reading_kills_the_process_is_a_finding(directory: Path, no_process_left: None) -> None:
    """The finding names the table; earlier findings are still reported."""
    make_deadly(directory / "shard-000" / "data.mdb", u32(1) + u64(1))
    finding = verify(directory)[-1]
    assert (finding.shard, finding.table) == (0, "models")
    assert finding.rule == "its store can be read to its end"
    assert "the process that read it ended with SIG" in finding.value


@pytest.mark.process
def test_a_shard_whose_store_kills_it_leaves_the_others_alone(places: dict[str, Path], no_process_left: None) -> None:
    """A helper process reads its models before any shard starts, and may crash; then only this shard is given up."""
    options = {**places, "distribution_factor": 3, "learning_mode": True}
    with spex.ShardedInstanceManager(**options) as manager:
        for number in range(30):
            manager.init_instance(Watched, number, initial_state="a")
            manager.transition(number, "go", "b")
    make_deadly(places["data_dir"] / "shard-001" / "data.mdb", u32(1) + u64(1))
    with spex.ShardedInstanceManager(**options, max_restarts=1) as manager:
        assert [shard.status for shard in manager.shards()] == ["READY", "FAILED", "READY"]
        number = next(n for n in range(30) if routing.table(3)[routing.slot_of(canonical(n))] == 0)
        assert manager.get_instance(number).current_state == "b"


@pytest.mark.long
@pytest.mark.process
def test_any_damage_to_the_file_is_survived(directory: Path, no_process_left: None) -> None:
    """Random bytes over random pages give findings or none, but no crash of the caller, and the file is not changed."""
    path = directory / "shard-000" / "data.mdb"
    sound = path.read_bytes()
    found = 0
    for seed in range(10):
        random = Random(seed)
        damaged = bytearray(sound)
        page = random.randrange(2, len(sound) // 4096)
        start = page * 4096 + random.choice([0, 10, random.randrange(4000)])
        damaged[start : start + 8] = random.randbytes(8)
        path.write_bytes(damaged)
        (directory / "shard-000" / "lock.mdb").unlink(missing_ok=True)
        found += bool(verify(directory))
    assert found
    path.write_bytes(sound)
    assert verify(directory) == []


def test_a_damaged_log_is_a_finding(directory: Path) -> None:
    """The shard cannot be opened; the finding says what and where."""
    (directory / "shard-000" / "log-0").write_bytes(b"spexlog1" + bytes(100))
    [finding] = verify(directory)
    assert finding.table == "store"
    assert "log-0, byte 0" in finding.value


# ---------------------------------------------------------------------- what cannot be looked at


def test_a_directory_that_somebody_owns_is_left_alone(directory: Path, tmp_path: Path) -> None:
    """The error names the holder."""
    manager = spex.SimpleInstanceManager(data_dir=directory, impl_models_dir=tmp_path / "none")
    with (
        manager,
        pytest.raises(spex.DataDirLocked, match=r"this process has .* open already, by an in-process"),
    ):
        verify(directory)


def test_what_is_no_data_directory_is_refused(tmp_path: Path) -> None:
    """Nothing is created there."""
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(spex.DataDirError, match="is no data directory"):
            verify(path)
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_byte_in_the_layout_record_is_an_error_at_opening(directory: Path) -> None:
    """For each byte, the error says what is damaged, where, and what to do."""
    layout = directory / "layout"
    sound = layout.read_bytes()
    for place in range(len(sound)):
        layout.write_bytes(sound[:place] + bytes([sound[place] ^ 0x10]) + sound[place + 1 :])
        for call in (lambda: verify(directory), lambda: DataDir(directory).check_layout(1)):
            with pytest.raises(spex.DataDirError, match=r"layout record is damaged: .*layout; restore it from"):
                call()


def test_a_newer_format_is_an_error_at_opening(directory: Path) -> None:
    """The error names the format that was found."""
    (directory / "layout").write_bytes(records.seal([2, 1, routing.HASH_NAME, "something", "new"]))
    with pytest.raises(spex.DataDirError, match="has format 2"):
        verify(directory)


# ---------------------------------------------------------------------- the command


def run(*arguments: object) -> tuple[int, str, str]:
    """Run the command line in this process."""
    from spex_shards.cli import app

    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return done.exit_code, done.stdout, done.stderr


def test_the_command_says_that_all_is_well(directory: Path) -> None:
    """It exits with 0, with text and with JSON output."""
    assert run("verify", directory) == (0, "all is well\n", "")
    code, out, _ = run("verify", directory, "--format", "json")
    assert (code, json.loads(out)) == (0, {"clean": True, "findings": []})


def test_the_command_tells_each_finding(directory: Path, store: LmdbStore) -> None:
    """It exits with 1, and prints one line or one object per finding."""
    put_instance(store, "one", prune=77)
    store.close()
    code, out, _ = run("verify", directory)
    lines = out.splitlines()
    assert code == 1
    assert len(lines) == 4
    assert lines[-1] == "3 findings"
    code, out, _ = run("verify", directory, "--format", "json")
    plain = json.loads(out)
    assert (code, plain["clean"], len(plain["findings"])) == (1, False, 3)
    assert set(plain["findings"][0]) == {"shard", "table", "key", "rule", "value"}


def test_the_command_cannot_look_at_what_is_not_there_or_owned(directory: Path, tmp_path: Path) -> None:
    """It exits with 2 and prints one line."""
    code, out, err = run("verify", tmp_path / "nowhere")
    assert (code, out) == (2, "")
    assert "is no data directory" in err
    with OwnerLock(DataDir(directory)):
        code, out, err = run("verify", directory)
    assert (code, out) == (2, "")
    assert f"belongs to process {os.getpid()}" in err


def test_a_finding_is_plain_data(directory: Path) -> None:
    """It can be compared, shown and serialised."""
    finding = Finding(1, "metas", "", "a rule", "a value")
    assert str(finding) == "shard 1, metas: a rule; found: a value"
    assert finding.plain() == {"shard": 1, "table": "metas", "key": "", "rule": "a rule", "value": "a value"}
