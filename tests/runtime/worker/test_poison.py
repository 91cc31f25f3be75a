"""A request that kills its shard is refused after three deaths, alone; a hung shard is killed and restarted."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.runtime.protocol import records
from spex_shards.runtime.supervisor.restart import RestartIntensity
from spex_shards.runtime.supervisor.suspect_file import keep_suspects, read_suspects
from spex_shards.runtime.system.hang import HangWatch
from spex_shards.runtime.worker.shard_page import ShardPage, Suspect
from spex_shards.runtime.worker.suspects import Suspects
from tests.support.deadly_specs import Deadly, DeadlyTimer, write_models
from tests.support.helper_specs import Door
from tests.support.processes import wait_until

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]


@pytest.fixture
def start(places: dict[str, Path]) -> Iterator[Callable[..., spex.ShardedInstanceManager]]:
    """Return a function that starts a manager of one shard with the deadly models."""
    made: list[spex.ShardedInstanceManager] = []
    write_models(places["impl_models_dir"])

    def make(**options: Any) -> spex.ShardedInstanceManager:
        options = {"distribution_factor": 1, "call_timeout": 30, "max_restarts": 0, **options}
        made.append(spex.ShardedInstanceManager(**places, **options).start())
        return made[-1]

    yield make
    for manager in made:
        manager.close()


@pytest.mark.parametrize(
    ("action", "last_exit"), [("exit", "exit code 3"), ("segfault", "SIGSEGV"), ("kill", "SIGKILL")]
)
def test_a_request_that_kills_its_shard_is_refused_after_three_deaths(
    start: Callable[..., spex.ShardedInstanceManager], action: str, last_exit: str
) -> None:
    """Its caller gets `PoisonRequest`, nothing of it is kept, the deaths do not count, and the shard continues."""
    manager = start()
    manager.init_instance(Deadly, 1)
    with pytest.raises(
        spex.PoisonRequest, match=f"died 3 times while it carried out this transition.*{last_exit}"
    ) as e:
        manager.transition(1, action, "gone")
    assert (e.value.shard, e.value.maybe_executed) == (0, False)
    assert last_exit in e.value.exit
    [shard] = manager.shards()
    assert (shard.status, shard.restarts) == ("READY", 3)
    manager.transition(1, "go", "here")
    assert [entry.action for entry in manager.get_instance(1).history] == [spex.INITIALISATION, "go"]


def test_what_a_shard_died_with_is_known_to_the_next_supervisor(
    start: Callable[..., spex.ShardedInstanceManager], places: dict[str, Path]
) -> None:
    """It takes three deaths in all; the kill of the supervisor in between blames no request."""
    manager = start()
    manager.init_instance(Deadly, 1)
    supervisor = manager.transport.ownership.pid
    folder = places["data_dir"] / "shard-000"

    def deaths() -> list[int]:
        return [count for *_, count, _ in read_suspects(folder).plain()]

    with ThreadPoolExecutor() as pool:
        gone = places["data_dir"] / "gone"
        call = pool.submit(manager.try_transition, 1, "exit until", str(gone))
        wait_until(lambda: deaths() == [1], "the shard has died with it once")
        gone.with_suffix(".slow").touch()  # the next time it waits for the supervisor to be killed
        wait_until(lambda: gone.with_suffix(".waits").exists(), "it is being executed")
        os.kill(supervisor, signal.SIGKILL)
        wait_until(lambda: manager.transport.ownership.pid != supervisor, "there is another supervisor")
        gone.with_suffix(".slow").unlink()
        refusal = call.result(timeout=60)
    assert isinstance(refusal, spex.PoisonRequest)
    assert "died 3 times" in str(refusal)
    assert deaths() == [3]


def test_suspects_survive_as_data_and_a_damaged_file_is_none(tmp_path: Path) -> None:
    """The newest thousand are kept; other content of the file does no harm."""
    suspects = Suspects()
    suspects.died(Suspect(b"c" * 16, 7), "SIGKILL")
    suspects.died(Suspect(b"k" * 16, 0), "exit code 3")
    suspects.died(Suspect(b"c" * 16, 7), "SIGSEGV")
    keep_suspects(tmp_path, suspects)
    assert (
        read_suspects(tmp_path).plain()
        == suspects.plain()
        == [[b"k" * 16, 0, 1, "exit code 3"], [b"c" * 16, 7, 2, "SIGSEGV"]]
    )
    for spoilt in (b"", b"x" * 100, records.seal(7), records.seal([[1]]), records.seal([[b"c", "x", 1, "how"]])):
        (tmp_path / "suspects").write_bytes(spoilt)
        assert not read_suspects(tmp_path)
    (tmp_path / "suspects").unlink()
    assert not read_suspects(tmp_path)
    keep_suspects(tmp_path / "not there", suspects)


def test_one_poison_among_a_hundred_pipelined_requests_is_refused_alone(
    start: Callable[..., spex.ShardedInstanceManager],
) -> None:
    """The other 99 are applied in order; `flush` raises the one refusal."""
    manager = start()
    manager.init_instance(Deadly, 1)
    for number in range(100):
        if number == 50:
            manager.transition_nowait(1, "exit", "gone")
        else:
            manager.transition_nowait(1, f"a{number}", "here")
    with pytest.raises(ExceptionGroup) as caught:
        manager.flush()
    assert [type(error) for error in caught.value.exceptions] == [spex.PoisonRequest]
    actions = [entry.action for entry in manager.get_instance(1).history][1:]
    assert actions == [f"a{number}" for number in range(100) if number != 50]


def test_a_refusal_is_remembered_like_any_answer(start: Callable[..., spex.ShardedInstanceManager]) -> None:
    """After other poisons and a kill from outside, it is not carried out again, and is not in the history."""
    manager = start(max_restarts=10)
    for number in range(3):
        manager.init_instance(Deadly, number)
        with pytest.raises(spex.PoisonRequest):
            manager.transition(number, "exit", "gone")
    pid = manager.shards()[0].pid
    os.kill(pid, signal.SIGKILL)
    manager.transition(0, "go", "here")
    assert len(manager.get_instance(0).history) == 2


def test_a_request_that_kills_its_shard_once_is_carried_out(
    start: Callable[..., spex.ShardedInstanceManager], tmp_path: Path
) -> None:
    """As after a kill from outside, it is carried out again, and its caller sees a longer call."""
    manager = start()
    manager.init_instance(Deadly, 1)
    manager.transition(1, "exit once", str(tmp_path / "died"))
    assert manager.get_instance(1).current_state == str(tmp_path / "died")
    assert manager.shards()[0].restarts == 1


def test_a_timer_whose_handler_kills_the_shard_is_done_after_three_deaths(
    start: Callable[..., spex.ShardedInstanceManager], caplog: pytest.LogCaptureFixture
) -> None:
    """Its row is marked as done, a `HandlerError` is logged, and other timeouts are reported."""
    caplog.set_level(logging.ERROR, "spex_shards")
    manager = start()
    manager.init_instance(DeadlyTimer, "deadly", meta={"do": "exit"})
    manager.init_instance(DeadlyTimer, "harmless")
    wait_until(lambda: "any more: the shard died 3 times" in caplog.text, "the timer is given up")
    wait_until(lambda: "'harmless' of deadly.DeadlyTimer has been in state" in caplog.text, "the other is reported")
    assert manager.shards()[0].restarts == 3
    assert "instance 'deadly' any more: the shard died 3 times (the last time: exit code 3)" in caplog.text
    assert sum("any more" in record.getMessage() for record in caplog.records) == 1


def test_a_stopped_shard_is_killed_and_restarted(start: Callable[..., spex.ShardedInstanceManager]) -> None:
    """After SIGSTOP, `last_exit` says that it hung; the next process carries out the waiting request."""
    manager = start(hang_timeout=0.5, max_restarts=3)
    manager.init_instance(Deadly, 1)
    pid = manager.shards()[0].pid
    os.kill(pid, signal.SIGSTOP)
    manager.transition(1, "go", "here")
    [shard] = manager.shards()
    assert shard.pid != pid
    assert "hung, no progress within hang_timeout=0.5 s" in str(shard.last_exit)


def test_a_handler_that_never_returns_is_poison(start: Callable[..., spex.ShardedInstanceManager]) -> None:
    """The shard is killed three times, and the request refused."""
    manager = start(hang_timeout=0.5)
    manager.init_instance(Deadly, 1)
    with pytest.raises(spex.PoisonRequest, match=r"hung, no progress within hang_timeout=0\.5 s"):
        manager.transition(1, "hang", "gone")
    assert manager.shards()[0].restarts == 3
    assert len(manager.get_instance(1).history) == 1


def test_an_idle_shard_is_not_hung(start: Callable[..., spex.ShardedInstanceManager]) -> None:
    """It answers pings, and keeps its process for many times its hang_timeout."""
    manager = start(hang_timeout=0.1)
    pid = manager.shards()[0].pid
    before = _waits(pid)
    wait_until(lambda: _waits(pid) > before + 30, "the worker has answered many times")
    assert manager.shards()[0].pid == pid


def _waits(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("voluntary_ctxt_switches:")[1].split()[0])


# ---------------------------------------------------------------------- the parts, without processes


def test_the_page_says_what_was_being_executed_until_it_is_cleared() -> None:
    """It names a request by client and number, or a timer by its key, and only once."""
    page = ShardPage()
    assert page.take() is None
    page.executing(b"c" * 16, 7)
    assert page.take() == Suspect(b"c" * 16, 7)
    assert page.take() is None
    page.timing(b"k" * 16)
    assert page.take() == Suspect(b"k" * 16, 0)
    page.executing(b"c" * 16, 8)
    page.clear()
    assert page.take() is None
    assert page.counter() == 3
    page.bump()
    assert page.counter() == 4


def test_a_suspect_is_poison_after_three_deaths_and_old_ones_are_forgotten() -> None:
    """Each suspect is counted separately; a thousand are kept."""
    suspects = Suspects()
    one, other = Suspect(b"a" * 16, 1), Suspect(b"a" * 16, 2)
    for _ in range(3):
        assert not suspects.is_poison(one)
        suspects.died(one, "SIGSEGV")
    suspects.died(other, "SIGKILL")
    assert (suspects.is_poison(one), suspects.is_poison(other), suspects.how(one)) == (True, False, "SIGSEGV")
    for number in range(1000):
        suspects.died(Suspect(b"b" * 16, number + 1), "SIGKILL")
    assert suspects.deaths(one) == 0


def test_the_deaths_of_poison_do_not_count_towards_restart_intensity() -> None:
    """The first is forgiven when it happens again; deaths of unknown cause count as usual."""
    intensity = RestartIntensity(max_restarts=1, max_seconds=5)
    assert intensity.after_death(0.0, "poison") == 0.0
    intensity.forgive("poison")
    assert intensity.after_death(0.1) == 0.0
    assert intensity.after_death(0.2) is None
    strict = RestartIntensity(max_restarts=0, max_seconds=5)
    assert strict.after_death(0.0, "one") == 0.0
    assert strict.after_death(0.1, "another") is None


def looked(watch: HangWatch, times: list[float], counter: Callable[[float], int], **more: Any) -> list[Any]:
    """Return the results of a watch at several times."""
    return [watch.look(now, counter(now), waits_for_disk=more.get("disk", False)) for now in times]


TIMES = [float(n) for n in range(1, 14)]


def test_a_worker_that_neither_answers_nor_gets_on_is_hung_after_the_timeout() -> None:
    """It is pinged once; nothing happens before the timeout has passed."""
    watch = HangWatch(4.0)
    watch.start(0.0)
    words = looked(watch, TIMES, lambda _: 5)
    assert words.index("hung") + 1 == 5  # the first look saw the counter for the first time: a sign of life
    assert words.count("ping") == 1


def test_who_answers_or_gets_on_or_waits_for_a_disk_is_not_hung() -> None:
    """Each of these signs of life is enough."""
    for case in ("answers", "counts", "disk"):
        watch = HangWatch(4.0)
        watch.start(0.0)
        for now in TIMES:
            word = watch.look(now, int(now) if case == "counts" else 0, waits_for_disk=case == "disk")
            assert word != "hung"
            if word == "ping" and case == "answers":
                watch.answered(now)


def test_a_supervisor_that_wakes_late_starts_its_clock_afresh() -> None:
    """After a suspend, the worker was asleep as well."""
    watch = HangWatch(4.0)
    watch.start(0.0)
    assert looked(watch, [1.0, 2.0, 60.0, 61.0, 62.0, 63.0], lambda _: 0)[2:] == [None, None, None, None]
    assert watch.look(64.0, 0, waits_for_disk=False) == "hung"


def test_nobody_is_hung_without_a_timeout() -> None:
    """None disables the detection."""
    watch = HangWatch(None)
    watch.start(0.0)
    assert watch.next_look is None
    assert watch.look(1e9, 0, waits_for_disk=False) is None


@pytest.mark.long
def test_a_long_delete_is_not_hung(start: Callable[..., spex.ShardedInstanceManager]) -> None:
    """It takes several times the timeout, and makes progress from instance to instance."""
    manager = start(hang_timeout=1.0, learning_mode=True)
    for number in range(60):
        manager.init_instance_nowait(Door, number)
    manager.flush()
    pid = manager.shards()[0].pid

    def slow(_instance: spex.Instance) -> bool:
        import time

        time.sleep(0.06)
        return True

    assert manager.delete_instances(slow) == 60
    assert manager.shards()[0].pid == pid
