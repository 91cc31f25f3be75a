"""The thread that syncs a log in time, and the behaviour while the disk stalls."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spex_shards.runtime.store import LogBroken, MemoryStore, files, logged_store
from spex_shards.runtime.store.files import OsFiles
from spex_shards.runtime.store.logged_store import LoggedStore
from tests.support.processes import wait_until


class Disk:
    """The syncs of log files: when they began, and a gate that they wait at."""

    def __init__(self) -> None:
        self.began: list[float] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failure: OSError | None = None

    def sync(self, descriptor: int) -> None:
        """Sync, once the gate is open."""
        self.began.append(time.monotonic())
        assert self.gate.wait(20)
        if self.failure is not None:
            raise self.failure
        os.fdatasync(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Return the disk of all logs."""
    made = Disk()
    monkeypatch.setattr(files, "_fdatasync", made.sync)
    return made


@pytest.fixture
def waits() -> list[None]:
    """Return how often the store has reported that it waits."""
    return []


@pytest.fixture
def store(disk: Disk, waits: list[None], tmp_path: Path) -> Iterator[LoggedStore]:
    """Return a store with durability "process"."""
    made = LoggedStore(MemoryStore(), OsFiles(tmp_path), sync_each=False, on_wait=lambda: waits.append(None))
    yield made
    disk.gate.set()
    made.close()


def put(store: LoggedStore, name: bytes) -> None:
    """Commit a batch."""
    store.apply({"instances": {name: b"x"}})


def test_what_was_kept_is_synced_within_a_second_though_its_loop_is_busy(disk: Disk, store: LoggedStore) -> None:
    """While a long handler keeps the loop from calling `upkeep`, the sync still begins within half a second."""
    for name in (b"a", b"b"):  # the second time the thread has slept
        before, start = len(disk.began), time.monotonic()
        put(store, name)
        wait_until(lambda before=before: len(disk.began) > before, "the log is synced")
        assert disk.began[-1] - start > 0.3
        wait_until(lambda: store._log._syncer.done == store._log.last, "the sync has ended")


def test_what_is_kept_while_a_sync_is_under_way_is_in_the_next(disk: Disk, store: LoggedStore) -> None:
    """The next sync begins by itself, too."""
    disk.gate.clear()
    put(store, b"a")
    wait_until(lambda: disk.began, "the sync is under way")
    put(store, b"b")
    disk.gate.set()
    wait_until(lambda: len(disk.began) == 2, "there is another sync")
    wait_until(lambda: store._log._syncer.done == store._log.last == 2, "both are on the disk")


@pytest.mark.pure
def test_nothing_more_is_kept_while_the_disk_stalls(
    disk: Disk, store: Any, waits: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a power loss costs at most the batches of two seconds, however long a sync takes."""
    monkeypatch.setattr(logged_store, "STALLED", 0.2)
    disk.gate.clear()
    put(store, b"a")
    wait_until(lambda: disk.began, "the sync is under way")
    wait_until(lambda: time.monotonic() >= store.next_upkeep, "it is time for the upkeep")
    opened = threading.Timer(2.5, disk.gate.set)
    opened.start()
    start = time.monotonic()
    store.upkeep()
    assert time.monotonic() - start > 2
    assert len(waits) >= 2, "it says that it waits, so that nobody takes it for hung"
    assert not store._log.dirty
    opened.join()


def test_a_file_that_is_left_while_it_is_synced_is_closed_by_whoever_syncs_it(disk: Disk, tmp_path: Path) -> None:
    """Nothing waits for it, and its descriptor number is never reused too early."""
    file = OsFiles(tmp_path).open("log-0")
    disk.gate.clear()
    thread = threading.Thread(target=file.sync)
    thread.start()
    wait_until(lambda: disk.began, "the sync is under way")
    file.close()
    assert file._descriptor >= 0
    disk.gate.set()
    thread.join()
    assert file._descriptor == -1
    file.sync()
    assert len(disk.began) == 1, "a closed file has nothing to sync"


def test_nothing_is_kept_after_a_sync_has_failed_in_the_thread(disk: Disk, store: LoggedStore) -> None:
    """The next batch is refused, whether the failed sync was noticed before or not."""
    disk.failure = OSError(5, "Input/output error")
    put(store, b"a")
    wait_until(lambda: store._log._syncer.failure, "the sync has failed")
    for _ in range(2):
        with pytest.raises(LogBroken, match=r"could not be synced.*Input/output error"):
            put(store, b"b")
    with pytest.raises(LogBroken):
        store.upkeep()
