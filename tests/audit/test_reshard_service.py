"""`reshard` of a service's rows: each goes where the service says, nothing is lost, and it goes on after any kill."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards import runtime
from spex_shards.audit import backup, reshard, verify
from spex_shards.runtime.data_dir import COPYING, DELETING, DataDir, Layout
from spex_shards.runtime.hosting import SERVICE, name_of, service_of
from spex_shards.runtime.protocol import codec, records, routing
from spex_shards.runtime.rows import Rows, named
from spex_shards.runtime.store import Batch
from spex_shards.runtime.store.keys import u64
from spex_shards.runtime.store.opening import StoreOptions, open_store, open_view
from spex_shards.runtime.worker.outbox import LOST, NEXT
from tests.audit.test_verify import run
from tests.support.killing import kill_the_command, killed_at
from tests.support.places import ROOT, of_length
from tests.support.runtime_services import Counter, Journal

NAME = "tests.support.runtime_services:Journal"
NAMES: list[Any] = ["a", ("b", 1), 7, None, b"\x00", 2**70, "long" * 100]


def fill(path: Path, shards: int, seed: int, names: int = 40, cls: type[runtime.Service] = Journal) -> None:
    """Make a directory of a service, with rows in two tables and log records that wait."""
    random = Random(seed)
    directory = DataDir(path)
    directory.make()
    directory.check_layout(shards)
    table = routing.table(shards)
    stores = [open_store(directory.shard(index), StoreOptions("process")) for index in range(shards)]
    batches = [Batch(store) for store in stores]
    for index, batch in enumerate(batches):
        batch.put("layout", SERVICE, records.seal(name_of(cls)))
        for number in range(index + 1):
            batch.put("outbox", u64(number + 1), records.seal([f"shard {index} says {number}"]))
        batch.put("layout", NEXT, u64(index + 2))
        batch.put("layout", LOST, u64(index) if index else None)
    for name in [*NAMES, *(("n", number) for number in range(names))]:
        rows = Rows(batches[table[routing.slot_of(codec.canonical(name))]])
        count = random.choice([0, 1, 2, 9])
        rows[name] = count
        for number in range(count):
            rows.table("entries")[name, number] = random.randbytes(random.choice([0, 10, 100]))
    for batch, store in zip(batches, stores, strict=True):
        batch.commit()
        store.close()


def content(path: Path, shards: int, cls: type[runtime.Service] = Journal) -> dict[str, Any]:
    """Return what a directory holds; each row is where it belongs, by a second reading of the rule."""
    table = routing.table(shards)
    rows: dict[bytes, bytes] = {}
    reports: list[bytes] = []
    lost = 0
    for index in range(shards):
        view = open_view(DataDir(path).shard(index))
        batch = Batch(view)
        assert service_of(batch) == name_of(cls)
        for place, row in batch.range("rows", b""):
            of_table, key = named(place)
            owner = key[0] if of_table == "entries" else key
            assert table[routing.slot_of(codec.canonical(owner))] == index
            assert place not in rows
            rows[place] = row
        reports += [row for _, row in batch.range("outbox", b"")]
        lost += int.from_bytes(batch.get("layout", LOST) or b"", "big")
        view.close()
    return {"rows": rows, "reports": sorted(reports), "lost": lost}


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Return a directory with two shards, which a test leaves exactly as it was."""
    path = tmp_path / "data"
    fill(path, 2, seed=1)
    expected = content(path, 2)
    yield path
    assert DataDir(path).read_layout() == Layout(2)
    assert content(path, 2) == expected
    assert not DataDir(path).shard(2).exists()


# ---------------------------------------------------------------------- what it does


@given(before=st.integers(1, 6), after=st.integers(1, 6), further=st.integers(1, 6), seed=st.integers(0, 1 << 30))
@settings(max_examples=24, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.long
def test_all_rows_are_there_afterwards_and_where_the_service_says(
    tmp_path_factory: pytest.TempPathFactory, before: int, after: int, further: int, seed: int
) -> None:
    """With the log records that waited; also from one number to the next, and back; only what must move does."""
    path = tmp_path_factory.mktemp("any") / "data"
    fill(path, before, seed)
    expected = content(path, before)
    now = before
    for shards in (after, further):
        old, new = routing.table(now), routing.table(shards)
        slots = [routing.slot_of(codec.canonical(Journal.routing_key(*named(place)))) for place in expected["rows"]]
        done = reshard(path, shards, service=Journal)
        assert (done.before, done.after) == (now, shards)
        assert done.moved == sum(old[slot] != new[slot] for slot in slots)
        assert content(path, shards) == expected
        assert verify(path, service=Journal) == []
        now = shards


@pytest.mark.process
def test_the_service_goes_on_with_another_number_of_shards(tmp_path: Path, no_process_left: None) -> None:
    """What was written before is read after, and more can be written; from in-process to processes."""
    path = tmp_path / "data"
    with runtime.Shards(Journal, data_dir=path, shards=1, processes=False) as journal:
        for name in [*NAMES, *range(10, 40)]:
            for number in range(3):
                journal.call(name, "write", f"{name} {number}")
    with pytest.raises(spex.LayoutMismatch, match=r"spex-shards reshard .* --to 3"):
        runtime.Shards(Journal, data_dir=path, shards=3).start()
    reshard(path, 3, service=Journal)
    with runtime.Shards(Journal, data_dir=path, shards=3, call_timeout=20) as journal:
        for name in [*NAMES, *range(10, 40)]:
            assert journal.call(name, "read") == [f"{name} {number}" for number in range(3)]
            assert journal.call(name, "write", "more") == 4
    assert verify(path, service=Journal) == []


def test_the_ledger_of_the_examples_can_be_resharded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts with their bookings."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    cls = importlib.import_module("ledger").Ledger
    path = tmp_path / "data"
    with runtime.Shards(cls, data_dir=path, shards=1, processes=False) as ledger:
        for number in range(40):
            ledger.call(f"account {number}", "book", number, "opened")
    assert reshard(path, 4, service=cls).moved > 40
    assert verify(path, service=cls) == []
    reshard(path, 1, service=cls)
    with runtime.Shards(cls, data_dir=path, shards=1, processes=False) as ledger:
        assert dict(ledger.iterate("accounts")) == {f"account {number}": number for number in range(40)}


def test_rows_of_megabytes_move_a_few_at_a_time(tmp_path: Path) -> None:
    """A portion is bounded by its bytes."""
    path = tmp_path / "data"
    fill(path, 1, seed=1, names=0)
    store = open_store(DataDir(path).shard(0), StoreOptions("process"))
    batch = Batch(store)
    for number in range(12):
        Rows(batch)["big", number] = bytes(1 << 20)
    batch.commit()
    store.close()
    expected = content(path, 1)
    told: list[tuple[int, int]] = []
    reshard(path, 4, service=Journal, progress=lambda done, total: told.append((done, total)))
    assert content(path, 4) == expected
    assert len(told) >= 6
    assert told[-1][0] == told[-1][1]


# ---------------------------------------------------------------------- killed at any point


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("before", "after"), [(2, 3), pytest.param(3, 1, marks=pytest.mark.long)])
def test_it_is_killed_at_every_step_and_goes_on(tmp_path: Path, before: int, after: int) -> None:
    """Before each write, rename and unlink (a third of them in a short run): clean, and ended by another run."""
    fill(tmp_path / "sound", before, seed=before + after, names=12)
    expected = content(tmp_path / "sound", before)
    path, step, ended = tmp_path / "data", 0, False
    while not ended:
        step += of_length(5, 4, 1)
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(tmp_path / "sound", path)
        ended = killed_at(step, partial(reshard, path, after, service=Journal))
        assert verify(path, service=Journal) == []
        layout = DataDir(path).read_layout()
        assert layout is not None
        if layout.step is not None:
            with pytest.raises(spex.DataDirError, match=f"belongs to the service {NAME}"):
                reshard(path, after)
        if layout.step == COPYING and step % 2:
            reshard(path, before, service=Journal)  # undone
            assert content(path, before) == expected
        reshard(path, after, service=Journal)
        assert content(path, after) == expected
        assert verify(path, service=Journal) == []
    assert step >= 9


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.long
def test_the_command_is_killed_at_random_instants(tmp_path: Path) -> None:
    """The real process, by SIGKILL; the rows are exactly those that there were."""
    path = tmp_path / "data"
    fill(path, 2, seed=7, names=of_length(100, 120, 1000))
    expected = content(path, 2)
    kill_the_command(path, ["reshard", path, "--to", 5, "--service", NAME], Random(2))
    assert content(path, 5) == expected
    assert verify(path, service=Journal) == []


class Fickle(runtime.Service):
    """Another time it routes its rows by something else."""

    by = 0

    @staticmethod
    def routing_key(table: str, key: Any) -> Any:
        """Return a part of the key, another one each time that `by` is changed."""
        return (key, Fickle.by)

    @runtime.query
    def nothing(self, key: Any) -> None:
        """Return None."""


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (4, 2)])
def test_a_service_that_routes_otherwise_later_loses_nothing(
    tmp_path: Path, before: int, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is deleted that is not where it then routes to; with the rule that it was begun with it goes on."""
    path, table = tmp_path / "data", routing.table(before)
    fill(path, before, seed=1, names=0, cls=Fickle)
    expected = {}
    for index in range(before):
        store = open_store(DataDir(path).shard(index), StoreOptions("process"))
        batch = Batch(store)
        for place, _ in list(batch.range("rows", b"")):
            batch.delete("rows", place)
        for number in range(40):
            if table[routing.slot_of(codec.canonical((number, 0)))] == index:
                Rows(batch)[number] = expected[number] = f"row {number}"
        batch.commit()
        store.close()
    deleting = Layout(after, DELETING, before)
    write = DataDir.write_layout

    def interrupted_behind(self: DataDir, layout: Layout) -> None:
        write(self, layout)
        if layout == deleting:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(DataDir, "write_layout", interrupted_behind)
        with pytest.raises(KeyboardInterrupt):
            reshard(path, after, service=Fickle)
    with monkeypatch.context() as patch:
        patch.setattr(Fickle, "by", 1)
        if after > 1:  # to one shard everything routes alike
            with pytest.raises(spex.DataDirError, match=r"the row \d+ of the table '' is on .* it is left where it is"):
                reshard(path, after, service=Fickle)
    reshard(path, after, service=Fickle)
    assert verify(path, service=Fickle) == []
    found = {}
    for index in range(after):
        view = open_view(DataDir(path).shard(index))
        found.update(Rows(Batch(view)).items())
        view.close()
    assert found == expected


# ---------------------------------------------------------------------- what it refuses


def test_without_the_class_it_says_what_to_do(directory: Path) -> None:
    """Also where nothing would have to be moved; the stored name is not imported."""
    for shards in (3, 2):
        with pytest.raises(spex.DataDirError, match=rf"belongs to the service {NAME}, .* --service {NAME}"):
            reshard(directory, shards)


def test_a_stored_name_is_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the caller names is."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "stored_only.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    path = tmp_path / "data"
    fill(path, 1, seed=1, names=0)
    store = open_store(DataDir(path).shard(0), StoreOptions("process"))
    store.apply({"layout": {SERVICE: records.seal("stored_only:Service")}})
    store.close()
    with pytest.raises(spex.DataDirError, match="belongs to the service stored_only:Service"):
        reshard(path, 2)
    with pytest.raises(spex.DataDirError, match=f"the service stored_only:Service, and not to the service {NAME}"):
        reshard(path, 2, service=Journal)


class Roaming(Journal):
    """Has the form of a journal, and is none."""


class InstanceMethod(Journal):
    """Has a rule that cannot be asked without an object."""

    def routing_key(self, table: str, key: Any) -> Any:  # type: ignore[override]
        """Return the key."""
        return key


@pytest.mark.parametrize(
    ("service", "error", "text"),
    [
        (Counter, spex.DataDirError, r"runtime_services:Counter does not say which key a row belongs to: define a"),
        (Roaming, spex.DataDirError, rf"belongs to the service {NAME}, and not to the service .*:Roaming"),
        (InstanceMethod, TypeError, r"InstanceMethod.routing_key must be a staticmethod or a classmethod, got: <func"),
        (dict, TypeError, "a service must be a subclass of runtime.Service, got: <class 'dict'>"),
    ],
)
def test_another_class_is_refused(directory: Path, service: Any, error: type[Exception], text: str) -> None:
    """Neither `reshard` nor `verify` begins with a class that cannot tell, or that the directory does not belong to."""
    for look in (partial(reshard, directory, 3), partial(verify, directory)):
        with pytest.raises(error, match=text):
            look(service=service)


def test_a_service_for_a_directory_of_spex_is_refused(tmp_path: Path) -> None:
    """The class is not asked for rows that are not there."""
    places = {"data_dir": tmp_path / "data", "impl_models_dir": tmp_path / "models"}
    with spex.SimpleInstanceManager(**places):
        pass
    with pytest.raises(spex.DataDirError, match=f"belongs to Spex, and not to the service {NAME}"):
        reshard(tmp_path / "data", 2, service=Journal)


def _raising(table: str, key: Any) -> Any:
    if (table, key) == ("entries", (("n", 3), 0)):
        raise ZeroDivisionError("no shard")
    return Journal.routing_key(table, key)


def _no_key(table: str, key: Any) -> Any:
    return [object()] if (table, key) == ("", 7) else Journal.routing_key(table, key)


RULES = [
    (_raising, r"raised ZeroDivisionError: no shard, for the row \(\('n', 3\), 0\) of the table 'entries'"),
    (_no_key, r"returned \[<object .*>\], which is no key \(TypeError: .*\), for the row 7 of the table ''"),
    (lambda table, key: "always", r"the row .* of the table '.*' lies on shard 0 and not 1; see spex-shards verify"),
]


def ruled(rule: Any) -> type[Journal]:
    """Return the journal, but with this rule in the place of its own."""
    attributes = {"routing_key": staticmethod(rule), "__module__": Journal.__module__, "__qualname__": "Journal"}
    return type("Journal", (Journal,), attributes)


@pytest.mark.parametrize(("rule", "text"), RULES, ids=["raises", "returns no key", "another shard"])
def test_a_rule_that_fails_changes_nothing(directory: Path, rule: Any, text: str) -> None:
    """The error names table and key; no layout is written, and no row of any shard is touched."""
    with pytest.raises(spex.DataDirError, match=text):
        reshard(directory, 3, service=ruled(rule))


@pytest.mark.parametrize(("rule", "text"), RULES, ids=["raises", "returns no key", "another shard"])
def test_verify_says_which_rows_lie_elsewhere(directory: Path, rule: Any, text: str) -> None:
    """With the class; without it, only whether rows can be read is looked at."""
    assert verify(directory) == []
    findings = verify(directory, service=ruled(rule))
    assert {finding.table for finding in findings} == {"rows"}
    if "another" in text or "lies on" in text:
        assert {(finding.shard, finding.rule) for finding in findings} == {
            (0, "it lies on shard 1, where its service has it")
        }
    else:
        [finding] = findings
        assert finding.rule == "its service says which key it belongs to"
        assert finding.key in ("(('n', 3), 0)", "7")


def test_a_row_that_lies_on_another_shard_is_a_finding(tmp_path: Path) -> None:
    """It names shard, row and rule; `reshard` refuses to begin."""
    path = tmp_path / "data"
    fill(path, 2, seed=1)
    stores = [open_store(DataDir(path).shard(index), StoreOptions("process")) for index in range(2)]
    place, row = next(stores[0].range("rows", b"", None))
    stores[1].apply({"rows": {place: row}})
    for store in stores:
        store.close()
    assert verify(path) == []
    [finding] = verify(path, service=Journal)
    assert str(finding) == f"shard 1, rows, {named(place)[1]!r}: it lies on shard 0, where its service has it; found: 1"
    with pytest.raises(spex.DataDirError, match="lies on shard 1 and not 0; see spex-shards verify"):
        reshard(path, 3, service=Journal)
    assert DataDir(path).read_layout() == Layout(2)


def test_a_damaged_row_is_told_before_anything_is_changed(tmp_path: Path) -> None:
    """Its checksum is looked at first."""
    path = tmp_path / "data"
    fill(path, 2, seed=1)
    store = open_store(DataDir(path).shard(1), StoreOptions("process"))
    place, row = next(store.range("rows", b"", None))
    store.apply({"rows": {place: row[:-1] + bytes([row[-1] ^ 1])}})
    store.close()
    with pytest.raises(spex.StoreError, match="checksum of a row of the service"):
        reshard(path, 3, service=Journal)
    assert DataDir(path).read_layout() == Layout(2)


def test_an_interruption_stops_it_before_or_in_between(directory: Path, tmp_path: Path) -> None:
    """While rows are looked at nothing is changed; later it goes on."""
    with pytest.raises(KeyboardInterrupt, match="nothing was changed by this run"):
        reshard(directory, 3, service=Journal, interrupted=lambda: True)
    path = tmp_path / "copy"
    backup(directory, path)
    expected = content(path, 2)
    told: list[int] = []
    with pytest.raises(KeyboardInterrupt, match=f"nothing is lost.*reshard {path} --to 3"):
        reshard(path, 3, service=Journal, progress=lambda done, _: told.append(done), interrupted=lambda: bool(told))
    assert verify(path, service=Journal) == []
    reshard(path, 3, service=Journal)
    assert content(path, 3) == expected


# ---------------------------------------------------------------------- the command


def test_the_command_takes_the_class(tmp_path: Path) -> None:
    """And says how many rows it has moved; verify takes it too."""
    path = tmp_path / "data"
    fill(path, 2, seed=4)
    code, out, err = run("reshard", path, "--to", 3, "--service", NAME)
    rows = len(content(path, 3)["rows"])
    moved = int(out.rpartition(", ")[2].split()[0])
    assert (code, out, err) == (0, f"{path}: 2 → 3 shards, {moved} rows moved\n", "")
    assert 0 < moved < rows
    assert run("verify", path, "--service", NAME) == (0, "all is well\n", "")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Journal", "--service must be \"module:Name\", got: 'Journal'"),
        ("nowhere_at_all:Journal", "the service nowhere_at_all:Journal cannot be imported: ModuleNotFoundError"),
        ("tests.support.runtime_services:Nothing", "cannot be imported: AttributeError"),
        ("tests.support.runtime_services:Any", "--service must name a subclass of runtime.Service, got:"),
    ],
)
def test_the_command_refuses_other_names(directory: Path, name: str, text: str) -> None:
    """By one line, and exit code 2."""
    for command in (["reshard", directory, "--to", 3], ["verify", directory]):
        code, out, err = run(*command, "--service", name)
        assert (code, out) == (2, "")
        assert text in err
        assert len(err.splitlines()) == 1
