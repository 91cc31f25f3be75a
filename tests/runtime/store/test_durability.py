"""What is synced to the disk, and how many requests share a batch."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.runtime.store import lmdb_store
from spex_shards.runtime.store.logged_store import Due, LoggedStore
from tests.runtime.supervisor.test_processes import stop
from tests.support.helper_specs import Door
from tests.support.processes import traced, wait_until

SYNCS = "trace=fsync,fdatasync,sync_file_range,msync,syncfs"


@pytest.mark.process
@pytest.mark.tool("strace")
@pytest.mark.usefixtures("no_process_left")
@pytest.mark.parametrize(("durability", "least", "most"), [("disk", 50, 50), ("process", 0, 25)])
def test_each_batch_is_synced_once_or_now_and_then(
    places: dict[str, Path], tmp_path: Path, durability: str, least: int, most: int
) -> None:
    """A worker makes one sync per batch with durability "disk", and one in half a second with "process"."""
    with spex.ShardedInstanceManager(
        **places, distribution_factor=1, learning_mode=True, durability=durability, call_timeout=30
    ) as manager:
        manager.init_instance(Door, 1)
        [before] = manager.stats()
        with traced(manager.shards()[0].pid, tmp_path / "trace", SYNCS):
            for _ in range(50):
                manager.transition(1, "open", "opened")
        [after] = manager.stats()
    syncs = len(re.findall(r"\b(?:fsync|fdatasync|msync)\(", (tmp_path / "trace").read_text()))
    assert after["batches"] - before["batches"] == 51  # the question for the statistics is a batch too, of reading only
    assert least <= syncs <= most


@pytest.mark.process
@pytest.mark.tool("strace")
@pytest.mark.usefixtures("no_process_left")
def test_what_was_written_is_synced_soon(places: dict[str, Path], tmp_path: Path) -> None:
    """With durability "process" this needs no further request: a power loss costs at most the last second."""
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True, call_timeout=30) as manager:
        output = tmp_path / "trace"
        with traced(manager.shards()[0].pid, output, SYNCS):
            manager.init_instance(Door, 1)
            wait_until(lambda: "fdatasync(" in output.read_text(), "the log is synced")


class CountingStore(LoggedStore):
    """A store that counts its writes."""

    applied = 0

    def apply(self, changes: Any) -> None:
        """Count, and apply."""
        type(self).applied += 1
        super().apply(changes)


@pytest.mark.pure
def test_one_observation_is_one_append(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The in-process manager writes once per observation, and not at all for reads."""
    monkeypatch.setattr("spex_shards.runtime.store.opening.LoggedStore", CountingStore)
    with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:
        manager.init_instance(Door, 1)
        before = CountingStore.applied
        for _ in range(20):
            manager.transition(1, "open", "opened")
            manager.get_instance(1)
        assert CountingStore.applied - before == 20


@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
def test_requests_of_several_threads_share_batches(places: dict[str, Path]) -> None:
    """With four threads that do not wait, a batch has more than one request on average."""
    with spex.ShardedInstanceManager(
        **places, distribution_factor=1, learning_mode=True, durability="disk", call_timeout=30
    ) as manager:

        def observe(number: int) -> None:
            manager.init_instance_nowait(Door, number)
            for _ in range(200):
                manager.transition_nowait(number, "open", "opened")

        threads = [threading.Thread(target=observe, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        manager.flush()
        [stats] = manager.stats()
        assert stats["mean_batch_size"] > 1
        assert sum(stats["requests"][kind] for kind in ("init", "transition")) == 4 * 201


@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
def test_a_batch_takes_what_waits(places: dict[str, Path]) -> None:
    """Requests that arrive while a shard is stopped form one batch; `queue_depth` has their number."""
    import signal

    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True, call_timeout=30) as manager:
        manager.init_instance(Door, 1)
        [before] = manager.stats()
        pid = manager.shards()[0].pid
        stop(pid)
        for _ in range(100):
            manager.transition_nowait(1, "open", "opened")
        answers: list[Any] = []
        asker = threading.Thread(target=lambda: answers.extend(manager.stats()))
        asker.start()
        channel = manager.transport.channels[0]
        line = channel.lines.current
        wait_until(
            lambda: line.session.unacknowledged == 101 and not line.turn.is_taken(), "all requests are in the pipe"
        )
        os.kill(pid, signal.SIGCONT)
        asker.join(20)
        [after] = answers
        assert after["queue_depth"] == 100
        assert (
            after["batches"] == before["batches"] + 1
        )  # a batch is counted when it ends: this one is the first question
        assert after["bytes_in"] > before["bytes_in"]


@pytest.mark.pure
def test_the_map_grows_by_itself(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A full map is doubled, and the current checkpoint is written again: no request fails."""
    for cls, changed in ((lmdb_store.LmdbStore, {"map_size": 256 * 1024}), (LoggedStore, {"due": Due(rows=100)})):
        monkeypatch.setattr(cls.__init__, "__kwdefaults__", {**cls.__init__.__kwdefaults__, **changed})
    with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:
        for number in range(300):
            manager.init_instance(Door, number, meta={"text": "x" * 8000})
        base = manager.transport.shard.tenure.store._base
        wait_until(lambda: base._env.info()["map_size"] > 256 * 1024, "a checkpoint made the map grow")
        assert len(manager.all_instances()) == 300
