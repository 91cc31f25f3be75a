"""The soak, for a quarter of a minute: its books balance, and it finds what it looks for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import spex_shards as spex
from spex_shards.runtime.holder import start_time
from tests.programs.chaos.specs import Chain
from tests.programs.soak.__main__ import FORBIDDEN
from tests.programs.soak.books import Bookkeeper
from tests.programs.soak.harness import soak
from tests.programs.soak.samples import Samples


@pytest.mark.process
@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.tool("redis-server")
@pytest.mark.usefixtures("no_process_left")
def test_everybody_works_while_everybody_is_killed_and_restarted(tmp_path: Path) -> None:
    """Web server, task workers and a script; nothing is lost, doubled, damaged or left."""
    run = soak(tmp_path, seconds=15, seed=1, kill_every=1.5, restart_every=6)
    assert {name: run.result[name] for name in FORBIDDEN} == dict.fromkeys(FORBIDDEN, 0)
    assert run.books.wrong == []
    assert sum(run.result["kills"].values()) > 3
    assert sum(run.result["restarts"].values()) > 0
    assert run.result["observations"] > 1000
    assert run.result["web answers"]["200"] > 50


@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
def test_the_bookkeeper_finds_what_is_missing_and_what_is_too_much(places: dict[str, Path], tmp_path: Path) -> None:
    """Of a process that is gone; what it observed is deleted then. A living one's journal is left alone."""
    journals = tmp_path / "journals"
    journals.mkdir()
    gone, alive = "web-1-999999999", f"web-{os.getpid()}-{start_time(os.getpid())}"
    for name in (gone, alive):
        (journals / f"{name}.journal").write_text("start\ni 1 0\na 1 0\ni 1 1\na 1 1\ni 2 0\na 2 0\ni 3 0\n")
    with spex.ShardedInstanceManager(**places, distribution_factor=2, learning_mode=True) as manager:
        for number in (1, 3):
            manager.init_instance(Chain, (gone, number))
        manager.transition((gone, 3), "go", "s1")
        books = Bookkeeper(journals, manager)
        books.balance(settled=0)
        assert books.totals["lost"] == 2  # a step of the first, and the second
        assert books.totals["doubled or out of order"] == 1  # the third
        assert len(books.wrong) == 3
        assert (books.totals["processes"], books.left()) == (1, 0)
    assert [path.stem for path in journals.glob("*.journal")] == [alive]


def test_what_grows_is_not_flat(tmp_path: Path) -> None:
    """By more than a quarter and some."""
    samples = Samples()
    samples.series["a", "memory, MB"] = [50.0] * 30 + [60.0] * 10
    samples.series["b", "memory, MB"] = [50.0] * 30 + [90.0] * 10
    samples.take({"me": [os.getpid()], "gone": [2**22 + 1]}, tmp_path)
    flat = {group: fine for group, *_, fine in samples.table()}
    assert (flat["a"], flat["b"]) == (True, False)
    assert "gone" not in flat
    assert samples.series["me", "threads"][0] >= 1
