"""The contract of the end of managers of all kinds: closing during calls, forks, and unusable directories."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from tests.runtime.supervisor.test_processes import in_child
from tests.support.contract_specs import Order, Strict
from tests.support.processes import wait_until


def test_what_was_taken_while_another_thread_closes_is_kept_or_reported(make_manager: Callable[..., Any]) -> None:
    """Each call that returned is in the history, or has its error in the group that close raises."""
    manager = make_manager(learning_mode=True)
    taken = [0, 0, 0, 0]
    refused: list[BaseException] = []

    def observe(number: int) -> None:
        manager.init_instance(Order, number)
        try:
            while True:
                (manager.transition_nowait if taken[number] % 5 else manager.transition)(number, "pay", "paid")
                taken[number] += 1
        except spex.SpexError as error:
            refused.append(error)

    threads = [threading.Thread(target=observe, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: all(count > 100 for count in taken), "all threads are at work")
    unknown = 0
    try:
        manager.close()
    except ExceptionGroup as group:
        unknown = sum(error.context.get("requests", 1) for error in group.exceptions)  # type: ignore[attr-defined]
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert all(isinstance(error, (spex.ManagerClosed, spex.ShardDown)) for error in refused), refused
    again = make_manager()
    missing = sum(max(0, taken[n] + 1 - len(again.get_instance(n).history)) for n in range(4))
    assert missing <= unknown


def test_an_iterator_ends_with_its_manager(make_manager: Callable[..., Any]) -> None:
    """It raises ManagerClosed instead of ending as if there were no more instances."""
    manager = make_manager(learning_mode=True)
    for number in range(600):
        manager.init_instance_nowait(Order, number)
    manager.flush()
    iterator = manager.iter_instances()
    next(iterator)
    manager.close()
    with pytest.raises(spex.ManagerClosed):
        list(iterator)


def test_on_message_may_close_its_manager(make_manager: Callable[..., Any]) -> None:
    """The caller whose call sent the message gets its answer."""
    closed = threading.Event()

    def on_message(_: Any) -> None:
        manager.close()
        closed.set()

    manager = make_manager(on_message=on_message)
    assert isinstance(manager.try_init_instance(Strict, 1), spex.ImplModelNotFound)
    assert closed.wait(20)
    with pytest.raises(spex.ManagerClosed):
        manager.get_instance(1)


def test_of_many_threads_that_start_a_manager_one_does(places: dict[str, Path], no_process_left: None) -> None:
    """The others get the error that it starts once."""
    for cls in (spex.SimpleInstanceManager, spex.ShardedInstanceManager):
        manager = cls(**{**places, "data_dir": places["data_dir"] / cls.__name__}, distribution_factor=1)
        outcomes: list[str] = []

        def start(manager: Any = manager, outcomes: list[str] = outcomes) -> None:
            try:
                manager.start()
                outcomes.append("started")
            except spex.ManagerClosed:
                outcomes.append("refused")

        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        manager.close()
        assert sorted(outcomes) == ["refused", "refused", "refused", "started"]


def test_a_directory_that_is_of_no_use_is_an_error_that_names_it_and_leaves_nothing_running(
    places: dict[str, Path], tmp_path: Path, no_process_left: None
) -> None:
    """It is a file, has an unreadable layout, or has a file instead of the folder of models."""
    file = tmp_path / "file"
    file.touch()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "layout").write_bytes(b"nonsense")
    for cls in (spex.SimpleInstanceManager, spex.ShardedInstanceManager):
        for options, error, text in [
            ({"data_dir": file}, spex.DataDirError, "file cannot be used: "),
            ({"data_dir": damaged}, spex.DataDirError, "layout record is damaged: .*damaged/layout"),
            ({"impl_models_dir": file}, spex.ImplModelError, "directory of models .*file cannot be read"),
        ]:
            with pytest.raises(error, match=text):
                cls(**{**places, **options}, distribution_factor=1).start()


def test_every_call_of_a_forked_child_on_an_in_process_manager_is_refused(places: dict[str, Path]) -> None:
    """The environment belongs to the parent: nothing of the child is written, although it would be possible."""
    calls: dict[str, Callable[[Any], Any]] = {
        "init": lambda m: m.init_instance(Order, 2),
        "init_nowait": lambda m: m.init_instance_nowait(Order, 2),
        "transition": lambda m: m.transition(1, "pay", "paid"),
        "transition_nowait": lambda m: m.transition_nowait(1, "pay", "paid"),
        "mock": lambda m: m.mock_instance(Order, 3, "paid"),
        "delete": lambda m: m.delete_instance(1),
        "delete_where": lambda m: m.delete_instances(lambda _: True),
        "get": lambda m: m.get_instance(1),
        "all": lambda m: m.all_instances(),
        "models": lambda m: m.all_impl_models(),
        "deviations": lambda m: m.deviations(),
        "stats": lambda m: m.stats(),
        "messages": lambda m: list(m.messages()),
        "flush": lambda m: m.flush(),
    }

    def refused(manager: Any) -> list[str]:
        wrong = []
        for name, call in calls.items():
            try:
                call(manager)
                wrong.append(name)
            except spex.DataDirLocked as error:
                if 'manager = "sharded"' not in str(error) or error.context["pid"] != os.getppid():
                    wrong.append(f"{name}: {error}")
        return wrong

    with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:
        manager.init_instance(Order, 1)
        before = manager.get_instance(1)
        assert in_child(lambda: refused(manager)) == "[]"
        assert manager.get_instance(1) == before
        manager.transition(1, "pay", "paid")
    with spex.SimpleInstanceManager(**places) as manager:
        assert [i.current_state for i in manager.all_instances()] == ["paid"]
