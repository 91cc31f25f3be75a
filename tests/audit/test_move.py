"""`move`: from a data directory into a namespace of PostgreSQL, and back; killed at any point and run again."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards import audit
from spex_shards.audit import relocation
from spex_shards.audit.endpoints import DirectoryEndpoint
from spex_shards.audit.namespace_endpoint import NamespaceEndpoint
from spex_shards.runtime.store import TABLES
from spex_shards.runtime.store.checkpoint import CHECKPOINT, FIRST_EPOCH
from spex_shards.runtime.store.location import Where, reading
from tests.support.contract_specs import Order
from tests.support.places import ROOT

pytestmark = pytest.mark.postgres


def filled(directory: Path, models: Path, instances: int, shards: int = 2) -> None:
    """Make a data directory with instances in several states, deviations, and deleted ones."""
    with spex.ShardedInstanceManager(
        data_dir=directory, impl_models_dir=models, distribution_factor=shards, learning_mode=True
    ) as manager:
        for number in range(instances):
            manager.init_instance_nowait(Order, number, meta={"n": number} if number % 3 == 0 else None)
            manager.transition_nowait(number, "pay", "paid")
            if number % 5 == 0:
                manager.transition_nowait(number, "ship", "shipped")
        manager.flush(120)
        manager.delete_instance(1)


def rows(where: Where) -> dict[tuple[int, str], list[tuple[bytes, bytes]]]:
    """Return all rows of a place."""
    found = {}
    with reading(where) as place:
        for index in range(place.shards):
            view = place.stores.view(index)
            for table in TABLES:
                found[index, table] = [
                    row for row in view.range(table, b"", None) if row[0] not in (CHECKPOINT, FIRST_EPOCH)
                ]
            view.close()
    return found


def exported(where: Where, folder: Path) -> dict[str, bytes]:
    """Return the files that ``export`` writes."""
    command = [sys.executable, "-m", "spex_shards", "export", "--data-dir", str(where), "--models-dir", str(folder)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.long
def test_there_and_back_everything_is_as_it_was(tmp_path: Path, store_url: str) -> None:
    """All rows are equal; a manager goes on there, and after the way back here; each place that was left refuses."""
    one, back, models = tmp_path / "one", tmp_path / "back", tmp_path / "models"
    filled(one, models, 300)
    before = rows(one)
    assert audit.move(one, store_url).rows == sum(map(len, before.values()))
    assert rows(store_url) == before
    assert audit.verify(store_url) == []
    assert audit.move(one, store_url).rows == 0
    with pytest.raises(spex.DataDirError, match=r"are in postgresql.*give that as the option store"):
        audit.verify(one)
    options: dict[str, Any] = {"impl_models_dir": models, "distribution_factor": 2}
    with spex.ShardedInstanceManager(data_dir=one, store=store_url, **options) as manager:
        manager.transition(3, "cancel", "cancelled")
        assert [record.to_state for record in manager.get_instance(3).history] == ["new", "paid", "cancelled"]
    changed = rows(store_url)
    audit.move(store_url, back)
    assert rows(back) == changed
    assert audit.verify(back) == []
    with pytest.raises(spex.DataDirError, match=f"held was moved to {back}: use that"):
        spex.ShardedInstanceManager(data_dir=tmp_path / "other", store=store_url, **options).start()
    with spex.ShardedInstanceManager(data_dir=back, **options) as manager:
        assert manager.get_instance(3).current_state == "cancelled"


@pytest.mark.long
def test_a_place_may_be_moved_into_where_it_came_from(tmp_path: Path, store_url: str) -> None:
    """Its old rows are replaced; into a place that holds something else nothing is moved."""
    one, models = tmp_path / "one", tmp_path / "models"
    filled(one, models, 20, shards=1)
    audit.move(one, store_url)
    with spex.SimpleInstanceManager(data_dir=one, impl_models_dir=models, store=store_url) as manager:
        manager.delete_instance(2)
    audit.move(store_url, one)
    with spex.SimpleInstanceManager(data_dir=one, impl_models_dir=models) as manager:
        assert len(manager.all_instances()) == 18
        manager.delete_instance(3)
    before = rows(one)
    audit.move(one, store_url)
    assert rows(store_url) == before
    other = tmp_path / "other"
    filled(other, models, 1, shards=1)
    for source, target in ((store_url, other), (other, store_url)):
        with pytest.raises(spex.DataDirError, match="holds something else"):
            audit.move(source, target)
    assert rows(store_url) == before
    with pytest.raises(ValueError, match="needs a data directory and a database's URL"):
        audit.move(one, other)
    with pytest.raises(spex.DataDirError, match="there is no data directory at"):
        audit.move(tmp_path / "nowhere", store_url)


def test_a_manager_that_still_has_the_namespace_loses_it(tmp_path: Path, store_url: str) -> None:
    """What it had acknowledged before is moved; what it does afterwards fails."""
    with spex.SimpleInstanceManager(data_dir=tmp_path / "one", store=store_url, learning_mode=True) as manager:
        manager.init_instance(Order, 1)
        audit.move(store_url, tmp_path / "two")
        with pytest.raises(spex.SpexError, match=r"has claimed the shard|taken the namespace over"):
            manager.transition(1, "pay", "paid")
    with spex.SimpleInstanceManager(data_dir=tmp_path / "two") as manager:
        assert manager.get_instance(1).current_state == "new"


class Stop(Exception):
    """Stands for a kill."""


def stopping(monkeypatch: pytest.MonkeyPatch, at: int) -> Callable[[], bool]:
    """Have a move end after so many durable steps; return what it asks after each portion."""
    left = [at]

    def step(*_: Any) -> bool:
        left[0] -= 1
        if left[0] < 0:
            raise Stop
        return False

    for cls in (DirectoryEndpoint, NamespaceEndpoint):
        for name in ("leave", "arrive", "arrived", "moved"):
            original = getattr(cls, name)

            def wrapped(*arguments: Any, original: Any = original) -> None:
                step()
                original(*arguments)
                step()

            monkeypatch.setattr(cls, name, wrapped)
    return step


@pytest.mark.parametrize("back", [False, pytest.param(True, marks=pytest.mark.long)], ids=["there", "back"])
def test_a_move_that_ends_at_any_step_is_completed_by_another(
    tmp_path: Path, store_url: str, back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two runs, neither place can be used, or one of them as it was; at the end everything is there."""
    monkeypatch.setattr(relocation, "_ROWS", 40)
    source: Where = tmp_path / "one"
    target: Where = store_url
    filled(tmp_path / "one", tmp_path / "models", 30, shards=1)
    before = rows(source)
    if back:
        audit.move(source, target)
        source, target = target, tmp_path / "two"
    for at in range(1000):
        with monkeypatch.context() as patch:
            step = stopping(patch, at)
            try:
                audit.move(source, target, interrupted=step)
            except Stop:
                assert usable(source) + usable(target) <= 1
                continue
        break
    assert at >= 10
    assert (usable(source), usable(target)) == (0, 1)
    assert rows(target) == before


def usable(where: Where) -> int:
    """Return 1 if a place can be read, else 0."""
    try:
        with reading(where):
            return 1
    except spex.DataDirError:
        return 0


@pytest.mark.long
@pytest.mark.process
def test_a_move_that_is_killed_again_and_again_is_completed(tmp_path: Path, store_url: str) -> None:
    """The command is killed at random moments, and run again."""
    one = tmp_path / "one"
    filled(one, tmp_path / "models", 10_000)
    before = rows(one)
    command = [sys.executable, "-m", "spex_shards", "move", str(one), store_url]
    kills, wait = 0, 0.5
    while True:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT)
        timer = threading.Timer(wait * random.random() + 0.3, process.kill)
        timer.start()
        said = process.communicate()[1]
        timer.cancel()
        if process.returncode != -signal.SIGKILL:
            break
        kills, wait = kills + 1, wait * 1.3
    assert process.returncode == 0, said
    assert kills > 0
    assert rows(store_url) == before


@pytest.mark.long
def test_a_large_directory_is_exported_byte_by_byte_as_before(tmp_path: Path, store_url: str) -> None:
    """100,000 instances, there and back: all rows are equal, and so are the exported models."""
    one = tmp_path / "one"
    filled(one, tmp_path / "models", 100_000)
    before, models = rows(one), exported(one, tmp_path / "export 1")
    audit.move(one, store_url)
    assert exported(store_url, tmp_path / "export 2") == models
    shutil.rmtree(one)
    audit.move(store_url, one)
    assert exported(one, tmp_path / "export 3") == models
    assert rows(one) == before
    assert len(before[0, "instances"]) + len(before[1, "instances"]) == 99_999
