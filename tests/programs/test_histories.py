"""Concurrent clients under faults: their histories agree with PostgreSQL's rows, and what is broken is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

import spex_shards as spex
from tests.programs.histories.__main__ import carry_out, main, table
from tests.programs.histories.clock import Clock
from tests.programs.histories.local import Local
from tests.programs.histories.run import Row, Run, plan
from tests.programs.histories.verdict import LOST, ONCE, OWNERS, REAL_TIME

pytestmark = [pytest.mark.postgres, pytest.mark.process]
TAKES_OVER = "rival takes over, paused owner goes on"
READS_ON = "rival takes over, paused owner only reads"
QUICK = ("worker killed", "connections cut during the commit", TAKES_OVER)


def under_faults(faults: tuple[str, ...], count: int, **options: bool) -> list[Row]:
    """Return what came of a run over a deployment on this machine; no promise may be broken."""
    rows = carry_out(lambda: Local(**options), faults, count, seed=1, say=lambda *_: None)
    assert [violation for row in rows for violation in row.violations] == []
    for row in rows[:-1]:
        assert row.acknowledged > 100
        assert row.reads > 10
        assert row.batches > 10
        assert row.stored + row.lost >= row.acknowledged
    return rows


def broken_at(breakage: str, fault: str, rounds: int) -> set[str]:
    """Return the rules that a broken deployment breaks within some rounds.

    One that is broken on purpose may also end up so that nobody can read from it any more; then another one is made.
    """
    for seed in range(1, 4):
        with suppress(spex.SpexError), Run(Local(breakage=breakage), seed=seed) as run:
            for _ in range(rounds):
                found = {violation.rule for violation in run.round(fault, timers=False).violations}
                if found:
                    return found
            return set()
    return set()


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_histories_under_a_few_faults_break_no_promise() -> None:
    """Seven clients write and read; a worker dies, connections break, and an owner goes on after it was replaced."""
    rows = under_faults(QUICK, 3)
    assert {row.fault for row in rows[:-1]} == set(QUICK)
    [taken_over] = [row for row in rows if row.fault == TAKES_OVER]
    assert taken_over.unknown > 100  # so deep were the queues of the paused owner


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_histories_under_all_faults_break_no_promise() -> None:
    """All faults of processes, clocks, the server and connections, once each."""
    faults = Local().faults
    assert {row.fault for row in under_faults((), len(faults))[:-1]} == set(faults)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_a_failover_loses_nothing_or_the_loss_is_noticed() -> None:
    """To a synchronous replica, and to one that lacks what was acknowledged: the loss there is said to be one."""
    kinds = ("failover to the synchronous replica", "failover to a replica that lacks batches")
    lost = {row.fault: row.lost for row in under_faults(kinds, 2, replicated=True)}
    assert lost[kinds[0]] == 0
    assert lost[kinds[1]] > 0


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
@pytest.mark.parametrize(
    ("breakage", "fault", "rounds", "rules"),
    [
        pytest.param("no-fence", TAKES_OVER, 3, {LOST, OWNERS}, id="batches do not ask who owns the shard"),
        pytest.param("no-confirmation", READS_ON, 3, {REAL_TIME}, id="reads do not ask who owns the shard"),
        pytest.param("no-numbers", "worker killed", 12, {ONCE}, id="what is sent again is applied again"),
    ],
)
def test_histories_find_shards_that_are_broken_on_purpose(
    breakage: str, fault: str, rounds: int, rules: set[str]
) -> None:
    """The controls: without any of these violations, a run without violations would say nothing."""
    assert rules <= broken_at(breakage, fault, rounds)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("no_process_left")
def test_the_program_says_what_it_found_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The third control: a batch whose connection broke is taken for kept. The exit code is 1, and the file has all."""
    file, fault = tmp_path / "found.json", "connections cut before the commit"
    arguments = ["--deployment", "local", "--faults", "2", "--seed", "1", "--break", "no-look"]
    assert main([*arguments, "--only", fault, "--json", str(file)]) == 1
    printed = capsys.readouterr().out
    assert f"1/2 {fault}: pause" in printed
    found = json.loads(file.read_text())
    assert found["seed"] == 1
    assert LOST in {violation["rule"] for row in found["rows"] for violation in row["violations"]}


def test_an_owner_that_gave_up_is_started_again() -> None:
    """As a service manager does; the run counts it."""
    local, started = Local(), list[bool]()
    local.owner = SimpleNamespace(process=SimpleNamespace(poll=lambda: None), start=lambda: started.append(True))
    assert (local.tend(), started) == (0, [])
    local.owner.process.poll = lambda: 2
    assert (local.tend(), started) == (1, [True])
    assert sum(local.remarks().values()) == 1


def test_a_round_that_does_not_end_is_a_violation_and_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table still has what came before it."""
    rounds = iter([Row("worker killed", acknowledged=7)])
    monkeypatch.setattr(Run, "__enter__", lambda run: run)
    monkeypatch.setattr(Run, "__exit__", lambda *_: None)
    monkeypatch.setattr(Run, "round", lambda *_: next(rounds, None) or pytest.fail("waited in vain"))
    rows = carry_out(Local, ["worker killed"], 5, 1, lambda *_: None)
    assert [[violation.text for violation in row.violations] for row in rows] == [[], ["waited in vain"]]
    assert table(rows) == [["worker killed", "2", "0.0 s", "7", "0", "0", "0", "0", "0", "1"]]


def test_a_seed_gives_a_plan_in_which_each_fault_is_as_frequent_as_the_others() -> None:
    """The same seed the same plan."""
    names = ["a", "b", "c"]
    assert plan(names, 10, 5) == plan(names, 10, 5) != plan(names, 10, 6)
    assert sorted(map(plan(names, 9, 7).count, names)) == [3, 3, 3]


@pytest.mark.tool("gcc")
def test_the_clock_of_an_owner_can_be_set_while_it_runs(tmp_path: Path) -> None:
    """The time of day changes, and the clock that waits are measured by does not."""
    clock = Clock(tmp_path)
    command = [sys.executable, "-uc", "import time\nwhile input(): print(time.time(), time.monotonic())"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **clock.environment}
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for wrong_by in (0.0, 3600.0, -3600.0, 0.0):
            clock.set(wrong_by)
            process.stdin.write("go\n")
            process.stdin.flush()
            shown, steady = map(float, process.stdout.readline().split())
            assert abs(shown - time.time() - wrong_by) < 20
            assert abs(steady - time.monotonic()) < 20
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(20) == 0
