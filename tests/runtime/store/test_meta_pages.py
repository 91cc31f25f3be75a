"""LMDB's meta pages: damage is found at opening, and the normal result of a crash does not count as damage."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

import spex_shards as spex
from spex_shards.audit import verify
from spex_shards.runtime.store.lmdb_store import LmdbStore
from spex_shards.runtime.store.meta_pages import USED_BYTES, MetaPages
from tests.support.contract_specs import Order

TABLE = "instances"
PAGE = 4096


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of an environment that was written to and closed."""
    path = tmp_path / "env"
    store = LmdbStore(path, sync=True)
    for number in range(3):
        put(store, number)
    store.close()
    return path


def put(store: LmdbStore, number: int) -> None:
    """Commit one row."""
    store.apply({TABLE: {b"%d" % number: bytes(100)}})


def numbers(folder: Path) -> list[int]:
    """Open the environment, and return the stored numbers."""
    store = LmdbStore(folder, sync=True)
    try:
        return [int(key) for key, _ in store.range(TABLE, b"", None)]
    finally:
        store.close()


def change(path: Path, place: int, how: Callable[[int], int]) -> None:
    """Change one byte of a file."""
    with path.open("r+b") as file:
        file.seek(place)
        old = file.read(1)[0]
        file.seek(place)
        file.write(bytes([how(old)]))


def up_to_date(folder: Path) -> bool:
    """Return whether the record is up to date."""
    return MetaPages(folder, sync=True).check()


@pytest.mark.parametrize("page", [0, 1])
@pytest.mark.parametrize("bit", [0, 7])
def test_every_byte_of_the_meta_pages_is_guarded(folder: Path, page: int, bit: int) -> None:
    """The error names file and bytes and says what to do; LMDB never reads them; undone, all is there."""
    data = folder / "data.mdb"
    for place in range(page * PAGE, page * PAGE + USED_BYTES):
        change(data, place, lambda old: old ^ (1 << bit))
        where = rf"a meta page is damaged: {data}, bytes {page * PAGE} to {page * PAGE + 151}: .*restore the data dir"
        with pytest.raises(spex.DataDirError, match=where):
            LmdbStore(folder, sync=True)
        change(data, place, lambda old: old ^ (1 << bit))
    assert numbers(folder) == [0, 1, 2]


def test_every_byte_of_the_record_is_guarded(folder: Path) -> None:
    """The pages are not blamed; the error names the file, and says that it may be removed."""
    record = folder / "meta"
    for place in range(record.stat().st_size):
        change(record, place, lambda old: old ^ 4)
        with pytest.raises(spex.DataDirError, match=r"record of the meta pages is damaged.*or remove this file"):
            LmdbStore(folder, sync=True)
        change(record, place, lambda old: old ^ 4)
    record.unlink()
    assert numbers(folder) == [0, 1, 2]


def test_pages_that_make_no_sense_are_refused_without_a_record_too(folder: Path) -> None:
    """With another magic, page size, map size or root, LMDB might crash or map the whole address space."""
    (folder / "meta").unlink()
    data = folder / "data.mdb"
    for place in (10, 16, 20, 16 + 16 + 6, 16 + 24 + 1, 16 + 24 + 40 + 7, 16 + 72 + 40 + 7, 16 + 120 + 7):
        change(data, place, lambda old: old ^ 0x7F)
        with pytest.raises(spex.DataDirError, match="a meta page is damaged"):
            LmdbStore(folder, sync=True)
        change(data, place, lambda old: old ^ 0x7F)


def test_an_environment_of_before_there_were_records_gets_one(folder: Path) -> None:
    """It is opened as it is."""
    (folder / "meta").unlink()
    assert not up_to_date(folder)
    assert numbers(folder) == [0, 1, 2]
    assert up_to_date(folder)


def test_a_crash_between_a_transaction_and_its_record_is_no_damage(folder: Path) -> None:
    """This holds however often it happens; the record is updated before the next transaction."""
    record = folder / "meta"
    for number in range(3, 8):
        before = record.read_bytes()
        store = LmdbStore(folder, sync=True)
        put(store, number)
        store.close()
        record.write_bytes(before)
        assert not up_to_date(folder)
        assert numbers(folder) == list(range(number + 1))
        assert up_to_date(folder)


def test_a_record_that_lies_two_transactions_behind_is_damage(folder: Path) -> None:
    """No crash leaves that: one of the two files was replaced."""
    record = folder / "meta"
    before = record.read_bytes()
    store = LmdbStore(folder, sync=True)
    put(store, 3)
    put(store, 4)
    store.close()
    record.write_bytes(before)
    with pytest.raises(spex.DataDirError, match="a meta page is damaged"):
        LmdbStore(folder, sync=True)


def test_a_file_that_is_cut_or_gone_is_told_at_opening(folder: Path) -> None:
    """Otherwise reading a page would crash the process; and a missing file is not silently created."""
    data = folder / "data.mdb"
    size = data.stat().st_size
    with data.open("r+b") as file:
        file.truncate(size - 1)
    with pytest.raises(spex.DataDirError, match=f"is cut: it has {size - 1} bytes, and had {size}"):
        LmdbStore(folder, sync=True)
    data.unlink()
    with pytest.raises(spex.DataDirError, match=r"data\.mdb is missing"):
        LmdbStore(folder, sync=True)


def test_a_record_that_cannot_be_written_holds_up_the_next_transaction_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction is kept, but there are never two transactions without a record."""
    store = LmdbStore(folder, sync=True)
    real = MetaPages.write

    def full(self: MetaPages) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MetaPages, "write", full)
    put(store, 3)
    with pytest.raises(spex.StoreError, match=r"could not keep a batch: .*No space left"):
        put(store, 4)
    monkeypatch.setattr(MetaPages, "write", real)
    put(store, 5)
    store.close()
    assert numbers(folder) == [0, 1, 2, 3, 5]


def test_an_environment_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If its creation is interrupted, it is created again."""
    folder = tmp_path / "env"

    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            LmdbStore(folder, sync=True)
    assert not (folder / "data.mdb").exists()
    assert numbers(folder) == []
    assert {path.name for path in folder.iterdir()} == {"data.mdb", "lock.mdb", "meta"}


@pytest.mark.process
def test_the_other_shards_start_when_one_has_a_damaged_meta_page(
    places: dict[str, Path], no_process_left: None, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning says what is damaged, where, and what to do; verify has a finding of that shard."""
    with spex.ShardedInstanceManager(**places, distribution_factor=3, learning_mode=True) as manager:
        for number in range(30):
            manager.init_instance(Order, number, initial_state="new")
    change(places["data_dir"] / "shard-001" / "data.mdb", 100, lambda old: old ^ 1)
    with spex.ShardedInstanceManager(**places, distribution_factor=3, learning_mode=True) as manager:
        assert [shard.status for shard in manager.shards()] == ["READY", "FAILED", "READY"]
        exit_ = manager.shards()[1].last_exit
        assert exit_ is not None
        assert "a meta page is damaged" in exit_
        assert "restore the data directory from a backup" in exit_
    [finding] = verify(places["data_dir"])
    assert finding.shard == 1
    assert "a meta page is damaged" in finding.value
