"""Real processes: deaths, restarts, orphans, forks, full pipes, and what the application sees of them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.runtime.protocol import codec
from tests.support.processes import descendants, is_gone, kill_worker, wait_until

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]


class Light(spex.Specification):
    """A traffic light."""

    name = "tests.Light"
    transitions = [("red", "go", "green"), ("green", "stop", "red")]


@pytest.fixture
def sharded(places: dict[str, Path]) -> Any:
    """Return a started manager with two shards that learn."""
    with spex.ShardedInstanceManager(
        **places, distribution_factor=2, learning_mode=True, call_timeout=20.0, max_restarts=100
    ) as manager:
        yield manager


def ready(manager: spex.ShardedInstanceManager) -> bool:
    """Return whether every shard is ready."""
    return all(shard.status is spex.ShardStatus.READY for shard in manager.shards())


def stop(pid: int) -> None:
    """SIGSTOP a process and wait until it is stopped."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", f"{pid} is stopped")


def run_owner(body: str, places: dict[str, Path]) -> subprocess.Popen[str]:
    """Start a process that prints the pids of its processes, and then runs `body` with a manager that it owns."""
    script = f"""
import os, sys, time, signal
import spex_shards as spex
class Light(spex.Specification):
    name = "tests.Light"
    transitions = [("red", "go", "green"), ("green", "stop", "red")]
manager = spex.ShardedInstanceManager(data_dir={str(places["data_dir"])!r}, distribution_factor=2, learning_mode=True,
                                      impl_models_dir={str(places["impl_models_dir"])!r}).start()
manager.init_instance(Light, 1)
{body}
print(manager.transport.ownership.pid, *(shard.pid for shard in manager.shards()), flush=True)
sys.stdin.readline()
manager.close()
"""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, text=True, start_new_session=True)


def pids_of(owner: subprocess.Popen[str]) -> list[int]:
    """Return the pids of supervisor and workers that an owner printed."""
    assert owner.stdout is not None
    return [int(word) for word in owner.stdout.readline().split()]


def close_pipes(owner: subprocess.Popen[str]) -> None:
    """Reap a process that was started by `run_owner`."""
    owner.communicate(timeout=20)


def test_a_call_after_a_workers_death_waits_for_its_successor(sharded: Any) -> None:
    """The caller of a killed shard sees a longer call and no error; the other shard keeps its process."""
    sharded.init_instance(Light, 1)
    before = sharded.shards()
    shard = sharded.transport.channel(codec.canonical(1)).shard
    kill_worker(sharded, shard)
    sharded.transition(1, "go", "green")
    after = sharded.shards()

    assert sharded.get_instance(1).current_state == "green"
    assert (after[shard].restarts, after[1 - shard].restarts) == (1, 0)
    assert after[shard].pid != before[shard].pid
    assert after[1 - shard].pid == before[1 - shard].pid
    assert after[shard].last_exit is not None
    assert "SIGKILL" in after[shard].last_exit
    assert "out of memory" in after[shard].last_exit


def test_what_was_sent_without_waiting_survives_its_workers_death(sharded: Any) -> None:
    """Both workers are killed during two thousand observations: all are there, in order."""
    sharded.init_instance_nowait(Light, "x")
    for number in range(2000):
        sharded.transition_nowait("x", "go" if number % 2 == 0 else "stop", str(number))
        if number in (700, 1400):
            kill_worker(sharded, 0)
            kill_worker(sharded, 1)
    sharded.flush(30)
    history = sharded.get_instance("x").history
    assert [entry.to_state for entry in history] == ["red", *(str(number) for number in range(2000))]


def test_nothing_is_busy_while_a_shard_takes_nothing(places: dict[str, Path]) -> None:
    """With a stopped worker and a full pipe, unwritten requests wait, and no thread of this process spins."""
    with spex.ShardedInstanceManager(
        **places, distribution_factor=1, learning_mode=True, call_timeout=0.2, hang_timeout=60
    ) as manager:
        manager.init_instance(Light, 1)
        pid = manager.shards()[0].pid
        assert pid is not None
        stop(pid)
        with suppress(spex.CallTimeout):
            while True:
                manager.transition_nowait(1, "go", "green" * 100)
        line = manager.transport.channels[0].lines.current
        assert line.pipes.output
        started, used = time.monotonic(), time.process_time()
        threading.Event().wait(0.5)
        busy = (time.process_time() - used) / (time.monotonic() - started)
        os.kill(pid, signal.SIGCONT)
        manager.flush(20)
    assert busy < 0.2


def test_a_request_whose_worker_is_killed_while_it_waits_is_applied_once(sharded: Any) -> None:
    """A stopped worker is killed with a request in its pipe; the successor carries it out once."""
    sharded.init_instance(Light, 1)
    shard = sharded.transport.channel(codec.canonical(1)).shard
    pid = sharded.shards()[shard].pid
    stop(pid)
    caller = threading.Thread(target=sharded.transition, args=(1, "go", "green"))
    caller.start()
    wait_until(
        lambda: sharded.transport.channels[shard].lines.current.session.unacknowledged == 1, "the request is on its way"
    )
    os.kill(pid, signal.SIGKILL)
    caller.join(20)
    assert not caller.is_alive()
    assert [entry.action for entry in sharded.get_instance(1).history] == ["__initialisation__", "go"]


def test_a_shard_that_dies_too_often_is_failed_and_the_others_go_on(places: dict[str, Path]) -> None:
    """Beyond the restart intensity a shard is FAILED; its calls raise ShardFailed, the other shard's do not."""
    with spex.ShardedInstanceManager(**places, distribution_factor=2, learning_mode=True, max_restarts=1) as manager:
        ours = next(n for n in range(100) if manager.transport.channel(codec.canonical(n)).shard == 0)
        other = next(n for n in range(100) if manager.transport.channel(codec.canonical(n)).shard == 1)
        kill_worker(manager, 0)
        wait_until(lambda: ready(manager), "the shard is there again")
        kill_worker(manager, 0)
        wait_until(lambda: manager.shards()[0].status is spex.ShardStatus.FAILED, "the shard is given up")
        assert manager.shards()[0].pid is None
        with pytest.raises(spex.ShardFailed, match=r"shard 0 .*SIGKILL") as caught:
            manager.init_instance(Light, ours)
        assert caught.value.shard == 0
        assert caught.value.exit is not None
        assert isinstance(manager.try_init_instance(Light, ours), spex.ShardFailed)
        with pytest.raises(spex.ShardFailed):
            manager.init_instance_nowait(Light, ours)
        with pytest.raises(spex.ShardFailed):
            manager.all_instances()
        manager.init_instance(Light, other)

        manager.revive(0)
        manager.init_instance(Light, ours)
        assert {instance.identifier for instance in manager.all_instances()} == {ours, other}


def test_a_killed_supervisor_is_replaced_and_nothing_is_lost(sharded: Any) -> None:
    """SIGKILL of the supervisor takes the workers along; the owner starts another, and every request is applied."""
    for number in range(100):
        sharded.init_instance_nowait(Light, number)
    os.kill(sharded.transport.ownership.pid, signal.SIGKILL)
    for number in range(100, 200):
        sharded.init_instance_nowait(Light, number)
    sharded.flush(30)
    assert {instance.identifier for instance in sharded.all_instances()} == set(range(200))


@pytest.mark.parametrize("stopped", ["nothing", "a worker", "the supervisor"])
def test_all_processes_end_within_two_seconds_of_their_owner(places: dict[str, Path], stopped: str) -> None:
    """Killing the application ends supervisor and workers, also when one of them is stopped."""
    owner = run_owner("", places)
    pids = pids_of(owner)
    if stopped != "nothing":
        stop(pids[1] if stopped == "a worker" else pids[0])
    owner.kill()
    wait_until(lambda: all(is_gone(pid) for pid in pids), "all are gone")
    close_pipes(owner)


def test_all_processes_end_with_their_owner_though_a_forked_child_of_it_lives(places: dict[str, Path]) -> None:
    """A forked child holds copies of all its parent's descriptors, but keeps no process alive by that."""
    owner = run_owner("child = os.fork()\nif child == 0:\n    time.sleep(30)\n    os._exit(0)\nprint(child)", places)
    [child] = pids_of(owner)
    pids = pids_of(owner)
    owner.kill()
    wait_until(lambda: all(is_gone(pid) for pid in pids), "all are gone")
    os.kill(child, signal.SIGKILL)
    close_pipes(owner)


def test_ctrl_c_in_the_applications_terminal_reaches_neither_supervisor_nor_workers(places: dict[str, Path]) -> None:
    """SIGINT to the whole process group of the application leaves the shards at work."""
    owner = run_owner("signal.signal(signal.SIGINT, lambda *_: None); os.killpg(os.getpgrp(), signal.SIGINT)", places)
    pids = pids_of(owner)
    assert len(pids) == 3
    owner.communicate("\n", timeout=20)
    assert owner.returncode == 0
    assert all(is_gone(pid) for pid in pids)


def test_the_application_may_exit_without_closing_its_manager(places: dict[str, Path]) -> None:
    """At exit the manager flushes and closes by itself: what was sent without waiting is kept."""
    owner = run_owner("manager.init_instance_nowait(Light, 'late')\nprint(os.getpid(), flush=True)\nsys.exit()", places)
    close_pipes(owner)
    assert owner.returncode == 0
    with spex.ShardedInstanceManager(**places, distribution_factor=2) as manager:
        assert manager.get_instance("late").current_state == "red"


def test_starting_touches_no_signal_handler_and_no_start_method(places: dict[str, Path]) -> None:
    """Signal handlers, the wake-up descriptor and multiprocessing's start method stay as they were."""
    import multiprocessing

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    with spex.ShardedInstanceManager(**places, distribution_factor=1):
        assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)] == before
        assert signal.set_wakeup_fd(-1) == -1
        assert multiprocessing.get_start_method(allow_none=True) in (None, "fork")


def test_a_child_of_the_application_is_reaped_by_the_application_alone(sharded: Any) -> None:
    """A death of the application's own child can still be waited for while shards die and are restarted."""
    child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
    kill_worker(sharded, 0)
    wait_until(lambda: ready(sharded), "the shard is there again")
    assert child.wait(20) == 7


def in_child(function: Callable[[], Any]) -> str:
    """Fork, run `function` in the child, and return its result as text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            text = repr(function())
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


def test_a_forked_child_is_a_client_of_its_own(sharded: Any) -> None:
    """Parent and child observe the same instances; no request is sent twice, and no lock is released."""
    sharded.init_instance(Light, "shared")
    sharded.init_instance_nowait(Light, "of the parent")

    def observe() -> int:
        sharded.transition("shared", "go", "green")
        sharded.init_instance_nowait(Light, "of the child")
        sharded.flush()
        sharded.close()
        return len(sharded_again())

    def sharded_again() -> list[int]:
        return [1]

    assert in_child(observe) == "1"
    sharded.transition("shared", "stop", "red")
    assert [entry.action for entry in sharded.get_instance("shared").history] == ["__initialisation__", "go", "stop"]
    assert {i.identifier for i in sharded.all_instances()} == {"shared", "of the parent", "of the child"}
    assert ready(sharded)


def test_a_forked_child_of_an_in_process_manager_is_refused(places: dict[str, Path]) -> None:
    """The environment belongs to the parent: the child's first call says so, and what to use instead."""
    with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:
        manager.init_instance(Light, 1)
        text = in_child(lambda: manager.get_instance(1))
        assert text.startswith("DataDirLocked")
        assert 'manager = "sharded"' in text
        manager.transition(1, "go", "green")
    with spex.SimpleInstanceManager(**places) as manager:
        assert manager.get_instance(1).current_state == "green"


def test_a_full_window_blocks_and_then_says_that_nothing_was_sent(places: dict[str, Path]) -> None:
    """While a shard is stopped, at most max_unacknowledged observations are on their way to it."""
    with spex.ShardedInstanceManager(
        **places, distribution_factor=1, learning_mode=True, max_unacknowledged=50, call_timeout=2.0
    ) as manager:
        manager.init_instance(Light, 1)
        pid = manager.shards()[0].pid
        stop(pid)
        for number in range(50):
            manager.transition_nowait(1, "go", str(number))
        with pytest.raises(spex.CallTimeout) as caught:
            manager.transition_nowait(1, "go", "one too many")
        assert caught.value.maybe_executed is False
        os.kill(pid, signal.SIGCONT)
        manager.flush(20)
        assert [entry.to_state for entry in manager.get_instance(1).history[1:]] == [str(n) for n in range(50)]


def test_a_timed_out_call_says_that_it_may_be_applied_and_is_applied_once(places: dict[str, Path]) -> None:
    """CallTimeout ends the wait, not the request."""
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True, call_timeout=2.0) as manager:
        manager.init_instance(Light, 1)
        pid = manager.shards()[0].pid
        stop(pid)
        with pytest.raises(spex.CallTimeout, match="may be applied") as caught:
            manager.transition(1, "go", "green")
        assert caught.value.maybe_executed is True
        assert caught.value.pid == pid
        os.kill(pid, signal.SIGCONT)
        manager.flush(20)
        assert [entry.action for entry in manager.get_instance(1).history] == ["__initialisation__", "go"]


@pytest.mark.long
def test_more_than_a_pipe_holds_can_be_on_its_way(places: dict[str, Path]) -> None:
    """8,192 unacknowledged requests of 300 bytes are many pipes full, and no deadlock."""
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True, call_timeout=60) as manager:
        for number in range(10_000):
            manager.init_instance_nowait(Light, ("x" * 250, number))
        manager.flush(60)
        assert sum(1 for _ in manager.iter_instances()) == 10_000


def test_a_request_larger_than_a_frame_may_be_is_refused_before_it_is_sent(places: dict[str, Path]) -> None:
    """The error names the option; the channel is as it was."""
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True, max_frame_bytes=4096) as m:
        with pytest.raises(ValueError, match="max_frame_bytes=4096"):
            m.init_instance(Light, 1, meta={"text": "x" * 5000})
        m.init_instance(Light, 1)
        assert m.get_instance(1).current_state == "red"


def test_a_client_that_breaks_the_protocol_loses_its_channel_and_nobody_elses(sharded: Any) -> None:
    """Garbage on the pipe ends in a typed error for its sender; the shard and other clients are untouched."""
    sharded.init_instance(Light, 1)
    channel = sharded.transport.channel(codec.canonical(1))
    pid = sharded.shards()[channel.shard].pid

    def misbehave() -> Any:
        theirs = sharded.transport.channel(codec.canonical(1))
        sharded.get_instance(1)
        os.write(theirs.lines.current.pipes._requests.fileno(), b"\xff\xff\xff\xff garbage")
        reply = wait_until(theirs.lines.current.pipes._replies.read, "the shard has answered")
        return codec.unpack(reply[4:])

    assert "ShardDown" in in_child(misbehave)
    sharded.transition(1, "go", "green")
    assert sharded.shards()[channel.shard].pid == pid


def test_records_logged_in_a_shard_appear_in_the_application_with_shard_and_pid(
    sharded: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The default handler's record has the shard, its pid and the place of the call."""
    with caplog.at_level(logging.WARNING, "spex_shards"), pytest.raises(spex.InstanceNotFound):
        sharded.transition("nobody", "go", "green")
    [record] = [r for r in caplog.records if "nobody" in r.getMessage()]
    assert record.process in [shard.pid for shard in sharded.shards()]
    assert record.shard in (0, 1)
    assert f"[shard {record.shard}, pid {record.process}]" in record.getMessage()
    assert "test_processes.py" in record.call_site
    assert record.call_site in record.getMessage()


def test_what_a_shard_writes_to_stderr_is_seen(places: dict[str, Path]) -> None:
    """A shard uses the application's stderr, also for its stdout."""
    script = f"""
import spex_shards as spex, sys
class Loud(spex.Specification):
    transitions = [("a", "b", "c")]
    @classmethod
    def error_handler(cls, error, caller):
        import os
        print("printed in the shard", flush=True)
        os.write(2, b"written in the shard")
if __name__ == "__main__":
    with spex.ShardedInstanceManager(data_dir={str(places["data_dir"])!r}, distribution_factor=1,
                                     impl_models_dir={str(places["impl_models_dir"])!r}) as manager:
        manager.init_instance(Loud, 1)
    print("the application")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "the application\n"
    assert "printed in the shard" in done.stderr
    assert "written in the shard" in done.stderr


def test_a_file_in_the_current_directory_shadows_nothing_in_the_shards(places: dict[str, Path], tmp_path: Path) -> None:
    """A json.py, a socket.py and a select.py beside the script are never imported by supervisor and workers."""
    for name in ("json", "socket", "select", "msgpack", "lmdb"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')")
    script = f"""
import sys
import json, socket, select, msgpack, lmdb, spex_shards as spex
sys.path.insert(0, {str(tmp_path)!r})
with spex.ShardedInstanceManager(data_dir={str(places["data_dir"])!r}, distribution_factor=1, learning_mode=True,
                                 impl_models_dir={str(places["impl_models_dir"])!r}) as manager:
    print(manager.shards()[0].status)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("READY\n", "")


def test_the_shards_run_the_package_that_the_application_has(places: dict[str, Path], tmp_path: Path) -> None:
    """Another package of the same name comes first on the path of a new interpreter."""
    (tmp_path / "spex_shards").mkdir()
    (tmp_path / "spex_shards" / "__init__.py").write_text("raise SystemExit('another version')")
    script = f"""
import sys
sys.path.insert(0, {str(Path(spex.__file__).parents[1])!r})
import spex_shards as spex
with spex.ShardedInstanceManager(data_dir={str(places["data_dir"])!r}, distribution_factor=1, learning_mode=True,
                                 impl_models_dir={str(places["impl_models_dir"])!r}) as manager:
    print(manager.shards()[0].status)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("READY\n", "")


def test_a_second_manager_over_the_same_directory_is_told_who_has_it(sharded: Any, places: dict[str, Path]) -> None:
    """At once, because this process cannot give it up while it waits."""
    started = time.monotonic()
    with pytest.raises(spex.DataDirLocked) as caught:
        spex.ShardedInstanceManager(**places, distribution_factor=2).start()
    assert caught.value.context["pid"] == sharded.transport.ownership.pid
    assert str(caught.value) == (
        f"this process has the data directory {places['data_dir']} open already, by a manager with shard processes: "
        "use that one, or close it first"
    )
    assert time.monotonic() - started < 2.5


def test_another_number_of_shards_is_refused_with_what_to_do(places: dict[str, Path]) -> None:
    """LayoutMismatch names both numbers and the command that changes them."""
    with spex.ShardedInstanceManager(**places, distribution_factor=2):
        pass
    with pytest.raises(spex.LayoutMismatch, match=r"made for 2 shards, not 3.*reshard"):
        spex.ShardedInstanceManager(**places, distribution_factor=3).start()


def test_closing_returns_when_all_processes_are_gone_and_the_lock_is_free(places: dict[str, Path]) -> None:
    """After close the directory can be opened at once, and no process is left."""
    for _ in range(3):
        with spex.ShardedInstanceManager(**places, distribution_factor=2) as manager:
            below = descendants()
            assert len(below) >= 3
        assert all(is_gone(pid) for pid in below)
        manager.close()


def test_a_stopped_worker_does_not_keep_the_manager_from_closing(
    places: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Closing takes a bounded time: a worker that does not drain is terminated, then killed, and reported."""
    manager = spex.ShardedInstanceManager(**places, distribution_factor=2, shutdown_timeout=0.5).start()
    stop(manager.shards()[1].pid)
    with caplog.at_level(logging.WARNING, "spex_shards"):
        manager.close()
    assert "shard 1" in caplog.text
    assert "did not stop by itself" in caplog.text


def test_a_socket_path_longer_than_the_system_allows_works(tmp_path: Path) -> None:
    """Paths over 107 bytes are reached through the folder's descriptor."""
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    with spex.ShardedInstanceManager(
        data_dir=folder, impl_models_dir=tmp_path / "m", distribution_factor=1, learning_mode=True
    ) as manager:
        manager.init_instance(Light, 1)
        assert (folder / "run").stat().st_mode & 0o777 == 0o700
