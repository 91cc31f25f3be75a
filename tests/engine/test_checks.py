"""Long checks: a helper process makes each once while the shard continues, and the verdict is stored."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.checking.checker import ConformanceChecker
from spex_shards.engine import checks as engine_checks
from spex_shards.runtime.service import Deferred
from tests.support.processes import descendants, wait_until

LENGTH = 600
STEPS = [(f"s{n}", f"a{n}", f"s{n + 1}") for n in range(LENGTH)]


class Large(spex.Specification):
    """A chain that is too long to be checked in a shard's loop; its handler accepts everything."""

    name = "checks.Large"
    transitions = STEPS

    @classmethod
    def error_handler(cls, error: spex.SpexError, caller: Any) -> None:
        """Accept."""


def write_model(folder: Path, steps: list[tuple[str, str, str]]) -> None:
    """Write a model of the chain that does not learn."""
    folder.mkdir(exist_ok=True)
    transitions = frozenset({spex.Transition(None, spex.INITIALISATION, "s0"), *(spex.Transition(*s) for s in steps)})
    model = spex.ImplModel(specification=Large.name, transitions=transitions, learning_mode=False)
    (folder / f"{Large.name}.spex").write_text(model.serialise())


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the judgements that this process makes."""
    made: list[int] = []
    judge = ConformanceChecker.judge

    def counting(checker: ConformanceChecker, *arguments: Any) -> Any:
        made.append(1)
        return judge(checker, *arguments)

    monkeypatch.setattr(ConformanceChecker, "judge", counting)
    return made


def test_the_same_deviation_is_checked_once_and_counted(places: dict[str, Path], counted: list[int]) -> None:
    """This holds after a restart too: the verdict is stored with a digest of what it depends on."""
    write_model(places["impl_models_dir"], STEPS[:-1])
    for run in (1, 2):
        with spex.SimpleInstanceManager(**places) as manager:
            for number in range(50):
                manager.init_instance(Large, (run, number))
                manager.transition((run, number), "wrong", "s9")
            [deviation] = manager.deviations()
            assert (deviation.count, deviation.verdict) == (50 * run, spex.Verdict.VIOLATION)
    assert len(counted) == 1


def test_another_model_is_judged_anew(places: dict[str, Path], counted: list[int]) -> None:
    """A verdict holds only for its model, specification and accepted deviations."""
    for steps, verdict in ((STEPS[:-1], spex.Verdict.EQUIVALENT), (STEPS[:-2], spex.Verdict.INCOMPLETE)):
        write_model(places["impl_models_dir"], steps)
        with spex.SimpleInstanceManager(**places) as manager:
            manager.mock_instance(Large, 1, f"s{LENGTH - 1}")
            manager.transition(1, f"a{LENGTH - 1}", f"s{LENGTH}")
            [deviation] = manager.deviations()
            assert deviation.verdict == verdict
    assert len(counted) == 2


@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
def test_others_go_on_while_a_long_check_is_made(places: dict[str, Path]) -> None:
    """The caller of the deviation waits, and so do its later requests; requests of another process do not."""
    write_model(places["impl_models_dir"], STEPS[:-1])
    with spex.ShardedInstanceManager(**places, distribution_factor=1, call_timeout=30) as manager:
        manager.init_instance(Large, 1)
        with spex.connect(places["data_dir"], call_timeout=30) as other:
            other.init_instance(Large, 2)
            worker = manager.shards()[0].pid
            assert worker is not None
            for number in range(200):
                manager.transition_nowait(1, f"wrong{number % 5}", "s0")
                other.transition(2, "a0", "s1")
                other.mock_instance(Large, 2, "s0")
            manager.flush()
        assert [d.count for d in manager.deviations()] == [40] * 5
        assert len(manager.get_instance(1).history) == 201
        assert manager.shards()[0].restarts == 0


@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
def test_a_check_whose_helper_is_killed_is_made_all_the_same(places: dict[str, Path]) -> None:
    """The shard's own process makes it, and the caller notices nothing."""
    write_model(places["impl_models_dir"], STEPS[:-1])
    with spex.ShardedInstanceManager(**places, distribution_factor=1, call_timeout=30) as manager:
        manager.init_instance(Large, 1)
        worker = manager.shards()[0].pid
        assert worker is not None
        done = threading.Event()

        def kill_helpers() -> None:
            while not done.is_set():
                for pid in descendants(worker):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass

        killer = threading.Thread(target=kill_helpers)
        killer.start()
        try:
            for number in range(20):
                manager.transition(1, f"wrong{number}", "s0")
        finally:
            done.set()
            killer.join()
        assert len(manager.deviations()) == 20
        assert manager.shards()[0].pid == worker


@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
def test_a_client_that_dies_while_its_check_is_made_leaves_the_shard_unharmed(places: dict[str, Path]) -> None:
    """The verdict has no recipient, and is used for the next request."""
    write_model(places["impl_models_dir"], STEPS[:-1])
    with spex.ShardedInstanceManager(**places, distribution_factor=1, call_timeout=30) as manager:
        manager.init_instance(Large, 1)
        pid = os.fork()
        if pid == 0:
            manager.transition_nowait(1, "wrong", "s0")
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
        manager.transition(1, "wrong", "s0")
        wait_until(lambda: manager.deviations()[0].count >= 1, "the deviation is counted")
        assert manager.shards()[0].restarts == 0


def stop(pid: int) -> bool:
    """SIGSTOP a process; return whether it is stopped, and has not ended."""

    def state() -> str:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return "X"

    if state() == "X":
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    return wait_until(lambda: state() in "TZX" and state(), "it is stopped or gone") == "T"


@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
@pytest.mark.long
def test_a_shard_that_is_told_to_stop_does_not_wait_for_a_check_for_ever(
    places: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """It ends by itself although the helper is stopped and a client waits; its next process applies the observation."""
    write_model(places["impl_models_dir"], STEPS[:-1])
    with spex.ShardedInstanceManager(**places, distribution_factor=1, call_timeout=30) as manager:
        manager.init_instance(Large, 1)
        worker = manager.shards()[0].pid
        other = spex.connect(places["data_dir"], call_timeout=1)
        numbers = count()

        def stopped() -> bool:
            other.transition_nowait(1, f"wrong{next(numbers)}", "s0")
            return any(map(stop, descendants(worker)))

        wait_until(stopped, "a helper that checks is stopped")
    assert "did not stop by itself" not in caplog.text
    with pytest.raises((ExceptionGroup, spex.ShardError)):
        other.close()


def never() -> Any:
    """Fail: it must not be asked."""
    pytest.fail("asked again")


def test_small_models_are_checked_at_once() -> None:
    """No helper is used where the check itself takes less time."""
    checks = engine_checks.Checks()
    checks.elsewhere = True
    verdict = spex.Verdict.VIOLATION
    assert checks.verdict(b"k", engine_checks.LARGE, soon=lambda: verdict, work=never) == verdict
    with pytest.raises(Deferred):
        checks.verdict(b"k", engine_checks.LARGE + 1, soon=never, work=never)
    checks.found(b"k", verdict)
    assert checks.verdict(b"k", engine_checks.LARGE + 1, soon=never, work=never) == verdict


def test_a_small_model_that_is_hard_to_judge_is_checked_elsewhere() -> None:
    """A search that would hold the shard up for long is given up after some milliseconds."""
    checks = engine_checks.Checks()
    checks.elsewhere = True
    with pytest.raises(Deferred) as deferred:
        checks.verdict(b"k", 10, soon=lambda: None, work=lambda: spex.Verdict.INCOMPLETE)
    assert deferred.value.work() == "incomplete"
    checks.elsewhere = False
    assert checks.verdict(b"k", 10, soon=never, work=lambda: spex.Verdict.INCOMPLETE) == spex.Verdict.INCOMPLETE


def colouring(size: int, colours: int) -> tuple[spex.LTS, frozenset[spex.Transition]]:
    """Return a specification whose states are colours, and a model that fits where a dense graph has a colouring."""
    names = [f"c{n}" for n in range(colours)]
    spec = [("start", "pick", one) for one in names]
    spec += [(one, "edge", other) for one in names for other in names if one != other]
    spec += [(one, f"is {one}", one) for one in names]
    graph = Random(3)
    steps = [spex.Transition("start", "pick", f"v{n}") for n in range(size)]
    steps += [
        spex.Transition(f"v{one}", "edge", f"v{other}")
        for one in range(size)
        for other in range(size)
        if one != other and graph.random() < 0.5
    ]
    return spex.LTS("start", spec), frozenset([spex.Transition(None, spex.INITIALISATION, "start"), *steps])


def test_a_question_that_needs_a_search_is_given_up_soon() -> None:
    """A colouring is such a question; with all effort it has an answer, which is remembered for both."""
    spec, known = colouring(14, 6)
    checker = ConformanceChecker(spec)
    extra = spex.Transition("v0", "edge", "v1")
    assert checker.judge_soon(known, extra) is None
    verdict = checker.judge(known, extra)
    assert verdict in (spex.Verdict.INCOMPLETE, spex.Verdict.VIOLATION)
    assert checker.judge_soon(known, extra) is verdict
