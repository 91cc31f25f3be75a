"""Full and failing resources: typed errors, other requests answered, full recovery, nothing acknowledged lost."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.messages import operations as ops
from spex_shards.runtime.protocol import codec
from tests.support.helper_specs import Door
from tests.support.places import LONG, ROOT
from tests.support.processes import is_gone, kill_worker, traced, wait_until
from tests.support.raw_client import RawClient

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]

KB = "x" * 1000
MB = "x" * 1_000_000
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs to mount a file system")


def start(places: dict[str, Path], **options: Any) -> spex.ShardedInstanceManager:
    """Start a manager with one shard that learns."""
    settings = {"distribution_factor": 1, "learning_mode": True, "call_timeout": 30, **options}
    return spex.ShardedInstanceManager(**{**places, **settings}).start()


def observe_until_refused(manager: Any, prefix: str, most: int, meta: Any) -> tuple[set[str], spex.SpexError]:
    """Create instances until one is refused; return the acknowledged ones and the error."""
    kept: set[str] = set()
    for number in range(most):
        error = manager.try_init_instance(Door, f"{prefix}{number}", meta=meta)
        if error is not None:
            return kept, error
        kept.add(f"{prefix}{number}")
    pytest.fail(f"{most} instances were taken")


def identifiers(manager: Any) -> set[Any]:
    """Return the identifiers of all instances."""
    return {instance.identifier for instance in manager.iter_instances(history_limit=0)}


@contextmanager
def limited(pid: int, kind: int, soft: int) -> Iterator[None]:
    """Lower a limit of a running process, and lift it again."""
    before = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (soft, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, kind, before)


# ---------------------------------------------------------------------- disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 24 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.long
@needs_root
@pytest.mark.tool("mount")
@pytest.mark.parametrize("durability", ["process", "disk"])
def test_a_full_disk_refuses_what_changes_and_serves_what_reads(
    small_disk: Path, places: dict[str, Path], durability: str
) -> None:
    """When there is room again, the same process continues; a restart finds everything acknowledged."""
    places = {**places, "data_dir": small_disk / "data"}
    manager = start(places, durability=durability)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(4 << 20))
    try:
        pid = manager.shards()[0].pid
        kept, error = observe_until_refused(manager, "a", 20_000, {"text": KB * 20})
        assert isinstance(error, spex.StoreError)
        assert re.search("No space left on device|takes nothing more until a checkpoint", str(error))
        assert identifiers(manager) == kept
        with pytest.raises(spex.StoreError):
            manager.transition("a0", "open", "x" * 30_000)
        assert manager.get_instance("a0").current_state == "closed"
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
        wait_until(lambda: manager.try_init_instance(Door, "b") is None, "the store takes something again")
        for number in range(50):
            manager.init_instance(Door, f"c{number}", meta={"text": KB * 20})
        kept |= {"b"} | {f"c{number}" for number in range(50)}
        manager.transition("a0", "open", "opened")
        assert identifiers(manager) == kept
        assert manager.shards()[0].pid == pid
    finally:
        manager.close()
    manager = start(places, durability=durability)
    try:
        assert identifiers(manager) == kept
        assert manager.get_instance("a0").current_state == "opened"
    finally:
        manager.close()


@needs_root
@pytest.mark.tool("mount")
@pytest.mark.parametrize("retry_failed", [0.2, None])
def test_a_shard_whose_worker_dies_on_a_full_disk_comes_back_when_there_is_room(
    small_disk: Path, places: dict[str, Path], retry_failed: float | None
) -> None:
    """Meanwhile it is FAILED with the reason; then it is started again, automatically or by revive."""
    places = {**places, "data_dir": small_disk / "data"}
    manager = start(places, retry_failed=retry_failed)
    filler = small_disk / "filler"
    try:
        kept = {f"a{number}" for number in range(50)}
        for name in kept:
            manager.init_instance(Door, name, meta={"text": KB * 20})
        fill(filler)
        os.kill(manager.shards()[0].pid, 9)
        wait_until(lambda: manager.shards()[0].status is spex.ShardStatus.FAILED, "it is given up")
        assert "No space left" in (manager.shards()[0].last_exit or "")
        with pytest.raises(spex.ShardFailed):
            manager.init_instance(Door, "b")
        filler.unlink()
        if retry_failed is None:
            manager.revive(0)
        wait_until(lambda: manager.shards()[0].status is spex.ShardStatus.READY, "it is back")
        wait_until(lambda: manager.try_init_instance(Door, "b") is None, "who was told that it is given up knows")
        assert identifiers(manager) == kept | {"b"}
    finally:
        manager.close()


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        for _ in iter(lambda: file.write(bytes(4096)), None):
            pass


@needs_root
@pytest.mark.tool("mount")
def test_a_shard_opens_its_store_on_a_full_disk_or_says_what_is_missing(
    small_disk: Path, places: dict[str, Path]
) -> None:
    """A start without a byte of room is a shard's error with the cause; with room, everything is there."""
    places = {**places, "data_dir": small_disk / "data"}
    manager = start(places)
    for number in range(50):
        manager.init_instance(Door, number)
    os.kill(manager.shards()[0].pid, 9)
    wait_until(lambda: manager.shards()[0].status is spex.ShardStatus.READY, "the worker has a successor")
    manager.close()
    fill(small_disk / "filler")
    manager = spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True, call_timeout=30)
    try:
        manager.start()
        if manager.shards()[0].status is spex.ShardStatus.READY:
            assert identifiers(manager) == set(range(50))
        else:
            assert "No space left" in (manager.shards()[0].last_exit or "")
    finally:
        manager.close()
    (small_disk / "filler").unlink()
    manager = start(places)
    try:
        assert identifiers(manager) == set(range(50))
        manager.init_instance(Door, "more")
    finally:
        manager.close()


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_a_limit_on_the_size_of_files_refuses_and_recovers(places: dict[str, Path], durability: str) -> None:
    """RLIMIT_FSIZE of the worker has the same effect as a full disk."""
    manager = start(places, durability=durability)
    try:
        pid = manager.shards()[0].pid
        with limited(pid, resource.RLIMIT_FSIZE, 2 << 20):
            kept, error = observe_until_refused(manager, "a", 5000, {"text": KB * 10})
            assert isinstance(error, spex.StoreError)
            assert identifiers(manager) == kept
        wait_until(lambda: manager.try_init_instance(Door, "b") is None, "the store takes something again")
        assert manager.shards()[0].pid == pid
        os.kill(pid, 9)
        assert identifiers(manager) == kept | {"b"}
    finally:
        manager.close()


# ---------------------------------------------------------------------- errors of the disk


@pytest.mark.tool("strace")
def test_an_input_output_error_on_the_log_refuses_the_batch_and_nothing_else(
    places: dict[str, Path], tmp_path: Path
) -> None:
    """After EIO from writing, each batch is refused, and reads are answered, until the disk works again."""
    manager = start(places)
    try:
        for number in range(20):
            manager.init_instance(Door, number)
        pid = manager.shards()[0].pid
        with traced(pid, tmp_path / "trace", "trace=pwrite64", "inject=pwrite64:error=EIO"):
            for number in range(5):
                error = manager.try_transition(number, "open", "opened")
                assert isinstance(error, spex.StoreError)
                assert "Input/output error" in str(error)
            manager.transition_nowait(6, "open", "opened")
            with pytest.raises(ExceptionGroup) as caught:
                manager.flush()
            assert caught.group_contains(spex.StoreError)
            assert manager.get_instance(3).current_state == "closed"
        manager.transition(7, "open", "opened")
        assert manager.shards()[0].pid == pid
        os.kill(pid, 9)
        states = [manager.get_instance(number).current_state for number in range(20)]
        assert states == ["opened" if number == 7 else "closed" for number in range(20)]
    finally:
        manager.close()


@pytest.mark.tool("strace")
@pytest.mark.parametrize("durability", ["process", "disk"])
def test_a_sync_that_fails_ends_the_worker_and_costs_nothing(
    places: dict[str, Path], tmp_path: Path, durability: str
) -> None:
    """After EIO from fdatasync the content of the disk is unknown, so another process reads it; every call succeeds."""
    manager = start(places, durability=durability, max_restarts=20, call_timeout=60)
    try:
        for number in range(5):
            manager.init_instance(Door, number)
        pid = manager.shards()[0].pid
        done = threading.Event()

        def observe() -> None:
            for turn in range(2000):
                for number in range(5):
                    manager.transition(number, "open", str(turn))
                if manager.shards()[0].pid not in (pid, None):
                    break
            done.set()

        thread = threading.Thread(target=observe)
        with traced(pid, tmp_path / "trace", "trace=fdatasync", "inject=fdatasync:error=EIO"):
            thread.start()
            assert done.wait(60)
        thread.join()
        [shard] = manager.shards()
        assert (shard.last_exit or "").startswith("exit code 65: the log could not be synced")
        for instance in manager.all_instances():
            states = [int(entry.to_state) for entry in instance.history[1:]]
            assert states == list(range(len(states)))
            assert states
    finally:
        manager.close()


def test_an_error_of_the_map_is_named_by_the_exit_and_the_request_is_answered(places: dict[str, Path]) -> None:
    """SIGBUS: the store's file is gone for a while; `last_exit` says so, and the other shard continues."""
    manager = start(places, distribution_factor=2)
    for number in range(40):
        manager.init_instance(Door, number, meta={"text": KB * 20})
    manager.close()  # all of it is in the store now, and nothing in the log
    path = places["data_dir"] / "shard-000" / "data.mdb"
    content = path.read_bytes()
    manager = start(places, distribution_factor=2)
    try:
        on_first = [n for n in range(40) if manager.transport.channel(codec.canonical(n)).shard == 0]
        other = next(n for n in range(40) if n not in on_first)
        for number in (on_first[0], other):  # both channels are open
            manager.get_instance(number)
        pid, supervisor = manager.shards()[0].pid, manager.transport.ownership.pid
        answers: list[Any] = []
        os.kill(supervisor, signal.SIGSTOP)  # so that nothing is restarted before the file is back
        try:
            os.truncate(path, 8192)
            asker = threading.Thread(target=lambda: answers.extend(manager.get_instance(n) for n in on_first))
            asker.start()
            wait_until(lambda: is_gone(pid), "the worker has touched the map")
            manager.transition(other, "open", "opened")
            path.write_bytes(content)
        finally:
            os.kill(supervisor, signal.SIGCONT)
        asker.join(30)
        assert [instance.identifier for instance in answers] == on_first
        [first, _] = manager.shards()
        assert first.last_exit == "SIGBUS (likely an I/O error or a truncated file under the store's map)"
        assert first.status is spex.ShardStatus.READY
    finally:
        manager.close()


# ---------------------------------------------------------------------- descriptors


def first_free(pid: int) -> int:
    """Return the lowest free descriptor number of a process: with that as its limit, it can open no more."""
    taken = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    return next(number for number in range(1000) if number not in taken)


@pytest.mark.parametrize("whose", ["worker", "supervisor"])
def test_a_process_without_descriptors_serves_those_it_has(places: dict[str, Path], whose: str) -> None:
    """A new client waits or gets an error, and no process dies; later, waiting clients get their channels."""
    manager = start(places)
    try:
        manager.init_instance(Door, 1)
        worker = manager.shards()[0].pid
        pid = worker if whose == "worker" else manager.transport.ownership.pid
        with limited(pid, resource.RLIMIT_NOFILE, first_free(pid)):
            if whose == "worker":
                client = spex.connect(places["data_dir"], call_timeout=1.0)
                with pytest.raises(spex.CallTimeout) as caught:
                    client.transition(1, "open", "by the other")
                assert caught.value.maybe_executed
            else:
                with pytest.raises(spex.ShardDown, match="did not answer within"):
                    spex.connect(places["data_dir"], call_timeout=1.0)
            manager.transition(1, "open", "opened")
            assert manager.get_instance(1).current_state == "opened"
        if whose == "supervisor":
            client = spex.connect(places["data_dir"], call_timeout=20.0)
            client.transition(1, "open", "by the other")
        client.flush(20)
        client.close()
        states = [entry.to_state for entry in manager.get_instance(1).history]
        assert states == ["closed", "opened", "by the other"]
        assert manager.shards()[0].pid == worker
        assert manager.shards()[0].restarts == 0
    finally:
        manager.close()


@pytest.mark.alone
@pytest.mark.tool("strace")
@pytest.mark.parametrize(("whose", "call"), [("worker", "recvmsg"), ("supervisor", "accept4")])
def test_who_asks_in_vain_does_not_keep_a_process_busy(
    places: dict[str, Path], tmp_path: Path, whose: str, call: str
) -> None:
    """While a client waits without a free descriptor, the process looks some fifty times a second, not more often."""
    manager = start(places)
    try:
        manager.init_instance(Door, 1)
        pid = manager.shards()[0].pid if whose == "worker" else manager.transport.ownership.pid
        client, start_time = None, time.monotonic()
        with limited(pid, resource.RLIMIT_NOFILE, first_free(pid)), traced(pid, tmp_path / "trace", f"trace={call}"):
            if whose == "worker":
                client = spex.connect(places["data_dir"], call_timeout=1.0)
                with pytest.raises(spex.CallTimeout):
                    client.transition(1, "open", "opened")
            else:
                with pytest.raises(spex.ShardDown, match="did not answer within"):
                    spex.connect(places["data_dir"], call_timeout=1.0)
        if client is not None:
            client.flush(20)
            client.close()
        looks = (tmp_path / "trace").read_text().count(f"{call}(")
        assert 0 < looks < 100 + 100 * (time.monotonic() - start_time)
    finally:
        manager.close()


def test_an_application_with_thousands_of_descriptors_is_no_different(places: dict[str, Path]) -> None:
    """Numbers over 1023 work for the client, also when it attaches again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2100:
        pytest.skip("needs a limit of 2,100 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2100), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    manager = None
    try:
        manager = start(places)
        with spex.connect(places["data_dir"], call_timeout=30) as client:
            client.init_instance(Door, 1)
            os.kill(manager.transport.ownership.pid, 9)
            client.transition(1, "open", "opened")
            assert manager.get_instance(1).current_state == "opened"
    finally:
        if manager is not None:
            manager.close()
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---------------------------------------------------------------------- memory and pipes


def resident_mb(pid: int) -> float:
    """Return the megabytes that a process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def test_a_pipe_that_nobody_reads_holds_nobody_up_and_takes_little_memory(places: dict[str, Path]) -> None:
    """A client asks for 150 MB and reads nothing: its shard stops reading from it, and serves the others."""
    manager = start(places)
    try:
        manager.init_instance(Door, "big", meta={"text": MB})
        pid = manager.shards()[0].pid
        before = resident_mb(pid)
        client = RawClient(places["data_dir"])
        big = codec.canonical("big")
        for number in range(1, 151):
            client.send(number, 0, ops.GET.code, 0, big, 10)
        try:
            for number in range(200):
                manager.init_instance(Door, number)
            assert resident_mb(pid) - before < 50
            answered = 0
            while answered < 150:  # reading at last: every answer comes, in order
                answered, entries = client.answer()
                assert [entry[:2] for entry in entries][-1] == [answered, True]
        finally:
            client.close()
        manager.transition("big", "open", "opened")
        assert manager.shards()[0].pid == pid
    finally:
        manager.close()


@pytest.mark.long
def test_metas_of_a_megabyte_make_the_map_grow_and_no_request_fails(places: dict[str, Path]) -> None:
    """Four threads write 90 MB, and read meanwhile, while the map begins with 64 MB."""
    manager = start(places, call_timeout=60)
    try:

        def write(part: int) -> None:
            for number in range(part, 90, 4):
                manager.init_instance(Door, number, meta={"text": MB, "number": number})
                assert manager.get_instance(number).meta["number"] == number

        threads = [threading.Thread(target=write, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: manager.stats()[0]["store_size"] > 70e6, "checkpoints have made the store grow")
        os.kill(manager.shards()[0].pid, 9)
        metas = {instance.identifier: instance.meta["number"] for instance in manager.iter_instances()}
        assert metas == {number: number for number in range(90)}
    finally:
        manager.close()


@pytest.mark.long
@pytest.mark.slow
def test_very_many_instances_of_one_prefix(places: dict[str, Path]) -> None:
    """Identifiers that differ only at their end are each there once, also after a restart."""
    count = 100_000 if LONG else 15_000
    prefix = "a-long-prefix-that-all-of-them-share-" * 4
    manager = start(places, distribution_factor=2, call_timeout=60)
    try:
        for number in range(count):
            manager.init_instance_nowait(Door, (prefix, number))
        manager.flush(60)
        for number in range(0, count, count // 20):
            manager.transition((prefix, number), "open", "opened")
    finally:
        manager.close()
    manager = start(places, distribution_factor=2, call_timeout=60)
    try:
        seen = [instance.identifier[1] for instance in manager.iter_instances(history_limit=0)]
        assert len(seen) == count
        assert set(seen) == set(range(count))
        assert manager.get_instance((prefix, count // 20)).current_state == "opened"
        with pytest.raises(spex.InstanceNotFound):
            manager.get_instance((prefix, count))
    finally:
        manager.close()


# ---------------------------------------------------------------------- memory


def address_space(pid: int) -> int:
    """Return the bytes of a process's address space."""
    return int(re.search(r"VmSize:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) * 1024  # type: ignore[index]


def test_a_request_that_there_is_no_memory_for_is_refused_and_the_shard_lives(places: dict[str, Path]) -> None:
    """In its execution or at the commit: its caller gets an error, and the same process serves others."""
    manager = start(places, max_restarts=0, retry_failed=None)
    try:
        manager.init_instance(Door, 1)
        pid = manager.shards()[0].pid
        with limited(pid, resource.RLIMIT_AS, address_space(pid) + (24 << 20)):
            for size in (15 << 20, 7 << 20, 3 << 20):
                error = manager.try_init_instance(Door, ("big", size), meta={"text": "x" * size})
                assert error is None or isinstance(error, spex.StoreError)
                manager.init_instance(Door, ("small", size))
                if size == 15 << 20:
                    assert "memory" in str(error)
        manager.init_instance(Door, "big", meta={"text": "x" * (7 << 20)})
        assert manager.shards()[0].pid == pid
    finally:
        manager.close()


def test_a_shard_that_cannot_be_opened_for_want_of_memory_comes_back_when_there_is_some(
    places: dict[str, Path],
) -> None:
    """This holds however long that takes and however often it died."""
    manager = start(places, retry_failed=0.2)
    try:
        manager.init_instance(Door, 1)
        supervisor = manager.transport.ownership.pid
        with limited(supervisor, resource.RLIMIT_AS, address_space(supervisor) + (1 << 20)):
            kill_worker(manager, 0)
            wait_until(lambda: (manager.shards()[0].last_exit or "SIGKILL")[:7] != "SIGKILL", "it was tried in vain")
            assert manager.shards()[0].status is not spex.ShardStatus.READY
        wait_until(lambda: manager.try_init_instance(Door, 2) is None, "it is back")
        assert identifiers(manager) == {1, 2}
    finally:
        manager.close()


@pytest.mark.long
def test_a_request_larger_than_an_eighth_of_the_memory_is_refused_alone(places: dict[str, Path]) -> None:
    """The error's rule names the limit, which is read when a worker starts."""
    manager = start(places, max_frame_bytes=1 << 30, call_timeout=60)
    try:
        supervisor = manager.transport.ownership.pid
        most = 800 << 20
        with limited(supervisor, resource.RLIMIT_AS, most):
            kill_worker(manager, 0)
            manager.init_instance(Door, 1)
            pid = manager.shards()[0].pid
            error = manager.try_init_instance(Door, 2, meta={"data": bytes(101 << 20)})
            assert isinstance(error, spex.StoreError)
            assert f"must be at most an eighth of the memory that its process may have ({most // 8} bytes)" in str(
                error
            )
            manager.init_instance(Door, 3, meta={"data": bytes(1 << 20)})
            assert manager.shards()[0].pid == pid
    finally:
        manager.close()


def test_a_program_with_too_few_descriptors_for_its_channels_is_told_once(tmp_path: Path) -> None:
    """The channel is asked for some fifty times a second; the log must not grow with that."""
    body = f"""
import logging, resource, sys
import spex_shards as spex
from tests.support.helper_specs import Door

logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, (16, 4096))
places = {{"data_dir": {str(tmp_path / "data")!r}, "impl_models_dir": {str(tmp_path / "models")!r}}}
manager = spex.ShardedInstanceManager(**places, distribution_factor=4, learning_mode=True, call_timeout=1.0)
manager.start()
for number in range(8):
    print(type(manager.try_init_instance(Door, number)).__name__)
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
manager.flush(20)
print(len(manager.all_instances()))
manager.close()
"""
    done = subprocess.run([sys.executable, "-c", body], capture_output=True, text=True, timeout=120, cwd=ROOT)
    said = done.stdout.splitlines()
    assert (said[-1], done.stderr) == ("8", "")
    assert 1 <= sum("could not be opened, and is asked for again" in line for line in said) <= 4
