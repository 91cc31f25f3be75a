"""The contract of badly behaved handlers, for managers of all kinds: the shard lives, and the observation is kept."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.domain import specification as specification_module
from spex_shards.formats.model_files import write_model
from tests.support.contract_specs import Order, Strict, model
from tests.support.hostile_specs import BAD, ERRORS, HUGE, Hostile, Introducing, Late, answering
from tests.support.processes import wait_until


@pytest.fixture
def judging(make_manager: Callable[..., Any], places: dict[str, Path]) -> Any:
    """Return a manager that knows only Hostile's initialisation, so that each step is a deviation."""
    write_model(places["impl_models_dir"], model(Hostile))
    return make_manager()


def restarts(manager: Any) -> int:
    """Return how often shards were restarted."""
    return sum(shard.restarts for shard in manager.shards())


def test_whatever_a_handler_does_becomes_a_handler_error_and_the_observation_is_kept(judging: Any) -> None:
    """Nothing that it raises or returns harms the shard or undoes the observation."""
    for how in BAD:
        judging.init_instance(Hostile, how)
        error = judging.try_transition(how, "go", "b")
        assert type(error) is spex.HandlerError, how
        assert "handler" in str(error)
        assert judging.get_instance(how).current_state == "b", how
    assert restarts(judging) == 0


def test_whatever_error_a_handler_returns_reaches_the_caller(judging: Any) -> None:
    """It arrives as its nearest class of the library; parts that cannot be sent are shown as text."""
    for how in ERRORS:
        judging.init_instance(Hostile, how)
        error = judging.try_transition(how, "go", "b")
        assert isinstance(error, spex.InstanceError), (how, error)
        if not isinstance(judging, spex.SimpleInstanceManager):  # there it is the handler's own object
            assert isinstance(error.context, dict), how
        assert isinstance(str(error), str)
        assert judging.get_instance(how).current_state == "b", how
    assert restarts(judging) == 0


def test_the_class_and_the_words_of_what_a_handler_raised_are_in_the_errors_text(judging: Any) -> None:
    """This holds even if the text can be encoded only in part; the cause has the traceback."""
    judging.init_instance(Hostile, "raises no Exception")
    with pytest.raises(spex.HandlerError, match="Abrupt: abruptly") as caught:
        judging.transition("raises no Exception", "go", "b")
    assert "hostile_specs.py" in str(caught.value.__cause__)
    judging.init_instance(Hostile, "raises half a surrogate pair")
    with pytest.raises(spex.HandlerError, match=r"ValueError: half .* a pair"):
        judging.transition("raises half a surrogate pair", "go", "b")


def test_a_handlers_failure_that_nobody_waits_for_is_logged(judging: Any, caplog: pytest.LogCaptureFixture) -> None:
    """No caller gets it, so it must be visible in the log; flush raises nothing, since the observation is kept."""
    how = "raises no Exception"
    judging.init_instance(Hostile, how)
    with caplog.at_level(logging.ERROR, "spex_shards"):
        judging.transition_nowait(how, "go", "b")
        judging.flush()
        wait_until(lambda: "Abrupt: abruptly" in caplog.text, "the failure is logged")
    assert judging.get_instance(how).current_state == "b"


def failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log records of handlers that raised."""
    messages = [record.getMessage() for record in caplog.records]
    return [text for text in messages if "raised ZeroDivisionError: about transition_timeout" in text]


def test_a_timeouts_handler_that_raises_is_logged_and_asked_once(
    make_manager: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The deadline is done, and the shard lives."""
    caplog.set_level(logging.WARNING, "spex_shards")
    manager = make_manager(learning_mode=True)
    manager.init_instance(Late, 1)
    wait_until(lambda: len(failures(caplog)) == 1, "the failure is logged")
    manager.init_instance(Late, 2)
    wait_until(lambda: len(failures(caplog)) == 2, "so is the next")
    assert sum(stats["timeouts"] for stats in manager.stats()) == 2
    assert restarts(manager) == 0


def test_identifiers_that_cannot_be_shown_are_no_reason_to_fail(judging: Any) -> None:
    """An int of 6,000 digits is an identifier like any other, also in error texts."""
    for identifier in (HUGE, ("x", [HUGE])):
        assert isinstance(judging.try_transition(identifier, "go", "b"), spex.InstanceNotFound)
        with pytest.raises(spex.InstanceNotFound):
            judging.get_instance(identifier)
        assert isinstance(judging.try_init_instance(Strict, identifier), spex.ImplModelNotFound)
        judging.init_instance(Order, identifier)
        assert isinstance(judging.try_init_instance(Order, identifier), spex.IdentifierInUse)
        judging.delete_instance(identifier)
        judging.init_instance(Hostile, identifier)
        judging.transition(identifier, "go", "b")
        assert judging.get_instance(identifier).current_state == "b"
        assert "Instance(" in repr(judging.get_instance(identifier))


def test_a_handler_knows_who_called(make_manager: Callable[..., Any]) -> None:
    """It gets process, thread and client."""
    manager = make_manager()
    manager.init_instance(Introducing, "here")
    got: list[Any] = []
    wait_until(lambda: got.extend(manager.messages()) or len(got) == 1, "the message is there")
    [[pid, thread, client, runs_in]] = got
    assert (pid, thread) == (os.getpid(), threading.get_ident())
    assert (runs_in == os.getpid()) is isinstance(manager, spex.SimpleInstanceManager)
    int(client, 16)


def test_a_local_handler_that_calls_its_own_manager_gets_a_runtime_error(make_manager: Callable[..., Any]) -> None:
    """Its closure holds the manager; nothing deadlocks, and the shard lives."""
    manager = make_manager()

    class Calling(spex.Specification):
        name = "hostile.Calling"
        transitions = [("a", "go", "b")]

        @classmethod
        def error_handler(cls, error: spex.SpexError, caller: Any) -> None:
            calls[error.context["identifier"]]()

    calls: dict[str, Callable[[], Any]] = {
        "get": lambda: manager.get_instance(1),
        "observe": lambda: manager.transition(1, "go", "b"),
        "observe without waiting": lambda: manager.transition_nowait(1, "go", "b"),
        "init": lambda: manager.init_instance(Calling, 2),
        "iterate": lambda: list(manager.iter_instances()),
        "delete": lambda: manager.delete_instances(lambda _: True),
        "flush": lambda: manager.flush(),
    }
    for name in calls:
        with pytest.raises(spex.HandlerError, match="RuntimeError: a handler must not call a manager"):
            manager.init_instance(Calling, name)
    manager.init_instance(Order, 1)
    with pytest.raises(spex.PredicateError, match="RuntimeError: a handler must not call a manager"):
        manager.delete_instances(lambda _: manager.get_instance(1))
    assert restarts(manager) == 0


def test_a_handler_that_can_no_longer_be_imported_answers_with_a_handler_error(
    make_manager: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A specification is data: its instances stay usable, and only the handler's decision is missing."""
    module = tmp_path / "vanishing_specs.py"
    module.write_text(
        "import spex_shards as spex\n"
        "class Vanishing(spex.Specification):\n"
        "    transitions = [('a', 'go', 'b')]\n"
        "    @classmethod\n"
        "    def error_handler(cls, error, caller):\n"
        "        return None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    cls = importlib.import_module("vanishing_specs").Vanishing
    manager = make_manager()
    manager.init_instance(cls, 1)
    manager.close()
    write_model(manager.options["impl_models_dir"], model(cls))
    module.unlink()
    monkeypatch.delitem(sys.modules, "vanishing_specs")
    monkeypatch.delitem(specification_module._registered, cls.name)
    importlib.invalidate_caches()
    for cached in tmp_path.glob("__pycache__/vanishing_specs*"):
        cached.unlink()

    manager = make_manager()
    with pytest.raises(spex.HandlerError, match="vanishing_specs:Vanishing cannot be used: ModuleNotFoundError"):
        manager.transition(1, "go", "b")
    instance = manager.get_instance(1)
    assert (instance.current_state, instance.specification.name) == ("b", "vanishing_specs.Vanishing")


def test_on_message_may_raise_and_gets_everything_before_close_returns(make_manager: Callable[..., Any]) -> None:
    """Its exceptions are logged; messages of acknowledged calls are not lost by closing."""
    got: list[Any] = []

    def on_message(message: Any) -> None:
        got.append(message)
        raise ZeroDivisionError("in on_message")

    manager = make_manager(on_message=on_message)
    for number in range(200):
        assert isinstance(manager.try_init_instance(Strict, number), spex.ImplModelNotFound)
    manager.close()
    assert sorted(error.context["identifier"] for _, error in got) == list(range(200))


def test_the_place_of_a_call_is_found_in_a_package_named_like_this_one(
    make_manager: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A program in a folder whose name begins like the library's is still a program."""
    folder = Path(spex.__file__).parent
    code = compile(
        "def observe(manager):\n    return manager.try_transition('nobody', 'a', 'b')", f"{folder}_demo/main.py", "exec"
    )
    space: dict[str, Any] = {}
    exec(code, space)
    with caplog.at_level(logging.ERROR, "spex_shards"):
        space["observe"](make_manager())
    [record] = [record for record in caplog.records if "nobody" in record.getMessage()]
    assert record.call_site == f"{folder}_demo/main.py:2 in observe"


def local(said: str) -> type[spex.Specification]:
    """Return a class that cannot be imported, whose handler logs what it gets."""

    class Local(spex.Specification):
        name = "hostile.LocalTimed"
        transitions = [("a", "go", "b")]
        transition_timeout = 0.5

        @classmethod
        def error_handler(cls, error: spex.SpexError, caller: Any) -> None:
            logging.getLogger("spex_shards").warning("%s: %s", said, error)

    return Local


def test_the_deadlines_of_a_local_handler_wait_until_it_is_there_again(
    make_manager: Callable[..., Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler is never stored: after a restart, its timeouts are reported once its class is used again."""
    caplog.set_level(logging.WARNING, "spex_shards")
    manager = make_manager(learning_mode=True)
    for number in range(3):
        manager.init_instance(local("before"), number)
    manager.close()
    caplog.clear()
    monkeypatch.delitem(specification_module._registered, "hostile.LocalTimed")
    manager = make_manager(learning_mode=True)
    for _ in range(8):
        identifier = ("in between", time.monotonic_ns())
        manager.init_instance(Late, identifier)
        wait_until(lambda: f"instance {identifier!r}" in caplog.text, "other timers go on")  # noqa: B023
    assert "LocalTimed" not in caplog.text
    manager.init_instance(local("after"), 3)
    wait_until(lambda: caplog.text.count("after: instance") >= 4, "all four are reported")
    assert all(caplog.text.count(f"after: instance {number} of") == 1 for number in range(4))


def test_a_deadline_that_waited_for_its_handler_is_reported_although_a_call_had_seen_it_before(
    make_manager: Callable[..., Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is set aside after the last call, and due again, at the same time as then, with the next."""
    caplog.set_level(logging.WARNING, "spex_shards")
    later = spex.Specification.define("hostile.Later", [("a", "go", "b")], transition_timeout=0.9)
    manager = make_manager(learning_mode=True)
    manager.init_instance(local("before"), 0)
    manager.close()
    caplog.clear()
    monkeypatch.delitem(specification_module._registered, "hostile.LocalTimed")
    manager = make_manager(learning_mode=True)
    manager.init_instance(later, 1)
    wait_until(lambda: "instance 1 of hostile.Later" in caplog.text, "a later deadline has passed")
    manager.init_instance(local("after"), 2)
    wait_until(lambda: "after: instance 0 of" in caplog.text, "the deadline is reported", 10.0)


def test_a_handler_may_be_any_callable(make_manager: Callable[..., Any]) -> None:
    """It may be a partial, an object, a bound method, or a function that can be imported."""

    class Answering:
        def __call__(self, error: spex.SpexError, caller: Any) -> spex.SpexError:
            return spex.TransitionError("by an object")

        def answer(self, error: spex.SpexError, caller: Any) -> spex.SpexError:
            return spex.TransitionError("by a method")

    def partly(text: str, error: spex.SpexError, caller: Any) -> spex.SpexError:
        return spex.TransitionError(text)

    manager = make_manager()
    for handler, text in [
        (Answering(), "by an object"),
        (Answering().answer, "by a method"),
        (functools.partial(partly, "by a partial"), "by a partial"),
        (answering, "by an import"),
    ]:
        cls = spex.Specification.define("hostile.Callable", [("a", "go", "b")], error_handler=handler)
        error = manager.try_init_instance(cls, 1)
        assert (type(error), str(error)) == (spex.TransitionError, text)


@pytest.mark.process
def test_a_handler_that_cannot_be_sent_is_a_type_error_before_anything_is(places: dict[str, Path]) -> None:
    """The error names the obstacle; the manager and its other specifications keep working."""
    held = (number for number in range(3))
    cls = spex.Specification.define("hostile.Held", [("a", "go", "b")], error_handler=lambda error, caller: next(held))
    with spex.ShardedInstanceManager(**places, distribution_factor=1) as manager:
        for call in (manager.init_instance, manager.try_init_instance, manager.init_instance_nowait):
            with pytest.raises(TypeError, match="cannot be sent to a shard: cannot pickle 'generator' object"):
                call(cls, 1)
        with pytest.raises(TypeError, match="cannot be sent to a shard"):
            manager.delete_instances(lambda _: next(held))
        manager.init_instance(Order, 1)
        assert len(manager.all_instances()) == 1
    del specification_module._registered[cls.name]
