"""The redo log and the store behind it: committed batches are found again, whatever happens and whenever."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards.runtime.store import LogBroken, MemoryStore
from spex_shards.runtime.store.checkpoint import ForkedCheckpoint, NoHelper, rows_of
from spex_shards.runtime.store.files import OsFiles
from spex_shards.runtime.store.lmdb_store import LmdbStore
from spex_shards.runtime.store.log_format import HEADER_BYTES, RECORD_BYTES, Header
from spex_shards.runtime.store.logged_store import Due, LoggedStore
from spex_shards.runtime.store.recovery import Checkpoint, recover
from spex_shards.runtime.store.view import StoreView
from tests.programs.simulation.disk import Crash, SimBase, SimCheckpoint, SimDisk
from tests.support.processes import wait_until

TABLE = "instances"


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def key(number: int) -> bytes:
    """Return the key of the batch of a number."""
    return b"%06d" % number


def logged(disk: SimDisk, base: Any, **options: Any) -> LoggedStore:
    """Return a store over a simulated disk."""
    options.setdefault("sync_each", True)
    return LoggedStore(base, disk, clock=options.pop("clock", Clock()), **options)


def put(store: LoggedStore, *numbers: int) -> None:
    """Commit one batch for each number."""
    for number in numbers:
        store.apply({TABLE: {key(number): b"%d" % number, b"newest": b"%d" % number}})


def found(store: Any) -> list[int]:
    """Return the numbers of the batches that are there."""
    return [int(value) for name, value in store.range(TABLE, b"", None) if name != b"newest"]


# ---------------------------------------------------------------------- what is there after a crash


class Run:
    """A store that is crashed and opened again, and a reference for what must be there."""

    def __init__(self, seed: int, *, sync_each: bool) -> None:
        self.random = Random(seed)
        self.sync_each = sync_each
        self.disk, self.base, self.clock = SimDisk(), SimBase(), Clock()
        self.kept: list[int] = []  # acknowledged, in order, with the time of the acknowledgement
        self.times: list[float] = []
        self.number = 0
        self.tried = 0
        self.cut = False
        self.open()

    def open(self) -> None:
        """Open the store as a new process does; it may crash meanwhile."""
        self.helper = SimCheckpoint(self.base, self.disk, self.random)
        self.store = LoggedStore(
            self.base, self.disk, sync_each=self.sync_each, checkpointer=self.helper, clock=self.clock,
            due=Due(rows=8, size=2000, seconds=3), generation=lambda: self.random.getrandbits(64),
        )  # fmt: skip

    def write(self, size: int) -> None:
        """Commit one batch."""
        self.number += 1
        self.tried = self.number
        rows = {key(self.number): b"%d" % self.number, b"newest": b"%d" % self.number, b"big": bytes(size)}
        self.store.apply({TABLE: rows})
        self.kept.append(self.number)
        self.times.append(self.clock.now)

    def wait(self, seconds: float) -> None:
        """Let time pass, with the upkeep that a loop does."""
        end = self.clock.now + seconds
        while self.store.next_upkeep <= end:
            self.clock.now = max(self.clock.now, self.store.next_upkeep)
            self.store.upkeep()
        self.clock.now = end

    def crash(self, *, power: bool) -> None:
        """End the process, and perhaps the machine; open the store again, and compare it with the reference."""
        self.helper.die()
        if power:
            self.disk.cut_power(self.random)
        self.cut = self.cut or power  # also when opening is crashed, and nothing is looked at
        self.open()
        there = found_numbers(self.store)
        lossy, self.cut = self.cut and not self.sync_each, False
        must = sum(t < self.clock.now - 1 for t in self.times) if lossy else len(self.kept)
        assert there == list(range(1, len(there) + 1)), "a batch is missing before others that are there"
        assert must <= len(there) <= max(self.tried, len(self.kept))
        newest = self.store.get(TABLE, b"newest")
        assert newest == (b"%d" % there[-1] if there else None), "a batch was kept in part"
        self.number = self.tried = len(there)
        unanswered = [self.clock.now] * (len(there) - len(self.times))
        self.kept, self.times = there, self.times[: len(there)] + unanswered


def found_numbers(store: Any) -> list[int]:
    """Return the numbers of the batches that are there, in order."""
    return [int(value) for name, value in store.range(TABLE, b"0", b"9")]


@pytest.mark.long
@given(seed=st.integers(0, 2**32), sync_each=st.booleans(), steps=st.integers(5, 60))
@example(seed=902872, sync_each=False, steps=21)  # these brought back batches that had been lost once
@example(seed=631, sync_each=False, steps=60)
@example(seed=1505, sync_each=False, steps=21)
@settings(max_examples=150, deadline=None)
def test_after_any_crash_the_store_holds_a_prefix_with_all_that_it_promised(
    seed: int, sync_each: bool, steps: int
) -> None:
    """Kills and power cuts happen at any write, sync, open and checkpoint, torn and reordered, several in a row.

    With "disk", everything acknowledged must be there. With "process", that holds after a kill; after a power cut, only
    the last second may be missing.
    """
    run = Run(seed, sync_each=sync_each)
    random = run.random
    for _ in range(steps):
        fuse = random.choice([None, random.randint(1, 12)])
        _light(run.disk, fuse, random)
        try:
            for _ in range(random.randint(1, 10)):
                if random.random() < 0.7:
                    run.write(random.choice([0, 10, 600, 3000]))
                else:
                    run.wait(random.choice([0.1, 0.6, 2, 5]))
        except Crash:
            pass
        _crash_until_open(run, random)


def _light(disk: SimDisk, fuse: int | None, random: Random) -> None:
    left = [fuse]

    def step(_: str) -> None:
        if left[0] is not None:
            left[0] -= 1
            if left[0] <= 0:
                raise Crash(random.random())

    disk.on_step = step


def _crash_until_open(run: Run, random: Random) -> None:
    while True:
        _light(run.disk, random.choice([None, None, 1, 2, 3]), random)
        try:
            run.crash(power=random.random() < 0.5)
        except Crash:
            continue
        run.disk.on_step = lambda _: None
        return


def test_a_batch_that_fails_leaves_the_log_as_it_was() -> None:
    """A full disk accepts a part of a record: the next batch overwrites it, and both stores agree."""
    disk, base = SimDisk(), SimBase()
    store = logged(disk, base, sync_each=False)
    put(store, 1)

    def full(step: str) -> None:
        if step == "write":
            content = disk.files["log-0"]
            content.write(len(content.seen), b"half a record")
            raise OSError(28, "No space left on device")

    disk.on_step = full
    with pytest.raises(spex.StoreError, match="No space left"):
        put(store, 2)
    assert found(store) == [1]
    disk.on_step = lambda _: None
    put(store, 3, 4)
    assert found(store) == [1, 3, 4]
    assert found(logged(disk, base.copy())) == [1, 3, 4]


def test_nothing_is_kept_after_a_sync_that_failed() -> None:
    """The content of the disk is unknown: every later batch and upkeep is refused."""
    disk = SimDisk()
    store = logged(disk, SimBase())
    put(store, 1)

    def broken(step: str) -> None:
        if step == "sync":
            raise OSError(5, "Input/output error")

    disk.on_step = broken
    with pytest.raises(LogBroken, match=r"could not be synced.*Input/output error"):
        put(store, 2)
    disk.on_step = lambda _: None
    for call in (lambda: put(store, 3), store.upkeep):
        with pytest.raises(LogBroken):
            call()
    assert found(store) == [1]


def test_a_key_that_the_store_under_the_log_would_refuse_is_refused_at_once() -> None:
    """In the log, it would make every later checkpoint fail."""
    store = logged(SimDisk(), SimBase())
    for bad in (b"", bytes(512)):
        with pytest.raises(spex.StoreError, match=f"a key of {len(bad)} bytes in {TABLE}"):
            store.apply({TABLE: {b"good": b"", bad: b""}})
    assert store.get(TABLE, b"good") is None


def test_checkpoints_that_fail_are_tried_again_and_nothing_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    """Until the overlays are full, nothing is refused; then batches are; all works again when the disk does."""

    class Full(SimBase):
        full = True

        def apply(self, changes: Any) -> None:
            if self.full:
                raise spex.StoreError("the disk is full")
            super().apply(changes)

    clock, base, disk = Clock(), Full(), SimDisk()
    store = logged(disk, base, clock=clock, due=Due(rows=10, size=10**6, seconds=1))
    taken = 0

    def fill() -> None:
        nonlocal taken
        for number in range(1, 100):
            put(store, number)
            taken = number
            clock.now += 0.2
            store.upkeep()

    with pytest.raises(spex.StoreError, match="until a checkpoint can be written: the disk is full"):
        fill()
    assert 20 <= taken < 60
    assert "a checkpoint has failed, and will be tried again: the disk is full" in caplog.text
    base.full = False
    put(store, taken + 1)
    store.close()
    assert found(base) == list(range(1, taken + 2))
    assert disk.names() == []


def test_closing_empties_the_log_into_the_store() -> None:
    """No log file is left, and the store alone has everything."""
    disk, base = SimDisk(), SimBase()
    store = logged(disk, base)
    put(store, *range(1, 30))
    store.close()
    assert (disk.names(), found(base)) == ([], list(range(1, 30)))


# ---------------------------------------------------------------------- damage


def begun(count: int = 20, *, sync_each: bool = True) -> tuple[SimDisk, SimBase]:
    """Return a disk with a log of some batches, as a killed process leaves it."""
    disk, base = SimDisk(), SimBase()
    put(logged(disk, base, sync_each=sync_each), *range(1, count + 1))
    return disk, base


def test_a_flipped_byte_in_front_of_what_was_synced_is_an_error_that_says_where() -> None:
    """In the header or any record but the last, the error names the file and byte, and says what to do."""
    disk, base = begun()
    content = disk.files["log-0"].seen
    end = content.rindex(b"newest")
    for place in [*range(40), *range(HEADER_BYTES, end - 300, 7)]:
        content[place] ^= 1
        with pytest.raises(spex.DataDirError, match=r"a log file is damaged: disk/log-0, byte \d+.*backup"):
            logged(disk, base.copy())
        with pytest.raises(spex.DataDirError):
            StoreView(base.copy(), disk)
        content[place] ^= 1
    assert found(logged(disk, base)) == list(range(1, 21))


def test_a_log_file_that_is_gone_is_an_error_when_a_later_one_says_so() -> None:
    """The second file says how far the first one was on the disk."""
    disk, base = begun(5)
    second = logged(disk, base.copy())
    put(second, 6)
    del disk.files["log-0"]
    with pytest.raises(spex.DataDirError, match="batch 1 is"):
        logged(disk, base.copy())


def test_a_log_of_a_newer_format_is_refused() -> None:
    """The error names the format, and nothing is changed."""
    disk, base = begun(1)
    disk.files["log-0"].seen[7:8] = b"2"
    before = bytes(disk.files["log-0"].seen)
    with pytest.raises(spex.DataDirError, match="another format"):
        logged(disk, base)
    assert bytes(disk.files["log-0"].seen) == before


def test_every_byte_of_a_log_files_header_is_guarded() -> None:
    """Each flipped byte, apart from padding, is an error at opening that names file and byte."""
    disk, base = SimDisk(), SimBase()
    put(logged(disk, base), 1, 2)
    content = disk.files["log-0"].seen
    for place in range(48):
        content[place] ^= 0x20
        with pytest.raises(spex.DataDirError, match=r"disk/log-0, byte 0: .*restore the data directory"):
            logged(disk, base.copy())
        content[place] ^= 0x20
    assert found(logged(disk, base.copy())) == [1, 2]


def test_records_of_an_earlier_use_of_a_file_are_never_taken_for_new_ones() -> None:
    """A reused file has old records behind the new ones, whose sequences would even follow."""
    disk, base = begun(10, sync_each=False)
    old = bytes(disk.files["log-0"].seen)
    base.apply(rows_of(Checkpoint(10, 2)))
    store = logged(disk, base, sync_each=False)
    put(store, 11)
    new = disk.files["log-0"].seen
    assert (len(new), new[-200:]) == (len(old), old[-200:])
    assert [*logged(disk, base).range(TABLE, b"0", b"9")] == [(key(11), b"11")]


@given(data=st.binary(max_size=400), at=st.integers(0, 3000), cut=st.integers(0, 3000))
@settings(max_examples=300, deadline=None)
def test_any_bytes_in_a_log_give_a_prefix_or_an_error(data: bytes, at: int, cut: int) -> None:
    """Overwritten or cut anywhere, it never gives another exception, or batches with a gap."""
    disk, _ = begun()
    content = bytearray(disk.files["log-0"].seen)
    content[at : at + len(data)] = data
    try:
        recovered = recover({"log-0": bytes(content[:cut] if cut % 3 == 0 else content)}, Checkpoint(0, 0))
    except spex.DataDirError:
        return
    numbers = sorted(int(name) for name in recovered.changes.get(TABLE, {}) if name != b"newest")
    assert numbers == list(range(1, recovered.last + 1))


def test_bytes_that_are_no_batch_are_refused_although_their_checksum_is_right() -> None:
    """A batch with an unknown table cannot be injected even with a valid checksum."""
    from spex_shards.runtime.protocol import codec
    from spex_shards.runtime.store.log_format import pack_record

    for value in ([1], {"instances": [1]}, {"nowhere": {}}, {"instances": {"text": b""}}, {"instances": {b"k": 1}}):
        data = Header(1, 7, 1, 0).pack() + pack_record(7, 1, 0, codec.pack(value))
        with pytest.raises(spex.DataDirError, match="it is no batch"):
            recover({"log-0": data}, Checkpoint(0, 0))
    assert RECORD_BYTES == 32


# ---------------------------------------------------------------------- on a real disk


def opened(path: Path, *, helper: bool = True, rows: int = 50) -> LoggedStore:
    """Return a store over LMDB and files."""
    base = LmdbStore(path, sync=True, map_size=128 * 1024)
    forked = ForkedCheckpoint(base) if helper else None
    return LoggedStore(base, OsFiles(path), sync_each=False, checkpointer=forked, due=Due(rows=rows))


@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
def test_a_helper_process_writes_checkpoints_while_the_store_goes_on(tmp_path: Path) -> None:
    """It grows the map, which the store notices; its writes and later ones are there, also for other processes."""
    store = opened(tmp_path)
    number = 0

    def all_is_written() -> bool:
        store.upkeep()
        return not store._running and number >= 400

    while not all_is_written():
        number += 1
        store.apply({TABLE: {key(number): b"%d" % number}, "metas": {key(number): bytes(2000)}})
    assert found(store) == list(range(1, number + 1))
    assert store._base.get("layout", b"checkpoint") is not None
    store.release()
    store.close()
    again = LmdbStore(tmp_path, sync=True)
    assert found(again) == list(range(1, number + 1))
    again.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.mdb", "lock.mdb", "meta"]


@pytest.mark.process
def test_a_helper_that_is_killed_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The checkpoint is tried again, and nothing is lost."""
    import signal

    store = opened(tmp_path, rows=10)
    helper: Any = store._checkpointer
    put(store, *range(1, 21))
    store._begin(store._clock())
    if store._running:
        os.kill(helper._helper._pid, signal.SIGKILL)
    wait_until(lambda: store.upkeep() is None and not store._frozen and not store._running, "the checkpoint")
    assert found(store) == list(range(1, 21))
    store.close()


def test_the_log_of_a_killed_process_is_read_by_who_only_looks(tmp_path: Path) -> None:
    """A view includes the log, and writes nothing; the next owner finds the log as well."""
    pid = os.fork()
    if pid == 0:
        put(opened(tmp_path, helper=False), 1, 2, 3)
        os._exit(0)
    os.waitpid(pid, 0)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("log-*")}
    view = StoreView(LmdbStore(tmp_path, sync=True), OsFiles(tmp_path))
    assert found(view) == [1, 2, 3]
    with pytest.raises(spex.StoreError, match="takes no changes"):
        view.apply({})
    view.close()
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    store = opened(tmp_path, helper=False)
    assert found(store) == [1, 2, 3]
    store.close()


def test_ranges_over_two_overlays_and_a_store_are_in_order() -> None:
    """Puts, deletions and later puts lie in the store, the frozen overlay and the current one."""
    random = Random(1)
    base, clock = MemoryStore(), Clock()
    disk = SimDisk()
    store = LoggedStore(base, disk, sync_each=False, clock=clock, due=Due(rows=700, seconds=1e9),
                        checkpointer=SimCheckpoint(SimBase(), disk, Random(2)))  # fmt: skip
    expected: dict[bytes, bytes] = {}
    for number in range(3000):
        name = b"%03d" % random.randint(0, 400)
        value = None if random.random() < 0.4 else b"%d" % number
        store.apply({TABLE: {name: value}})
        expected.pop(name, None)
        if value is not None:
            expected[name] = value
        if number == 500:
            base.apply(store._current.changes)
        if number == 1500:
            store._freeze()
        if number % 100 == 0:
            low, high = sorted(b"%03d" % random.randint(0, 400) for _ in range(2))
            rows = [(k, v) for k, v in sorted(expected.items()) if low <= k < high]
            assert list(store.range(TABLE, low, high)) == rows
            assert list(store.range(TABLE, low, high, reverse=True)) == rows[::-1]
    assert all(store.get(TABLE, b"%03d" % n) == expected.get(b"%03d" % n) for n in range(400))


def test_where_no_helper_is_to_be_had_the_checkpoint_is_written_when_there_is_no_room_left() -> None:
    """The writer that waits for room writes it: nothing is refused, and everything is there afterwards."""

    class Helpless:
        def start(self, changes: Any) -> None:
            raise NoHelper("a checkpoint could not be begun: no process")

        def ended(self, wait: float = 0) -> bool:
            raise AssertionError("it has never begun")

    disk, base = SimDisk(), SimBase()
    store = logged(disk, base, checkpointer=Helpless(), due=Due(rows=8, seconds=1e9))
    for number in range(1, 200):
        put(store, number)
        if store.next_upkeep == 0:
            store.upkeep()
    assert found(store) == list(range(1, 200))
    assert len(base.tables[TABLE]) > 150
    store.close()
    assert found(logged(disk, base)) == list(range(1, 200))
