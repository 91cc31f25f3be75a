"""Shards are killed at random while four threads observe: nothing is lost, doubled or out of order."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from tests.programs.chaos.__main__ import FORBIDDEN
from tests.programs.chaos.harness import chaos
from tests.support.places import LONG
from tests.support.processes import descendants, is_gone, kill_worker, wait_until

KILLS = 24
PER_KILL = 150


class Chain(spex.Specification):
    """A specification without rules: this test compares histories only."""

    name = "tests.Chain"
    transitions = [("start", "go", "on")]


class Writer(threading.Thread):
    """Observes instances of its own, blocking and not, and keeps its own tally."""

    def __init__(self, manager: spex.ShardedInstanceManager, number: int, go_on: threading.Event) -> None:
        super().__init__()
        self.manager = manager
        self.number = number
        self.go_on = go_on
        self.random = random.Random(number)
        self.issued: dict[tuple[int, int], list[tuple[str, str]]] = {}
        self.count = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.go_on.is_set() or self.count < PER_KILL:
                self._observe()
        except BaseException as error:
            self.error = error

    def _observe(self) -> None:
        identifier = (self.number, self.random.randrange(50))
        waits = self.random.random() < 0.3
        self.count += 1
        if identifier not in self.issued:
            self.issued[identifier] = [("__initialisation__", "start")]
            call = self.manager.init_instance if waits else self.manager.init_instance_nowait
            call(Chain, identifier)
            return
        step = (f"a{self.random.randrange(5)}", f"s{self.count}")
        self.issued[identifier].append(step)
        call = self.manager.transition if waits else self.manager.transition_nowait
        call(identifier, *step)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_every_history_is_exactly_as_issued_though_workers_are_killed_at_random(places: dict[str, Path]) -> None:
    """Four threads, three shards, 24 kills: histories and tallies agree, and no process is left."""
    manager = spex.ShardedInstanceManager(
        **places, distribution_factor=3, learning_mode=True, max_restarts=1000, call_timeout=30.0
    )
    with manager:
        enough = threading.Event()
        writers = [Writer(manager, number, enough) for number in range(4)]
        for writer in writers:
            writer.start()
        kill_often(manager, writers)
        enough.set()
        for writer in writers:
            writer.join(60)
        assert [writer.error for writer in writers] == [None] * 4
        manager.flush()
        check(manager, writers)
        assert sum(shard.restarts for shard in manager.shards()) == KILLS
        everything = descendants()
    assert not [pid for pid in everything if not is_gone(pid)]


def kill_often(manager: spex.ShardedInstanceManager, writers: list[Writer]) -> None:
    """Kill a random worker whenever the writers have made some progress."""
    chance = random.Random(os.getpid())
    for kill in range(KILLS):
        goal = (kill + 1) * PER_KILL
        wait_until(lambda goal=goal: sum(w.count for w in writers) >= goal or any(w.error for w in writers), "progress")
        index = chance.randrange(3)
        # Three deaths in a row before a process is ready give its shard up, and a busy machine is slow to start one.
        wait_until(lambda index=index: manager.shards()[index].status is spex.ShardStatus.READY, "it is ready")
        kill_worker(manager, index)


def check(manager: Any, writers: list[Writer]) -> None:
    """Compare the stored histories with the requested ones."""
    issued = {identifier: history for writer in writers for identifier, history in writer.issued.items()}
    stored = {
        instance.identifier: [(entry.action, entry.to_state) for entry in instance.history]
        for instance in manager.all_instances()
    }
    assert stored == issued
    expected: set[spex.Transition] = set()
    for history in issued.values():
        source = None
        for action, target in history:
            expected.add(spex.Transition(source, action, target))
            source = target
    [model] = manager.all_impl_models()
    assert model.transitions == expected


@pytest.mark.long
@pytest.mark.process
@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_nothing_is_lost_when_workers_supervisors_servers_and_applications_are_killed(tmp_path: Path) -> None:
    """A served directory, three applications, some kills at random instants, and shortages; ``make chaos`` has 2,000.

    What an application knew to be acknowledged, by its journal, is there; each observation is there once, and in order.
    """
    table = chaos(tmp_path, kills=40 if LONG else 12, seed=os.getpid())
    assert {name: table[name] for name in FORBIDDEN} == dict.fromkeys(FORBIDDEN, 0)
    # Who ends before it has said what it logged leaves that to the next: any number of timeouts, each once more.
    ends = sum(table["kills"].get(kind, 0) for kind in ("application", "application by SIGTERM", "server"))
    # A server whose supervisor is killed before it is ready ends by itself.
    ends += (tmp_path / "server.log").read_text(errors="replace").count('"event": "start"') - 1
    assert table["most reports of one timeout"] <= 1 + ends + sum(table["applications that gave up"].values())
    assert table["acknowledged"] > (500 if LONG else 100)
