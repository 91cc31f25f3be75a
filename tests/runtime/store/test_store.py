"""One suite for all stores, ordered tables of bytes with atomic changes, and for the batch over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards.runtime.store import TABLES, Batch, MemoryStore
from spex_shards.runtime.store.files import OsFiles
from spex_shards.runtime.store.lmdb_store import LmdbStore
from spex_shards.runtime.store.logged_store import Due, LoggedStore
from spex_shards.runtime.store.port import MAX_KEY_BYTES, StoreOptions
from spex_shards.runtime.store.postgres.namespace import Namespace
from spex_shards.runtime.store.postgres.places import PostgresStores

ONE, OTHER = "instances", "history"


@pytest.fixture(params=["memory", "lmdb", "logged", "frozen", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Return each kind of store, and a logged one with checkpoints after every few rows."""
    made: Any
    if request.param == "postgres":
        stores = PostgresStores(Namespace.of(request.getfixturevalue("store_url")))
        stores.begin(1)
        made = stores.open(0, StoreOptions("disk"))
    else:
        made = MemoryStore() if request.param == "memory" else LmdbStore(tmp_path / "env", sync=False)
    if request.param in ("logged", "frozen"):
        due = Due(rows=3) if request.param == "frozen" else Due()
        made = LoggedStore(made, OsFiles(tmp_path / "env"), sync_each=False, due=due)
    yield made
    made.close()


def put(store: Any, table: str, *keys: bytes) -> None:
    """Set each key to itself."""
    store.apply({table: dict(zip(keys, keys, strict=True))})


def keys(store: Any, *arguments: Any, reverse: bool = False) -> list[bytes]:
    """Return the keys of a range of the first table."""
    return [key for key, _ in store.range(ONE, *arguments, reverse=reverse)]


def test_what_was_applied_is_there_and_what_was_not_is_none(store: Any) -> None:
    """A row is in its own table only; None deletes, also a missing row; an empty value is a value."""
    store.apply({ONE: {b"a": b"1", b"b": b""}, OTHER: {b"a": b"2"}})
    assert [store.get(ONE, key) for key in (b"a", b"b", b"c")] == [b"1", b"", None]
    assert store.get(OTHER, b"a") == b"2"
    store.apply({ONE: {b"a": None, b"x": None, b"b": b"3"}})
    assert [store.get(ONE, key) for key in (b"a", b"b")] == [None, b"3"]
    store.apply({})
    assert store.get("layout", b"a") is None


def test_a_range_has_its_start_and_not_its_stop_both_ways(store: Any) -> None:
    """Keys are compared as bytes; bounds need not exist, and may lie outside."""
    put(store, ONE, b"\x00", b"a", b"aa", b"b", b"\xff")
    put(store, OTHER, b"c")
    assert keys(store, b"", None) == [b"\x00", b"a", b"aa", b"b", b"\xff"]
    for start, stop, expected in [
        (b"a", b"b", [b"a", b"aa"]),
        (b"ab", b"c", [b"b"]),
        (b"a\x00", b"aa\x00", [b"aa"]),
        (b"b", b"a", []),
        (b"c", b"d", []),
        (b"\xff", None, [b"\xff"]),
        (b"\xff\x00", None, []),
        (b"", b"\xff\xff", [b"\x00", b"a", b"aa", b"b", b"\xff"]),
    ]:
        assert keys(store, start, stop) == expected
        assert keys(store, start, stop, reverse=True) == expected[::-1]
    assert [key for key, _ in store.range("metas", b"", None)] == []


def test_a_range_may_be_left_before_its_end(store: Any) -> None:
    """The next change is applied and visible all the same."""
    put(store, ONE, b"a", b"b", b"c")
    rows = store.range(ONE, b"", None)
    assert next(iter(rows)) == (b"a", b"a")
    del rows
    store.release()
    put(store, ONE, b"d")
    assert keys(store, b"c", None) == [b"c", b"d"]


def test_many_keys_are_read_at_once(store: Any) -> None:
    """Each key that is asked for is in the answer, with None where there is no row; later changes are seen."""
    put(store, ONE, b"a", b"b")
    assert store.get_many(ONE, [b"b", b"x", b"a", b"b"]) == {b"a": b"a", b"b": b"b", b"x": None}
    assert store.get_many(ONE, []) == {}
    store.apply({ONE: {b"x": b"1", b"a": None}})
    assert [store.get(ONE, key) for key in (b"x", b"a", b"b")] == [b"1", None, b"b"]


def test_a_range_of_many_rows_comes_in_order_both_ways(store: Any) -> None:
    """It is longer than what any store reads at once."""
    expected = [b"%05d" % number for number in range(3000)]
    put(store, ONE, *expected)
    assert keys(store, b"", None) == expected
    assert keys(store, b"00001", b"02999", reverse=True) == expected[2998:0:-1]


def test_many_changes_at_once(store: Any) -> None:
    """There are thousands of replacements and deletions."""
    store.apply({ONE: {b"%05d" % n: b"old" for n in range(5000)}})
    store.apply({ONE: {b"%05d" % n: None if n % 3 == 0 else b"new" for n in range(4000)}})
    values = [value for _, value in store.range(ONE, b"", None)]
    assert (values.count(b"new"), values.count(b"old")) == (2666, 1000)


def test_the_size_grows_with_what_is_kept(store: Any) -> None:
    """The size is the number of bytes that the store takes."""
    before = store.size()
    store.apply({ONE: {b"%05d" % n: bytes(1000) for n in range(500)}})
    assert store.size() >= before + 500_000


def test_what_an_environment_holds_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    """All tables are there in order; its folder is private."""
    store = LmdbStore(tmp_path / "env", sync=True)
    store.apply({table: {table.encode(): b"x"} for table in TABLES})
    store.close()
    again = LmdbStore(tmp_path / "env", sync=False)
    assert [again.get(table, table.encode()) for table in TABLES] == [b"x"] * len(TABLES)
    again.close()
    assert (tmp_path / "env").stat().st_mode & 0o777 == 0o700


def test_the_map_grows_by_itself_and_the_batch_is_kept_whole(tmp_path: Path) -> None:
    """It grows from 64 KiB to many megabytes, by one large batch and by many small ones; then it is opened again."""
    store = LmdbStore(tmp_path / "env", sync=False, map_size=64 * 1024)
    store.apply({ONE: {b"%05d" % n: bytes(1000) for n in range(5000)}, OTHER: {b"k": bytes(3_000_000)}})
    for number in range(300):
        store.apply({"metas": {b"%05d" % number: bytes(20_000)}})
        assert store.get(ONE, b"00000") is not None
    assert len(keys(store, b"", None)) == 5000
    store.close()
    again = LmdbStore(tmp_path / "env", sync=False, map_size=64 * 1024)
    assert len(again.get(OTHER, b"k") or b"") == 3_000_000
    again.apply({OTHER: {b"l": bytes(3_000_000)}})
    assert sum(1 for _ in again.range("metas", b"", None)) == 300
    again.close()


def test_a_change_that_cannot_be_kept_takes_its_whole_batch_along(store: Any) -> None:
    """A key that is too long is a StoreError, and nothing of the batch is there; the next batch is applied."""
    if isinstance(store, MemoryStore):
        return  # it takes every key
    put(store, ONE, b"before")
    for bad in (b"", b"x" * (MAX_KEY_BYTES + 1)):
        with pytest.raises(spex.StoreError, match="could not keep a batch"):
            store.apply({ONE: {b"before": None, b"with": b"1"}, OTHER: {bad: b"1"}})
    assert keys(store, b"", None) == [b"before"]
    put(store, ONE, b"y" * MAX_KEY_BYTES)
    assert len(keys(store, b"", None)) == 2


def test_what_is_no_environment_is_an_error_that_names_it(tmp_path: Path) -> None:
    """It is a damaged file, or a file in the place of the folder."""
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "data.mdb").write_bytes(b"nonsense" * 4096)
    with pytest.raises(spex.DataDirError, match=f"{tmp_path}/env"):
        LmdbStore(tmp_path / "env", sync=False)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(spex.DataDirError, match=f"{tmp_path}/file"):
        LmdbStore(tmp_path / "file", sync=False)


SHORT = st.binary(min_size=1, max_size=2)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), SHORT, st.binary(max_size=3)),
        st.tuples(st.just("delete"), SHORT),
        st.tuples(st.just("mark")),
        st.tuples(st.just("rollback")),
        st.tuples(st.just("commit")),
        st.tuples(st.just("range"), SHORT, st.none() | SHORT, st.booleans()),
        st.tuples(st.just("first"), SHORT),
    ),
    max_size=40,
)


@given(steps=STEPS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_batch_is_a_dict_that_can_go_back(store: Any, steps: list[tuple[Any, ...]]) -> None:
    """After puts, deletions, rollbacks and commits it reads like a dict that was changed in the same way."""
    store.apply({ONE: dict.fromkeys([key for key, _ in store.range(ONE, b"", None)])})
    batch = Batch(store)
    expected: dict[bytes, bytes] = {}
    marks: list[tuple[int, dict[bytes, bytes]]] = [(0, {})]
    for name, *arguments in steps:
        _STEPS[name](batch, expected, marks, *arguments)
        assert all(batch.get(ONE, key) == value for key, value in expected.items())
    assert list(batch.range(ONE, b"")) == sorted(expected.items())
    batch.commit()
    assert list(store.range(ONE, b"", None)) == sorted(expected.items())


def _put(batch: Batch, expected: dict[bytes, bytes], _marks: Any, key: bytes, value: bytes) -> None:
    batch.put(ONE, key, value)
    expected[key] = value


def _delete(batch: Batch, expected: dict[bytes, bytes], _marks: Any, key: bytes) -> None:
    batch.delete(ONE, key)
    expected.pop(key, None)
    assert batch.get(ONE, key) is None


def _mark(batch: Batch, expected: dict[bytes, bytes], marks: list[Any]) -> None:
    marks.append((batch.mark(), dict(expected)))


def _rollback(batch: Batch, expected: dict[bytes, bytes], marks: list[Any]) -> None:
    mark, before = marks.pop() if len(marks) > 1 else marks[0]
    batch.rollback(mark)
    expected.clear()
    expected.update(before)


def _commit(batch: Batch, expected: dict[bytes, bytes], marks: list[Any]) -> None:
    batch.commit()
    assert not batch.dirty
    marks[:] = [(0, dict(expected))]


def _range(
    batch: Batch, expected: dict[bytes, bytes], _marks: Any, start: bytes, stop: bytes | None, reverse: bool
) -> None:
    inside = [(key, value) for key, value in expected.items() if key >= start and (stop is None or key < stop)]
    assert list(batch.range(ONE, start, stop, reverse=reverse)) == sorted(inside, reverse=reverse)


def _first(batch: Batch, expected: dict[bytes, bytes], _marks: Any, start: bytes) -> None:
    assert batch.first(ONE, start) == min(((k, v) for k, v in expected.items() if k >= start), default=None)


_STEPS: dict[str, Callable[..., None]] = {
    "put": _put, "delete": _delete, "mark": _mark, "rollback": _rollback,
    "commit": _commit, "range": _range, "first": _first,
}  # fmt: skip


def test_whoever_keeps_state_is_rolled_back_with_the_batch_in_reverse_order(store: Any) -> None:
    """Undo functions are called once, last first; a commit drops them."""
    batch = Batch(store)
    undone: list[int] = []
    cleared: list[int] = []
    batch.on_rollback = lambda: cleared.append(1)
    batch.on_undo(lambda: undone.append(0))
    mark = batch.mark()
    batch.put(ONE, b"a", b"1")
    batch.on_undo(lambda: undone.append(1))
    batch.on_undo(lambda: undone.append(2))
    batch.rollback(mark)
    batch.rollback(mark)
    assert (undone, len(cleared)) == ([2, 1], 1)
    batch.commit()
    batch.rollback()
    assert undone == [2, 1]


def test_a_failed_commit_rolls_everything_back() -> None:
    """The caller gets the error; changes in memory are undone, and the batch is empty."""

    class Full(MemoryStore):
        def apply(self, changes: Any) -> None:
            raise spex.StoreError("full")

    store = Full()
    batch = Batch(store)
    undone: list[int] = []
    batch.put(ONE, b"a", b"1")
    batch.on_undo(lambda: undone.append(1))
    with pytest.raises(spex.StoreError):
        batch.commit()
    assert (undone, batch.get(ONE, b"a"), batch.dirty) == ([1], None, False)
    batch.commit()
