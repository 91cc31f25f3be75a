"""A data directory that somebody removes while it is used, as a deployment's script might."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.audit import verify
from tests.support.processes import wait_until
from tests.support.serving import supervisor_of
from tests.support.writers import Loop

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]
KINDS = {"in-process": spex.SimpleInstanceManager, "sharded": spex.ShardedInstanceManager}


def opened(kind: str, data: Path, **options: Any) -> spex.InstanceManager:
    """Return a started manager."""
    given = {"impl_models_dir": data.with_name("models"), "learning_mode": True, "call_timeout": 20.0, **options}
    if kind == "sharded":
        given |= {"distribution_factor": 1, "retry_failed": None}
    manager = KINDS[kind](data_dir=data, **given)
    manager.start()
    return manager


@pytest.mark.parametrize("durability", ["process", "disk"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_noticed_within_a_second_that_the_directory_is_gone(tmp_path: Path, kind: str, durability: str) -> None:
    """What is acknowledged would be gone with the process; and no other directory is made in its place."""
    manager = opened(kind, tmp_path / "data", durability=durability)
    manager.init_instance(Loop, 1)
    shutil.rmtree(tmp_path / "data")
    errors = (spex.StoreError, spex.ShardError, spex.DataDirError)
    said = str(wait_until(lambda: manager.try_transition(1, "go", "on"), "a call is refused", 20.0))
    assert "was removed or replaced while it was used" in said or "the log was deleted while it was used" in said
    for _ in range(3):
        with pytest.raises(errors):
            manager.transition(1, "go", "on")
    assert not (tmp_path / "data").exists()
    manager.close()


def test_two_owners_never_write_one_directory(tmp_path: Path) -> None:
    """The first one's worker, started again, would open the shards that the second one has made at that place."""
    first = opened("sharded", tmp_path / "data")
    first.init_instance(Loop, "first")
    shutil.rmtree(tmp_path / "data")
    second = opened("sharded", tmp_path / "data")
    second.init_instance(Loop, "second")
    pid = first.shards()[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(spex.ShardFailed, match="was removed or replaced while it was used"):
        first.init_instance(Loop, "third")
    first.close()
    assert supervisor_of(tmp_path / "data")
    with spex.connect(tmp_path / "data") as attached:  # its socket is still there
        attached.transition("second", "go", "on")
        assert [one.identifier for one in attached.all_instances()] == ["second"]
    second.close()
    assert verify(tmp_path / "data") == []
