"""Backups: each shard is copied at one moment, also while it runs, and a backup is complete or not there."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards.audit import backup, restore, verify
from spex_shards.runtime.data_dir import COPYING, DataDir, Layout
from spex_shards.runtime.holder import start_time
from spex_shards.runtime.store.checkpoint import checkpoint_of
from spex_shards.runtime.store.copying import copy_shard
from spex_shards.runtime.store.files import OsFiles
from spex_shards.runtime.store.lmdb_store import LmdbStore
from spex_shards.runtime.store.logged_store import Due, LoggedStore
from spex_shards.runtime.store.recovery import recover
from spex_shards.runtime.store.view import StoreView
from tests.audit.test_verify import run
from tests.programs.simulation.disk import SimBase, SimCheckpoint, SimDisk
from tests.runtime.store.test_redo_log import Clock
from tests.support.contract_specs import Order
from tests.support.processes import kill_worker, wait_until

TABLE = "instances"
WRITER = """
import sys, os, mmap
from pathlib import Path
from spex_shards.runtime.store.checkpoint import ForkedCheckpoint
from spex_shards.runtime.store.files import OsFiles
from spex_shards.runtime.store.lmdb_store import LmdbStore
from spex_shards.runtime.store.logged_store import Due, LoggedStore
folder, acknowledged, sync = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "disk"
base = LmdbStore(folder, sync=True)
due = Due(rows=int(sys.argv[4]), seconds=0.02)
store = LoggedStore(base, OsFiles(folder), sync_each=sync, checkpointer=ForkedCheckpoint(base), due=due)
number = 0
out = os.open(acknowledged, os.O_RDWR)
while True:
    number += 1
    store.apply({"instances": {b"%08d" % number: b"%d" % number, b"newest": b"%d" % number}})
    os.pwrite(out, b"%08d" % number, 0)
    store.upkeep()
"""


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """Return a data directory of three shards that no process uses."""
    path = tmp_path / "data"
    with _manager(path) as manager:
        for number in range(60):
            manager.init_instance(Order, number, initial_state="new")
    return path


def _manager(path: Path, shards: int = 3, **options: Any) -> spex.ShardedInstanceManager:
    return spex.ShardedInstanceManager(
        data_dir=path, impl_models_dir=path.parent / "models", distribution_factor=shards, learning_mode=True,
        call_timeout=30.0, **options,
    )  # fmt: skip


def _entries(path: Path, shards: int = 3) -> dict[Any, int]:
    with _manager(path, shards) as manager:
        return {instance.identifier: len(instance.history) for instance in manager.iter_instances()}


# ---------------------------------------------------------------------- of running shards


@pytest.mark.long
@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("durability", [pytest.param("process", marks=pytest.mark.long), "disk"])
def test_what_was_acknowledged_before_a_backup_is_in_it(tmp_path: Path, durability: str, no_process_left: None) -> None:
    """Under load, and with a shard killed during it, each backup is clean, opens, and has all acknowledged changes."""
    told: dict[int, int] = {}
    stop = threading.Event()

    def load() -> None:
        random = Random(5)
        while not stop.is_set():
            number = random.randrange(300)
            if number not in told:
                manager.init_instance(Order, number, initial_state="new")
                told[number] = 1
            else:
                manager.transition(number, "pay", "paid")
                told[number] += 1

    with _manager(tmp_path / "data", durability=durability) as manager:
        thread = threading.Thread(target=load)
        thread.start()
        try:
            before = []
            for number in range(6):
                wanted = len(told) + 20
                wait_until(lambda wanted=wanted: len(told) >= min(wanted, 300), "there is more")
                before.append(dict(told))
                backup(tmp_path / "data", tmp_path / f"backup-{number}")
                if number == 2:
                    kill_worker(manager, 1)
        finally:
            stop.set()
            thread.join()
    for number, acknowledged in enumerate(before):
        assert verify(tmp_path / f"backup-{number}") == []
        found = _entries(tmp_path / f"backup-{number}")
        assert {key: max(found.get(key, 0), entries) for key, entries in acknowledged.items()} == {
            key: found.get(key, 0) for key in acknowledged
        }


@pytest.fixture(params=["process", "disk"])
def writer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Start a process that writes batches as fast as it can, with many checkpoints, and reports each commit."""
    folder, acknowledged = tmp_path / "shard", tmp_path / "acknowledged"
    acknowledged.write_bytes(b"%08d" % 0)
    process = subprocess.Popen([sys.executable, "-c", WRITER, folder, acknowledged, request.param, "40"])
    try:
        wait_until(lambda: int(acknowledged.read_bytes()) > 100, "there are batches")
        yield folder, acknowledged
    finally:
        process.kill()
        process.wait()


@pytest.mark.long
@pytest.mark.process
@pytest.mark.slow
def test_copies_of_a_shard_race_with_its_log_files_reuse(writer: tuple[Path, Path], tmp_path: Path) -> None:
    """Files are read while they are written, closed and reused: the copy still has a whole prefix of the batches."""
    folder, acknowledged = writer
    for _ in range(60):
        before = int(acknowledged.read_bytes())
        newest = copy_shard(folder, tmp_path / "copy")
        base = LmdbStore(tmp_path / "copy", sync=False)
        view = StoreView(base, OsFiles(tmp_path / "copy"))
        numbers = [int(value) for key, value in view.range(TABLE, b"", b"n")]
        assert numbers == list(range(1, len(numbers) + 1))
        assert view.get(TABLE, b"newest") == b"%d" % len(numbers)
        view.close()
        assert before <= newest == len(numbers) <= int(acknowledged.read_bytes()) + 1


@pytest.mark.long
@given(seed=st.integers(0, 2**32), sync_each=st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_log_that_was_read_slowly_gives_a_whole_prefix_or_an_error(seed: int, sync_each: bool) -> None:
    """Each file is read at another moment and in pieces, the store last: no batch acknowledged before is missing.

    The error is the one that makes `backup` copy the shard again.
    """
    random = Random(seed)
    disk, base, clock = SimDisk(), SimBase(), Clock()
    store = LoggedStore(
        base, disk, sync_each=sync_each, checkpointer=SimCheckpoint(base, disk, random), clock=clock,
        due=Due(rows=4, seconds=1), generation=lambda: random.getrandbits(64),
    )  # fmt: skip
    number = 0

    def go_on(most: int) -> None:
        nonlocal number
        for _ in range(random.randint(0, most)):
            number += 1
            store.apply({TABLE: {b"%06d" % number: b"", b"big": bytes(random.choice([1, 700]))}})
            clock.now += random.choice([0, 0.3])
            store.upkeep()

    go_on(30)
    acknowledged, contents = number, {}
    for name in disk.names():
        go_on(8)
        data = bytearray()
        while len(data) < len(disk.files[name].seen):  # a read of a file is not one moment either
            data += disk.files[name].seen[len(data) : len(data) + random.choice([20, 600, 5000])]
            go_on(2)
        contents[name] = bytes(data)
    go_on(8)
    copy = base.copy()
    try:
        found = recover(contents, checkpoint_of(copy))
    except spex.DataDirError:
        return
    copy.apply(found.changes)
    there = [int(key) for key, _ in copy.range(TABLE, b"0", b"9")]
    assert there == list(range(1, found.last + 1))
    assert acknowledged <= found.last <= number


# ---------------------------------------------------------------------- whole or not there


def test_a_stopped_directory_is_copied_and_restored(filled: Path, tmp_path: Path) -> None:
    """Backup and restore, twice in a row, keep the content, and change neither source."""
    before = {path: path.read_bytes() for path in filled.rglob("*") if path.is_file() and path.suffix != ".mdb"}
    before |= {path: path.read_bytes() for path in filled.rglob("data.mdb")}
    assert len(backup(filled, tmp_path / "backup")) == 3
    (tmp_path / "empty").mkdir()
    restore(tmp_path / "backup", tmp_path / "empty")
    assert {path: path.read_bytes() for path in before} == before
    for path in (tmp_path / "backup", tmp_path / "empty"):
        assert verify(path) == []
        assert path.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in path.glob("shard-*/*")} == {0o600}
        assert {entry.name for entry in path.iterdir()} == {"layout", "lock", "shard-000", "shard-001", "shard-002"}
    assert _entries(tmp_path / "empty") == _entries(filled)


@pytest.mark.process
def test_what_is_in_a_log_only_is_copied_and_restored(tmp_path: Path, no_process_left: None) -> None:
    """The log is that of a killed worker; a backup of a backup has it too."""
    with _manager(tmp_path / "data", 1, max_restarts=0) as manager:
        for number in range(10):
            manager.init_instance(Order, number, initial_state="new")
        kill_worker(manager, 0)
        backup(tmp_path / "data", tmp_path / "one")
    backup(tmp_path / "one", tmp_path / "two")
    restore(tmp_path / "two", tmp_path / "three")
    assert list((tmp_path / "three").glob("shard-000/log-*"))
    assert len(_entries(tmp_path / "three", 1)) == 10


def test_a_destination_that_is_in_use_is_refused(filled: Path, tmp_path: Path) -> None:
    """A file, a directory with content, and the data directory itself are refused before anything is copied."""
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("")
    for call in (backup, restore):
        for name in ("file", "full", "data"):
            with pytest.raises(
                spex.DataDirError, match=r"is there already and not empty|not lie in the data directory"
            ):
                call(filled, tmp_path / name)
    with pytest.raises(spex.DataDirError, match="must not lie in the data directory itself"):
        backup(filled, filled / "backup")
    assert {path.name for path in tmp_path.iterdir()} <= {"data", "models", "file", "full"}


def test_what_is_no_data_directory_is_neither_copied_nor_restored(filled: Path, tmp_path: Path) -> None:
    """Neither is a directory that is between two numbers of shards."""
    for call in (backup, restore):
        with pytest.raises(spex.DataDirError, match="is no data directory"):
            call(tmp_path / "nowhere", tmp_path / "new")
    DataDir(filled).write_layout(Layout(3, COPYING, 5))
    with pytest.raises(spex.DataDirError, match=r"from 3 to 5 shards.*spex-shards reshard"):
        backup(filled, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_damaged_directory_is_not_copied_and_a_damaged_backup_not_restored(filled: Path, tmp_path: Path) -> None:
    """The error says what is damaged, and nothing is left at the destination or beside it."""
    backup(filled, tmp_path / "backup")
    for folder in (filled, tmp_path / "backup"):
        with (folder / "shard-001" / "data.mdb").open("r+b") as file:
            file.seek(4096 + 60)
            file.write(b"\x99")
    left = {path.name for path in tmp_path.iterdir()}
    for call, source in ((backup, filled), (restore, tmp_path / "backup")):
        with pytest.raises(spex.DataDirError, match="a meta page is damaged"):
            call(source, tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} == left


def test_a_backup_on_which_a_manager_runs_is_not_restored(filled: Path, tmp_path: Path) -> None:
    """Its files may change meanwhile; the error names the process."""
    backup(filled, tmp_path / "backup")
    with _manager(tmp_path / "backup"), pytest.raises(spex.DataDirLocked, match=r"this process has .* open already"):
        restore(tmp_path / "backup", tmp_path / "new")


@pytest.mark.process
def test_a_backup_that_is_killed_is_never_taken_for_one(filled: Path, tmp_path: Path) -> None:
    """Its remains have another name and no layout record; the next backup works."""
    script = (
        "import os, sys, spex_shards.audit.copies as b\n"
        "real = b.copy_shard\n"
        "def once(source, target, progress):\n"
        "    if target.name == 'shard-002': os.kill(os.getpid(), 9)\n"
        "    return real(source, target, progress)\n"
        "b.copy_shard = once\n"
        "b.backup(sys.argv[1], sys.argv[2])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, filled, tmp_path / "backup"], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "backup").exists()
    [partial] = tmp_path.glob(".backup.partial-*")
    with pytest.raises(spex.DataDirError, match="is no data directory"):
        restore(partial, tmp_path / "new")
    backup(filled, tmp_path / "backup")
    assert verify(tmp_path / "backup") == []
    assert not partial.exists()


@pytest.mark.process
def test_what_killed_backups_leave_is_swept_and_what_others_are_at_is_not(filled: Path, tmp_path: Path) -> None:
    """The next backup or restore to that place removes it, but not a running one's folder or one that looks alike."""
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    of_dead, of_other = (
        tmp_path / f".there.partial-{int(dead.stdout)}-1-a",
        tmp_path / f".else.partial-{int(dead.stdout)}-1-a",
    )
    of_reused, other = tmp_path / ".there.partial-1-999999999-a", tmp_path / ".there.partial-mine"
    locked = tmp_path / f".there.partial-{int(dead.stdout)}-2-a"
    link = tmp_path / f".there.partial-{int(dead.stdout)}-3-a"
    for folder in (of_dead, of_other, of_reused, other, locked):
        folder.mkdir(mode=0o700)
        (folder / "data").touch()
    link.symlink_to(other)
    running = tmp_path / f".there.partial-{os.getpid()}-{start_time(os.getpid())}-a"
    running.mkdir()
    lock = os.open(locked, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        backup(filled, tmp_path / "there")
    finally:
        os.close(lock)
    assert not of_dead.exists()
    assert not of_reused.exists()
    assert all(path.exists() for path in (of_other, other, locked, link, running))
    restore(tmp_path / "there", tmp_path / "else")
    assert not of_other.exists()


def models_in(folder: Path) -> dict[str, str]:
    """Return the files of a folder of models."""
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_model_files_are_copied_and_come_back(filled: Path, tmp_path: Path) -> None:
    """They are restored into the folder of the new directory, or to a given place, and never overwrite others."""
    models = tmp_path / "configured"
    (models / "folder.spex").mkdir(parents=True)
    for name in ("Order.spex", "Order.spex.json", "README", ".hidden.spex"):
        (models / name).write_text(f"this is {name}")
    kept = {name: f"this is {name}" for name in ("Order.spex", "Order.spex.json")}
    backup(filled, tmp_path / "b", models_dir=models)
    assert models_in(tmp_path / "b" / "models") == kept
    assert verify(tmp_path / "b") == []
    assert restore(tmp_path / "b", tmp_path / "one") == tmp_path / "one" / "models"
    assert models_in(tmp_path / "one" / "models") == kept
    assert restore(tmp_path / "b", tmp_path / "two", models_dir=tmp_path / "new") == tmp_path / "new"
    assert models_in(tmp_path / "new") == kept
    assert not (tmp_path / "two" / "models").exists()
    with pytest.raises(spex.DataDirError, match="configured is there already and not empty"):
        restore(tmp_path / "b", tmp_path / "three", models_dir=models)
    assert not (tmp_path / "three").exists()
    backup(filled, tmp_path / "without", models_dir=tmp_path / "nowhere")
    assert not (tmp_path / "without" / "models").exists()
    assert restore(tmp_path / "without", tmp_path / "four", models_dir=tmp_path / "none") is None
    assert not (tmp_path / "none").exists()


def test_the_commands_take_the_models_along(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands copy the models of the option, or of a given directory, which must exist."""
    models = tmp_path / "configured"
    models.mkdir()
    (models / "Order.spex").write_text("a model")
    monkeypatch.setenv("SPEX_SHARDS_IMPL_MODELS_DIR", str(models))
    assert run("backup", filled, tmp_path / "b")[:2] == (
        0,
        f"{tmp_path / 'b'}: 3 shards copied, with the models of {models}\n",
    )
    assert run("restore", tmp_path / "b", tmp_path / "d")[1].endswith(
        f", its models are in {tmp_path / 'd' / 'models'}\n"
    )
    assert run("restore", tmp_path / "b", tmp_path / "e", "--models-dir", tmp_path / "m")[0] == 0
    assert models_in(tmp_path / "m") == {"Order.spex": "a model"}
    assert run("backup", filled, tmp_path / "c", "--models-dir", tmp_path / "nowhere")[0] == 2
    assert not (tmp_path / "c").exists()


def test_progress_reaches_its_end(filled: Path, tmp_path: Path) -> None:
    """Progress is counted in bytes and never exceeds the total."""
    for call, name in ((backup, "one"), (restore, "two")):
        told: list[tuple[int, int]] = []
        call(filled, tmp_path / name, progress=lambda done, total, told=told: told.append((done, total)))
        assert told[-1][0] == told[-1][1] > 0
        assert all(0 <= done <= total for done, total in told)


def test_the_commands_copy_and_restore(filled: Path, tmp_path: Path) -> None:
    """Each command prints one line; a failure is exit code 2 and one line."""
    assert run("backup", filled, tmp_path / "b") == (0, f"{tmp_path / 'b'}: 3 shards copied\n", "")
    assert run("restore", tmp_path / "b", tmp_path / "d") == (
        0,
        f"{tmp_path / 'd'}: restored from {tmp_path / 'b'}\n",
        "",
    )
    code, out, err = run("backup", filled, tmp_path / "b")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {tmp_path / 'b'} is there already")
