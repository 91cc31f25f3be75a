"""`spex-shards revive`: restarts shards that were given up, from another process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import spex_shards as spex
from tests.support.processes import kill_worker, wait_until

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]


def run(*arguments: object) -> tuple[int, str, str]:
    """Run the command in this process."""
    from spex_shards.cli import app

    done = CliRunner().invoke(app, ["revive", *map(str, arguments)], catch_exceptions=False)
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def served(places: dict[str, Path]) -> Any:
    """Return a manager with three shards, each of which is given up at its first death."""
    options = {"distribution_factor": 3, "max_restarts": 0, "retry_failed": None, "call_timeout": 20}
    with spex.ShardedInstanceManager(**places, **options) as manager:
        yield manager


def give_up(manager: Any, index: int) -> None:
    """Kill a shard, so that it is given up."""
    kill_worker(manager, index)
    wait_until(lambda: manager.shards()[index].status is spex.ShardStatus.FAILED, f"shard {index} is given up")


def test_all_shards_that_were_given_up_are_started_again(served: Any, places: dict[str, Path]) -> None:
    """The third shard keeps its process."""
    pid = served.shards()[1].pid
    for index in (0, 2):
        give_up(served, index)
    assert run(places["data_dir"]) == (0, "shard 0: started\nshard 2: started\n", "")
    assert [shard.status for shard in served.shards()] == [spex.ShardStatus.READY] * 3
    assert served.shards()[1].pid == pid
    assert run(places["data_dir"]) == (0, "no shard is FAILED\n", "")
    assert run(places["data_dir"], 1) == (0, "shard 1 is READY\n", "")


def test_one_shard_alone_is_started_again(served: Any, places: dict[str, Path]) -> None:
    """The other shard stays FAILED; the output is JSON."""
    for index in (0, 2):
        give_up(served, index)
    code, out, _ = run(places["data_dir"], 2, "--format", "json")
    assert (code, json.loads(out)) == (0, {"revived": [2], "failed": []})
    assert served.shards()[2].status is spex.ShardStatus.READY
    assert served.shards()[0].status is spex.ShardStatus.FAILED


def test_a_shard_that_cannot_be_started_is_exit_code_one_and_says_why(served: Any, places: dict[str, Path]) -> None:
    """The cause is still there; once it is removed, the shard starts."""
    layout = places["data_dir"] / "shard-001" / "data.mdb"
    layout.chmod(0o666)
    give_up(served, 1)
    code, out, _ = run(places["data_dir"])
    assert code == 1
    assert out.startswith("shard 1: could not be started: shard 1")
    assert "data.mdb can be written by other users (mode 0666)" in out
    code, out, _ = run(places["data_dir"], "--format", "json")
    found = json.loads(out)
    assert (code, found["revived"], found["failed"][0]["shard"]) == (1, [], 1)
    layout.chmod(0o600)
    assert run(places["data_dir"])[0] == 0


def test_what_cannot_be_done_is_exit_code_two(served: Any, places: dict[str, Path], tmp_path: Path) -> None:
    """There is no such shard, no directory, or no process that serves it."""
    code, out, error = run(places["data_dir"], 3)
    assert (code, out, error) == (2, "", "error: INDEX must be a shard's, 0 to 2, got: 3\n")
    code, out, error = run(tmp_path / "nothing", "--format", "json")
    assert (code, list(json.loads(out))) == (2, ["error"])
    assert "there is no data directory" in error
    served.close()
    assert run(places["data_dir"])[0] == 2
