"""The application's view of lost connections, given-up shards, abandoned requests and slow ends."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.messages import operations as ops
from spex_shards.runtime.client import courier
from spex_shards.runtime.lifetime import Life
from spex_shards.runtime.protocol.control import Failed
from spex_shards.runtime.protocol.requests import ProtocolError
from spex_shards.runtime.protocol.session import ClientSession, ServerSession
from spex_shards.runtime.protocol.wire import FrameReader
from spex_shards.runtime.supervisor.loop import Supervisor
from spex_shards.runtime.supervisor.process import WorkerProcess
from tests.runtime.supervisor.test_processes import in_child, stop
from tests.support.asking import ask
from tests.support.processes import is_gone, kill_worker, wait_until

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("no_process_left")]
STEP = (b"\x01", "go", "green")


class Light(spex.Specification):
    """A traffic light."""

    name = "tests.Light"
    transitions = [("red", "go", "green"), ("green", "stop", "red")]


class Chatty(spex.Specification):
    """Its handler sends a message whenever it is called."""

    name = "tests.Chatty"
    transitions = [("a", "go", "b")]

    @classmethod
    def error_handler(cls, error: spex.SpexError, caller: Any) -> None:
        """Accept, and send a message."""
        if caller is not None:
            caller.send(error.reason)


@pytest.fixture
def make(places: dict[str, Path]) -> Iterator[Callable[..., Any]]:
    """Return a function that starts a manager of one shard, closed at the end."""
    made: list[Any] = []

    def start(**options: Any) -> Any:
        defaults = {"distribution_factor": 1, "learning_mode": True, "call_timeout": 20.0}
        made.append(spex.ShardedInstanceManager(**{**places, **defaults, **options}).start())
        return made[-1]

    yield start
    for manager in made:
        try:
            manager.close()
        except ExceptionGroup:
            pass


def give_up(manager: Any, index: int = 0) -> None:
    """Kill a shard that may not be restarted."""
    kill_worker(manager, index)
    wait_until(lambda: manager.shards()[index].status is spex.ShardStatus.FAILED, "the shard is given up")


# ---------------------------------------------------------------------- connections


def test_an_owner_that_loses_its_connection_to_a_living_supervisor_connects_again(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Descriptors ran out while pipes arrived: the next call waits for the new connection; no process ends."""
    manager = make()
    manager.init_instance(Light, 1)
    supervisor = manager.transport.ownership.pid
    real = courier.receive_message
    lost: list[str] = []

    def receive(connection: Any) -> Any:
        received = real(connection)
        if received is not None and received[0][0] == "channel" and not lost:
            for descriptor in received[1]:
                os.close(descriptor)
            lost.append("the ends of a channel")
            raise ProtocolError("a malformed message: it is too long")
        return received

    monkeypatch.setattr(courier, "receive_message", receive)
    kill_worker(manager, 0)
    manager.transition(1, "go", "green")
    assert lost
    assert manager.transport.ownership.pid == supervisor
    assert manager.shards()[0].restarts == 1


def test_a_successor_that_cannot_be_started_at_first_is_started_later(make: Any, caplog: Any) -> None:
    """If the system gives no descriptor or process, the start is tried again, and nothing is lost."""
    manager = make()
    manager.init_instance(Light, 1)
    real = manager.transport.ownership._start
    refusals: list[Exception] = [OSError(24, "Too many open files"), spex.DataDirError("no process could be started")]

    def new_owner() -> Any:
        if refusals:
            raise refusals.pop()
        return real()

    manager.transport.ownership._start = new_owner
    for number in range(50):
        manager.transition_nowait(1, "go" if number % 2 == 0 else "stop", str(number))
    os.kill(manager.transport.ownership.pid, signal.SIGKILL)
    wait_until(lambda: not refusals, "both attempts have failed")
    manager.flush(30)
    assert len(manager.get_instance(1).history) == 51
    assert caplog.text.count("has no successor") == 1


def test_each_channel_is_opened_once_after_its_supervisor_has_died(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many threads find it broken, but a second channel would break the first one, and so on."""
    manager = make()
    manager.init_instance(Light, 1)
    only = manager.transport.channels[0]
    real, installed = only.lines.install, []
    monkeypatch.setattr(only.lines, "install", lambda *ends: (installed.append(ends), real(*ends)))
    enough = threading.Event()

    def work() -> None:
        while not enough.is_set():
            manager.get_instance(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    before = manager.transport.ownership.pid
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: installed, "the channel is opened again")
    for _ in range(100):
        manager.get_instance(1)
    enough.set()
    for thread in threads:
        thread.join(20)
    assert len(installed) == 1


def test_a_supervisors_death_that_is_seen_late_is_seen_once(make: Any) -> None:
    """The end of its socket, the end of its process and a reused descriptor number arrive together."""
    manager = make()
    manager.init_instance(Light, 1)
    ours = manager.transport._introducer
    real_ready, real_owner = ours._ready, manager.transport.ownership._start
    busy, opened = threading.Event(), []

    def new_owner() -> Any:
        opened.append(os.open("/dev/null", os.O_RDONLY))  # another thread of the application takes a number
        return real_owner()

    def ready(descriptor: int) -> bool:
        if descriptor == ours._wakeup.descriptor:
            ours._wakeup.clear()
            busy.wait(20)  # such as a slow log handler
            return True
        return bool(real_ready(descriptor))

    manager.transport.ownership._start = new_owner
    ours._ready = ready
    ours.wake()
    before = manager.transport.ownership.pid
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: is_gone(before), "the supervisor is gone")
    ours._ready = real_ready
    busy.set()
    manager.transition(1, "go", "green")
    assert len(opened) == 1
    os.close(opened[0])


def test_reaping_never_waits_for_a_process_that_lives(make: Any) -> None:
    """A wrong notice of a death must not stop the courier."""
    manager = make()
    owner = manager.transport.ownership._owner
    pid, descriptor, connection = owner.pid, os.dup(owner.pidfd), owner._socket
    owner._socket = socket.socket()
    owner.reap()
    assert not is_gone(pid)
    owner._socket, owner.pidfd, owner._process.returncode = connection, descriptor, None
    manager.transport._introducer.connection.supervisor = descriptor


def test_a_supervisor_never_waits_for_a_worker_that_lives() -> None:
    """An event of a dead worker's descriptor may arrive under a number that its successor has now."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        worker = WorkerProcess(living.pid, os.pidfd_open(living.pid), ours)
        supervisor = Supervisor.__new__(Supervisor)
        supervisor._workers = {0: worker}
        watchdog = threading.Timer(20, living.kill)  # should it wait after all
        watchdog.start()
        supervisor._worker_event(worker.pidfd)
        watchdog.cancel()
        assert supervisor._workers == {0: worker}
        assert not is_gone(living.pid)
        worker.close()
        theirs.close()


# ---------------------------------------------------------------------- what could not be applied


def test_what_was_lost_with_a_shard_is_raised_though_it_was_revived_since(make: Any) -> None:
    """The next flush raises the error of that time, with the number of requests."""
    manager = make(max_restarts=0)
    manager.init_instance(Light, 0)
    pid = manager.shards()[0].pid
    stop(pid)
    for number in range(10):
        manager.init_instance_nowait(Light, ("lost", number))
    give_up(manager)
    manager.revive(0)
    with pytest.raises(ExceptionGroup) as caught:
        manager.flush()
    [error] = caught.value.exceptions
    assert isinstance(error, spex.ShardFailed)
    assert error.context["requests"] == 10
    assert error.maybe_executed is True
    manager.flush()


def test_a_call_on_a_shard_that_was_given_up_fails_though_it_was_revived_since(make: Any) -> None:
    """The waiting call fails, however late it looks: an abandoned request is not a success."""
    manager = make(max_restarts=0, distribution_factor=2)
    for number in range(20):
        manager.init_instance(Light, number)
    slow, dying = manager.shards()
    stop(slow.pid)
    stop(dying.pid)
    outcomes: list[Any] = []

    def delete() -> None:
        try:
            outcomes.append(manager.delete_instances(lambda _: True))
        except spex.SpexError as error:
            outcomes.append(error)

    caller = threading.Thread(target=delete)
    caller.start()
    channels = manager.transport.channels
    wait_until(lambda: all(channel.lines.current.session.unacknowledged for channel in channels), "both are asked")
    os.kill(dying.pid, signal.SIGKILL)
    wait_until(lambda: channels[1].lines.failure is not None, "the client knows")
    manager.revive(1)
    os.kill(slow.pid, signal.SIGCONT)
    caller.join(20)
    [outcome] = outcomes
    assert isinstance(outcome, spex.ShardFailed)
    assert outcome.maybe_executed is True
    assert 0 < len(manager.all_instances()) < 20


def test_a_client_whose_first_observations_were_lost_is_not_forgotten(make: Any) -> None:
    """None of its requests was ever stored, and the revived shard accepts new ones."""
    manager = make(max_restarts=0)
    stop(manager.shards()[0].pid)
    manager.init_instance_nowait(Light, 1)
    give_up(manager)
    manager.revive(0)
    manager.init_instance(Light, 2)
    assert [instance.identifier for instance in manager.all_instances()] == [2]


def hello(session: ClientSession) -> list[Any]:
    """Return the fields `kept` and `again` of a session's hello."""
    [plain] = FrameReader(1 << 20).feed(session.hello(1))
    return plain[6:8]


def test_a_hello_speaks_only_of_what_the_shard_kept_and_of_what_was_written() -> None:
    """It mentions neither requests that were never sent nor answers that say that nothing was stored."""
    session = ClientSession()
    ask(session, ops.TRANSITION, 1, STEP, waits=False)
    assert hello(session) == [False, False]
    session.unanswered()
    assert hello(session) == [False, True]
    session.receive([1, [[1, False, ["StoreError", "full", {}, None], []]]])
    assert hello(session) == [False, False]
    session.written = ask(session, ops.TRANSITION, 1, STEP, waits=False).number
    session.receive([2, []])
    ask(session, ops.TRANSITION, 1, STEP, waits=False)
    assert hello(session) == [True, False]
    ServerSession(None, {}).open(1, 3, kept=True, again=False, events=0)
    session.abandon(["ShardFailed", "given up", {}, None])
    assert hello(session) == [True, False]


def test_the_answer_to_a_call_that_has_timed_out_is_nobodys_failure() -> None:
    """Its caller got an error; only failures of posted requests are raised later."""
    session = ClientSession()
    ask(session, ops.TRANSITION, 1, STEP, waits=True)
    ask(session, ops.TRANSITION, 1, STEP, waits=False)
    session.receive([2, [[number, False, ["StoreError", "full", {}, None], []] for number in (1, 2)]])
    assert list(session.failures) == [2]


def test_a_late_answer_is_not_raised_by_flush(make: Any, caplog: Any) -> None:
    """The call said that it may be applied; its result is not raised as another request's failure."""
    manager = make(call_timeout=0.3)
    manager.init_instance(Light, 0)
    pid = manager.shards()[0].pid
    stop(pid)
    with pytest.raises(spex.CallTimeout):
        manager.get_instance("missing")
    os.kill(pid, signal.SIGCONT)
    manager.flush(20)
    assert manager.stats()[0]["unapplied"] == 0
    assert "could not apply" not in caplog.text


# ---------------------------------------------------------------------- sizes


def test_what_does_not_fit_the_pipe_leaves_without_another_call(make: Any) -> None:
    """The application sends an observation larger than many pipes, and does nothing more."""
    manager = make()
    manager.init_instance(Light, 0)
    other = spex.connect(manager.data_dir, specifications=[Light])
    manager.init_instance_nowait(Light, "big", meta={"text": "x" * 400_000})
    wait_until(lambda: any(i.identifier == "big" for i in other.iter_instances()), "it is applied")
    wait_until(lambda: not manager.transport._introducer.pump.busy, "the courier has nothing more to do")
    other.close()


def test_a_specification_larger_than_a_frame_may_be_is_refused_where_it_is_used(make: Any) -> None:
    """The error names the option, and no other specification suffers."""
    big = spex.Specification.define("tests.Big", [(f"s{i}", f"action{i}", f"s{i + 1}") for i in range(300)])
    manager = make(max_frame_bytes=4096)
    manager.init_instance(Light, 1)
    with pytest.raises(ValueError, match=r"max_frame_bytes=4096 bytes, .*got: .* for tests\.Big"):
        manager.init_instance(big, 2)
    manager.init_instance(Light, 3)


def test_a_class_with_a_handler_larger_than_a_frame_may_be_costs_no_other(make: Any) -> None:
    """The class was only defined: the hellos are sent without it."""
    blob = "z" * 8192

    class Unused(spex.Specification):
        name = "tests.Unused"
        transitions = [("a", "x", "b")]

        @classmethod
        def error_handler(cls, error: spex.SpexError, caller: Any) -> Any:
            return None if blob else error

    manager = make(max_frame_bytes=4096)
    manager.init_instance(Light, 1)
    with pytest.raises(ValueError, match=r"for tests\.Unused"):
        manager.init_instance(Unused, 2)


# ---------------------------------------------------------------------- given up, and there again


def test_what_was_said_of_a_shard_before_it_was_revived_does_not_end_its_revival(make: Any) -> None:
    """The notice that it is given up may still be in the socket; the call waits for the new process."""
    manager = make(max_restarts=0)
    manager.init_instance(Light, 1)
    ours = manager.transport._introducer
    take, told, goes_on = ours._take, threading.Event(), threading.Event()

    def slowly(message: Any, descriptors: list[int]) -> None:
        if isinstance(message, Failed):
            told.set()
            goes_on.wait(20)
        take(message, descriptors)

    ours._take = slowly
    os.kill(manager.shards()[0].pid, signal.SIGKILL)
    assert told.wait(20)
    outcomes: list[Any] = []

    def revive() -> None:
        try:
            outcomes.append(manager.revive(0))
        except spex.SpexError as error:
            outcomes.append(error)

    caller = threading.Thread(target=revive)
    caller.start()
    wait_until(lambda: ours._questions, "the wish is there")
    session = manager.transport.channels[0].lines.current.session
    caller.join(0.2)  # so long that a call which does not wait would be on its way
    assert not session.unacknowledged
    goes_on.set()
    caller.join(20)
    assert outcomes == [None]
    assert manager.get_instance(1).current_state == "red"


def test_all_clients_hear_that_a_shard_was_revived(make: Any) -> None:
    """One client revives it, and the others' calls work again too."""
    manager = make(max_restarts=0)
    manager.init_instance(Light, 1)
    other = spex.connect(manager.data_dir)
    assert other.get_instance(1).current_state == "red"
    give_up(manager)
    with pytest.raises(spex.ShardFailed):
        other.get_instance(1)
    manager.revive(0)

    def found() -> bool:
        try:
            return other.get_instance(1).current_state == "red"
        except spex.ShardFailed:
            return False

    wait_until(found, "the other client hears of it")
    other.close()


def test_a_shard_that_was_given_up_is_there_again_under_a_new_supervisor(make: Any) -> None:
    """The successor starts all shards; the client drops the old supervisor's notice."""
    manager = make(max_restarts=0)
    manager.init_instance(Light, 1)
    give_up(manager)
    with pytest.raises(spex.ShardFailed):
        manager.get_instance(1)
    os.kill(manager.transport.ownership.pid, signal.SIGKILL)
    wait_until(lambda: manager.transport.channels[0].lines.failure is None, "the client knows")
    assert manager.get_instance(1).current_state == "red"


# ---------------------------------------------------------------------- ends


@pytest.mark.parametrize("cls", [spex.SimpleInstanceManager, spex.ShardedInstanceManager])
def test_a_slow_on_message_does_not_keep_a_manager_from_closing(
    places: dict[str, Path], caplog: pytest.LogCaptureFixture, cls: Any
) -> None:
    """It gets shutdown_timeout for the messages that have arrived; the rest is dropped, which is logged."""
    at_work, goes_on = threading.Event(), threading.Event()

    def on_message(_: Any) -> None:
        at_work.set()
        goes_on.wait(60)

    manager = cls(**places, distribution_factor=1, shutdown_timeout=0.5, on_message=on_message).start()
    for number in range(5):
        manager.init_instance(Chatty, number)
        manager.try_init_instance(Chatty, number)
    assert at_work.wait(20)
    manager.close()
    assert "on_message was still at work" in caplog.text
    goes_on.set()


def test_on_message_may_close_its_manager_while_another_thread_does(make: Any) -> None:
    """Neither waits for the other."""
    closed: list[str] = []
    at_work, goes_on = threading.Event(), threading.Event()

    def on_message(_: Any) -> None:
        at_work.set()
        goes_on.wait(20)
        manager.close()
        closed.append("by on_message")

    manager = make(on_message=on_message, shutdown_timeout=20.0)
    manager.init_instance(Chatty, 1)
    manager.try_init_instance(Chatty, 1)
    assert at_work.wait(20)
    closer = threading.Thread(target=manager.close)
    closer.start()
    wait_until(lambda: manager.transport.ownership.pidfd < 0, "the other thread is at it")
    goes_on.set()
    closer.join(20)
    assert not closer.is_alive()
    assert closed == ["by on_message"]


def test_a_call_that_is_on_its_way_when_the_manager_closes_is_told_so(make: Any) -> None:
    """It raises ManagerClosed, which says that it may have been executed."""
    manager = make(shutdown_timeout=0.3)
    manager.init_instance(Light, 1)
    stop(manager.shards()[0].pid)
    outcomes: list[Any] = []
    caller = threading.Thread(target=lambda: outcomes.append(manager.try_transition(1, "go", "green")))
    caller.start()
    wait_until(lambda: manager.transport.channels[0].lines.current.session.unacknowledged, "the call is on its way")
    with pytest.raises(ExceptionGroup):
        manager.close()  # which could not flush
    caller.join(20)
    [error] = outcomes
    assert isinstance(error, spex.ManagerClosed)
    assert error.context["maybe_executed"] is True


def test_a_log_filter_that_raises_does_not_replace_an_answer(make: Any) -> None:
    """The call raises the error that the shard answered."""
    manager = make()
    manager.init_instance(Light, 1)

    def choke(record: logging.LogRecord) -> bool:
        raise ZeroDivisionError(record.getMessage())

    logger = logging.getLogger("spex_shards")
    logger.addFilter(choke)
    try:
        with pytest.raises(spex.InstanceNotFound):
            manager.transition("nobody", "go", "green")
    finally:
        logger.removeFilter(choke)


def test_a_process_may_fork_while_another_thread_closes(make: Any) -> None:
    """The child has no such thread, and its locks are free."""
    manager = make(shutdown_timeout=20.0)
    manager.init_instance(Light, 1)
    pid = manager.shards()[0].pid
    stop(pid)
    manager.transition_nowait(1, "go", "green")
    closer = threading.Thread(target=manager.close)
    closer.start()
    wait_until(lambda: manager._life is Life.CLOSING, "it waits for what is on its way")

    def in_the_child() -> str:
        signal.alarm(20)
        manager.close()
        return "done"

    assert in_child(in_the_child) == "'done'"
    os.kill(pid, signal.SIGCONT)
    closer.join(20)
    assert not closer.is_alive()


def test_a_process_may_fork_while_its_threads_are_in_calls(make: Any) -> None:
    """Whatever locks other threads held, the child is a client of its own, and the parent's calls continue."""
    manager = make()
    manager.init_instance(Light, "parent")
    enough = threading.Event()
    counts = [0] * 3
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            while not enough.is_set():
                manager.init_instance_nowait(Light, (number, counts[number]))
                manager.get_instance("parent", 0)
                counts[number] += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for child in range(10):

        def in_the_child(child: int = child) -> str:
            signal.alarm(20)  # a child that hangs ends, and is seen
            manager.init_instance(Light, ("child", child))
            manager.flush()
            manager.close()
            return "done"

        assert in_child(in_the_child) == "'done'"
    enough.set()
    for thread in threads:
        thread.join(20)
    manager.flush(20)
    assert not failures
    names = {instance.identifier for instance in manager.iter_instances()}
    assert names == {"parent"} | {("child", n) for n in range(10)} | {
        (n, c) for n in range(3) for c in range(counts[n])
    }
