"""`scratch`: a manager whose state lasts no longer than it does."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

import spex_shards as spex
from spex_shards.formats.model_files import write_model
from tests.support.contract_specs import Order, model

SCRIPT = """
import os, sys
import spex_shards as spex

class Door(spex.Specification):
    transitions = [("closed", "open", "opened")]
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that temporary directories are made in."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder of its own."""
    return subprocess.run([sys.executable, "-c", SCRIPT + code], cwd=folder, capture_output=True, text=True, timeout=60)


def test_its_directory_is_there_while_it_runs_and_gone_afterwards(temporary: Path) -> None:
    """In-process, unless a number of shards is given."""
    with spex.scratch(learning_mode=True) as manager:
        assert isinstance(manager, spex.SimpleInstanceManager)
        manager.init_instance(Order, 1)
        assert manager.data_dir.is_relative_to(temporary)
    assert list(temporary.iterdir()) == []
    manager.close()


@pytest.mark.process
def test_with_a_number_of_shards_it_has_processes_that_forked_children_use(temporary: Path) -> None:
    """A child that ends deletes nothing of its parent's."""
    with spex.scratch(distribution_factor=2, learning_mode=True) as manager:
        assert isinstance(manager, spex.ShardedInstanceManager)
        assert len(manager.shards()) == 2
        pid = os.fork()
        if pid == 0:
            try:
                manager.init_instance(Order, 1)
                manager.close()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert manager.get_instance(1).current_state == "new"
        assert len(list(temporary.iterdir())) == 1
    assert list(temporary.iterdir()) == []


def test_model_files_are_read_only_if_their_folder_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the default folder nor the environment's counts."""
    folder = tmp_path / "models"
    write_model(folder, model(Order, ("new", "pay", "paid")))
    monkeypatch.setenv("SPEX_SHARDS_IMPL_MODELS_DIR", str(folder))
    with spex.scratch() as manager:
        assert manager.all_impl_models() == []
    with spex.scratch(impl_models_dir=folder) as manager:
        assert [found.specification for found in manager.all_impl_models()] == [Order.name]


def test_what_is_wrong_is_refused_and_leaves_nothing_behind(temporary: Path) -> None:
    """A data directory is the caller's to keep; a manager that is never started leaves no directory either."""
    with pytest.raises(TypeError) as caught:
        spex.scratch(data_dir="here")
    assert str(caught.value) == (
        "scratch() makes a data directory of its own and deletes it: to keep one, give data_dir to "
        "SimpleInstanceManager or ShardedInstanceManager"
    )
    with pytest.raises(ValueError, match="the option durability must be"):
        spex.scratch(durability="ram")  # type: ignore[arg-type]
    manager = spex.scratch()
    assert len(list(temporary.iterdir())) == 1
    del manager
    gc.collect()
    assert list(temporary.iterdir()) == []


@pytest.mark.process
def test_a_script_runs_twice_and_a_forgotten_manager_ends_with_the_interpreter(temporary: Path, tmp_path: Path) -> None:
    """Also where a forked child exits by the usual way; nothing is left, and nothing is said."""
    code = """
manager = spex.scratch(learning_mode=True).start()
manager.init_instance(Door, 1)
pid = os.fork()
if pid == 0:
    sys.exit()
os.waitpid(pid, 0)
manager.transition(1, "open", "opened")
print(manager.get_instance(1).current_state, os.path.isdir(manager.data_dir))
"""
    for _ in range(2):
        done = run(code, tmp_path)
        assert (done.stdout, done.stderr) == ("opened True\n", "")
        assert list(temporary.iterdir()) == []
