"""The contract of observations, for managers of all kinds: what is kept, what is raised, and what handlers decide."""

from __future__ import annotations

import copy
import enum
import logging
import os
import pickle
import threading
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.formats.model_files import write_model
from spex_shards.runtime.client import Client
from tests.support.contract_specs import Lenient, Odd, Order, Strict, WithOwnError, model
from tests.support.processes import wait_until


def steps(manager: Any, identifier: Any) -> list[tuple[str, str]]:
    """Return an instance's history without times."""
    return [(entry.action, entry.to_state) for entry in manager.get_instance(identifier).history]


def test_an_instance_is_what_was_observed_of_it(manager: Any) -> None:
    """Specification, identifier, meta, state and history are read back; times are aware and never decrease."""
    manager.init_instance(Order, ("order", 17), meta={"total": 12})
    manager.transition(("order", 17), "pay", "paid")
    instance = manager.get_instance(("order", 17))

    assert instance.specification is Order
    assert (instance.identifier, instance.meta, instance.current_state) == (("order", 17), {"total": 12}, "paid")
    assert steps(manager, ("order", 17)) == [(spex.INITIALISATION, "new"), ("pay", "paid")]
    times = [entry.timestamp for entry in instance.history]
    assert all(time.tzinfo is UTC for time in times)
    assert times == sorted(times)


def test_the_initial_state_can_be_given(manager: Any) -> None:
    """It overrides the specification's initial state."""
    manager.init_instance(Order, 1, initial_state="paid")
    assert manager.get_instance(1).current_state == "paid"


def test_an_initial_state_or_a_mocked_state_that_does_not_exist_is_refused(manager: Any) -> None:
    """In the calling thread, in every form, with the states and the nearest name; also when the model exists."""
    calls: list[Callable[[], object]] = [
        lambda: manager.init_instance(Order, 1, initial_state="payd"),
        lambda: manager.try_init_instance(Order, 1, initial_state="payd"),
        lambda: manager.init_instance_nowait(Order, 1, initial_state="payd"),
    ]
    states = "'new', 'paid', 'shipped', 'cancelled'; did you mean 'paid'?"
    for _ in range(2):
        for call in calls:
            with pytest.raises(ValueError) as caught:
                call()
            assert str(caught.value) == (
                f"initial_state must be a state of contract.Order, got: 'payd'; its states are {states}"
            )
        with pytest.raises(ValueError) as caught:
            manager.mock_instance(Order, 1, "payd")
        assert str(caught.value) == f"state must be a state of contract.Order, got: 'payd'; its states are {states}"
        manager.init_instance(Order, 1)  # now there is a model, which learns
        manager.delete_instance(1)
    manager.init_instance(Order, 2)
    manager.transition(2, "pay", "settled")  # the model has this name now, so it is a state of the implementation
    manager.mock_instance(Order, 3, "settled")
    assert manager.get_instance(3).current_state == "settled"


def test_any_state_is_right_while_the_behaviour_is_learned(make_manager: Callable[..., Any]) -> None:
    """In learning mode, and for a specification without transitions."""
    unknown = spex.Specification.define("observations.Unknown", [])
    manager = make_manager()
    manager.init_instance(unknown, 1, initial_state="anything")
    manager.mock_instance(unknown, 2, "something")
    manager.close()
    learning = make_manager(learning_mode=True)
    learning.init_instance(Order, 3, initial_state="imported")
    learning.mock_instance(Order, 4, "limbo")
    assert [learning.get_instance(n).current_state for n in (1, 2, 3, 4)] == [
        "anything", "something", "imported", "limbo",
    ]  # fmt: skip


def test_a_model_that_learns_only_because_it_was_missing_is_named_in_each_run(
    make_manager: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Each shard says it once; a manager that is told to learn says nothing."""
    runs = []
    for learning in (False, False, True):
        caplog.clear()
        manager = make_manager(learning_mode=learning)
        for _ in range(3):
            manager.init_instance(Order, 1)
            manager.delete_instance(1)
        manager.close()
        runs.append([record.getMessage() for record in caplog.records if record.levelno == logging.WARNING])
    missing = (
        "there is no implementation model of contract.Order (asked for by instance 1): let a test suite or "
        "learning_mode=True make one; until then nothing that it does is judged"
    )
    still = (
        "the model of contract.Order is in no model file and still learns: nothing that its instances do is judged. "
        "Save it with `spex-shards export`, and set its learning mode to false; or give learning_mode=True, if it is "
        "to go on"
    )
    [first], [second], third = runs
    assert missing in first
    assert still in second
    assert third == []


def test_a_specification_without_transitions_is_said_to_judge_nothing_once(
    make_manager: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """In each run, with what is missing and what to do; not if behaviour is to be learned."""
    unknown = spex.Specification.define("observations.Silent", [])
    text = (
        "observations.Silent declares no transitions: nothing that its instances do is judged, it is only recorded in "
        "its model. Declare transitions; or, if its behaviour is to be learned, give the manager learning_mode=True"
    )
    for run in range(3):
        manager = make_manager(learning_mode=run == 2)
        for number in range(3):
            manager.init_instance(unknown, (run, number), initial_state="x")
            manager.transition((run, number), "a", "y")
        manager.close()
    assert [record.getMessage() for record in caplog.records].count(text) == 2


def test_states_and_actions_may_be_enum_members(manager: Any) -> None:
    """A str-valued Enum member counts as its value."""

    class Word(enum.Enum):
        PAY = "pay"
        PAID = "paid"

    manager.init_instance(Order, 1)
    manager.transition(1, Word.PAY, Word.PAID)
    assert steps(manager, 1)[1] == ("pay", "paid")


@pytest.mark.parametrize("form", ["init_instance", "try_init_instance", "init_instance_nowait"])
def test_arguments_of_init_are_checked_in_the_calling_thread(manager: Any, form: str) -> None:
    """In all forms of the call, a wrong argument raises at once, and nothing is stored."""
    call = getattr(manager, form)
    empty = spex.Specification.define("contract.Empty", [])
    for arguments, error in [
        (("Order", 1), TypeError),
        ((spex.Specification, 1), TypeError),
        ((Order, object()), TypeError),
        ((Order, float("nan")), TypeError),
        ((Order, 1, [1]), TypeError),
        ((Order, 1, {1: 2}), TypeError),
        ((Order, 1, {"a": object()}), TypeError),
        ((Order, 1, None, 5), TypeError),
        ((Order, "\ud800"), ValueError),
        ((Order, 1, None, "\ud800"), ValueError),
        ((empty, 1), ValueError),
    ]:
        with pytest.raises(error):
            call(*arguments)
    assert manager.all_instances() == []


@pytest.mark.parametrize("form", ["transition", "try_transition", "transition_nowait"])
def test_arguments_of_transition_are_checked_in_the_calling_thread(manager: Any, form: str) -> None:
    """In all forms of the call, a wrong argument raises at once, and the instance does not move."""
    manager.init_instance(Order, 1)
    call = getattr(manager, form)
    for arguments, error in [
        ((1, 5, "paid"), TypeError),
        ((1, "pay", None), TypeError),
        ((1, spex.INITIALISATION, "paid"), ValueError),
        ((1, "pay\ud800", "paid"), ValueError),
        (({1, 2}, "pay", "paid"), TypeError),
    ]:
        with pytest.raises(error):
            call(*arguments)
    assert len(manager.get_instance(1).history) == 1


def test_an_identifier_in_use_goes_to_the_specifications_handler(manager: Any) -> None:
    """The default handler returns the error with its reason and context; the instance is unchanged."""
    manager.init_instance(Order, 1)
    with pytest.raises(spex.IdentifierInUse, match="there is one already") as caught:
        manager.init_instance(Order, 1)
    assert str(caught.value) == (
        "contract.Order cannot get an instance 1: there is one already, of contract.Order, in the state 'new'. Go on "
        "with it by transition; or delete it first by delete_instance; or give the new one another identifier"
    )
    assert caught.value.reason == "instance_identifier_already_in_use"
    assert caught.value.context == {"identifier": 1}
    assert len(manager.get_instance(1).history) == 1


def test_an_unknown_identifier_goes_to_the_default_handler(manager: Any) -> None:
    """Its specification is unknown; the error is a KeyError too, and its text a plain sentence."""
    with pytest.raises(spex.InstanceNotFound) as caught:
        manager.transition("nobody", "a", "b")
    assert isinstance(caught.value, KeyError)
    assert str(caught.value) == (
        "there is no instance 'nobody': create it first, by init_instance(SPECIFICATION, 'nobody'); identifiers are "
        "told apart by type as well, so that 1 and '1' are two"
    )
    error = manager.try_transition("nobody", "a", "b")
    assert isinstance(error, spex.InstanceNotFound)
    assert error.context == {"identifier": "nobody"}


def test_the_default_handler_logs_in_the_application_with_the_place_of_the_call(
    manager: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """An accepted error is a warning, a returned one an error; the record names this file."""
    with caplog.at_level(logging.WARNING, "spex_shards"):
        manager.init_instance(Order, 1)
        manager.try_init_instance(Order, 1)
    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.WARNING, logging.ERROR]
    assert all("test_contract_observations.py" in record.getMessage() for record in caplog.records)
    assert caplog.records[0].process in {os.getpid(), *(shard.pid for shard in manager.shards())}


def test_a_refused_missing_model_stores_nothing(manager: Any) -> None:
    """The next try has the same result, and does not say that the identifier is in use."""
    for _ in range(2):
        with pytest.raises(spex.ImplModelNotFound) as caught:
            manager.init_instance(Strict, 1)
        assert caught.value.context == {"specification": Strict.name, "identifier": 1}
    assert manager.all_instances() == []
    assert manager.all_impl_models() == []


def test_an_accepted_missing_model_is_made_and_learns(manager: Any) -> None:
    """It has the initialisation and what followed."""
    manager.init_instance(Order, 1)
    manager.transition(1, "pay", "paid")
    assert manager.all_impl_models() == [model(Order, ("new", "pay", "paid"), learning_mode=True)]


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("raises", "ZeroDivisionError: by me"),
        ("exits", "SystemExit: 3"),
        ("returns an exception", "KeyError"),
        ("returns something", "must return None or a SpexError, got: 42"),
        ("is a coroutine", "must return None or a SpexError"),
        ("calls the manager", "RuntimeError: a handler must not call a manager"),
    ],
)
def test_a_handler_that_misbehaves_becomes_a_handler_error(manager: Any, how: str, text: str) -> None:
    """Its text has the original's class and text; the shard lives."""
    with pytest.raises(spex.HandlerError, match=text) as caught:
        manager.init_instance(Odd, how)
    if how == "raises":
        assert "ZeroDivisionError" in str(caught.value.__cause__)
        assert "error_handler" in str(caught.value.__cause__)
    manager.init_instance(Order, 1)
    assert sum(shard.restarts for shard in manager.shards()) == 0


def test_an_error_that_a_handler_raises_counts_as_returned(manager: Any) -> None:
    """Raised or returned, a SpexError reaches the caller."""
    assert isinstance(manager.try_init_instance(Odd, "raises its error"), spex.ImplModelNotFound)


def test_an_error_of_the_users_own_arrives_as_what_it_is_derived_from(manager: Any) -> None:
    """Across processes it is its nearest class of the library, with the application's class in the context."""
    error = manager.try_init_instance(WithOwnError, 1)
    assert isinstance(error, spex.TransitionError)
    assert str(error) == "my own words"
    assert error.context["detail"] == 7
    if isinstance(manager, spex.SimpleInstanceManager):
        assert type(error).__name__ == "Own"
    else:
        assert error.context["class"].endswith("contract_specs.Own")
    again = pickle.loads(pickle.dumps(copy.copy(error)))
    assert (type(again), str(again), again.context) == (type(error), str(error), error.context)


@pytest.fixture
def judging(make_manager: Callable[..., Any], places: dict[str, Path]) -> Any:
    """Return a manager whose models of Strict, Lenient and Order do not learn and have only the first step."""
    for cls in (Strict, Lenient):
        write_model(places["impl_models_dir"], model(cls, ("a", "go", "b")))
    write_model(places["impl_models_dir"], model(Order, ("new", "pay", "paid"), ("paid", "ship", "shipped")))
    return make_manager()


def test_a_deviation_is_judged_and_the_instance_moves_all_the_same(judging: Any) -> None:
    """The handler's decision is the answer; context and text say what happened."""
    judging.init_instance(Strict, 1)
    judging.transition(1, "go", "b")
    with pytest.raises(spex.DeviationStillEquivalent, match=r"b --\[stop\]-> c") as caught:
        judging.transition(1, "stop", "c")
    assert caught.value.context["deviating_transition"] == spex.Transition("b", "stop", "c")
    assert caught.value.context["verdict"] is spex.Verdict.EQUIVALENT
    assert caught.value.context["instance"] == judging.get_instance(1)
    assert judging.get_instance(1).current_state == "c"
    judging.init_instance(Strict, 2)
    with pytest.raises(spex.DeviationNotEquivalent) as caught_later:
        judging.transition(2, "explode", "b")
    assert caught_later.value.context["verdict"] is spex.Verdict.VIOLATION
    assert [entry.to_state for entry in judging.get_instance(2).history] == ["a", "b"]


def test_a_deviating_initialisation_is_kept_too(judging: Any) -> None:
    """An initialisation into another state is a deviation like any other."""
    error = judging.try_init_instance(Strict, 1, None, "c")
    assert isinstance(error, spex.DeviationNotEquivalent)
    assert judging.get_instance(1).current_state == "c"


def test_nowait_leaves_handlers_errors_to_the_handler(judging: Any) -> None:
    """Nothing is raised, not even by flush; the observation is stored."""
    judging.init_instance_nowait(Strict, 1)
    judging.transition_nowait(1, "explode", "c")
    judging.transition_nowait("nobody", "a", "b")
    judging.flush()
    assert judging.get_instance(1).current_state == "c"


def test_the_order_of_calls_is_the_order_of_the_history(manager: Any) -> None:
    """Calls that wait and calls that do not are mixed."""
    manager.init_instance_nowait(Order, 1)
    for number in range(200):
        call = manager.transition if number % 7 == 0 else manager.transition_nowait
        call(1, "pay", str(number))
    assert [entry.to_state for entry in manager.get_instance(1).history[1:]] == [str(n) for n in range(200)]


def test_a_handlers_messages_arrive_in_order_with_errors_as_what_they_are(judging: Any) -> None:
    """`messages` yields them; a SpexError arrives as its class with its context."""
    judging.init_instance(Strict, 1)
    judging.transition(1, "go", "b")
    for _ in range(3):
        judging.try_transition(1, "explode", "b")
    got: list[Any] = []
    wait_until(lambda: got.extend(judging.messages()) or len(got) == 3, "three messages are there")
    assert [reason for reason, _ in got] == ["deviation_not_equivalent"] * 3
    assert isinstance(got[0][1], spex.DeviationNotEquivalent)
    assert got[0][1].context["deviating_transition"] == spex.Transition("b", "explode", "b")
    assert list(judging.messages(timeout=0.01)) == []


def test_on_message_gets_messages_on_one_thread(make_manager: Callable[..., Any], places: dict[str, Path]) -> None:
    """It is not the caller's, and it may call the manager."""
    write_model(places["impl_models_dir"], model(Strict, ("a", "go", "b")))
    got: list[tuple[str, int]] = []

    def on_message(message: Any) -> None:
        manager.get_instance(1)
        got.append((message[0], threading.get_ident()))

    manager = make_manager(on_message=on_message)
    manager.init_instance(Strict, 1)
    for _ in range(5):
        manager.try_transition(1, "explode", "a")
    wait_until(lambda: len(got) == 5, "all messages are there")
    assert len({thread for _, thread in got}) == 1
    assert got[0][1] != threading.get_ident()


def test_a_handler_that_cannot_be_imported_travels_by_value(
    make_manager: Callable[..., Any], places: dict[str, Path]
) -> None:
    """This works for a local class, its closure and `super()`, and for a handler given to `define`."""
    allowed = {"go"}

    class Local(spex.Specification):
        name = "contract.Local"
        transitions = [("a", "go", "b"), ("b", "stop", "c")]

        @classmethod
        def error_handler(cls, error: spex.SpexError, caller: Any) -> spex.SpexError | None:
            if error.context["deviating_transition"].action in allowed:
                return None
            return super().error_handler(error, caller)

    defined = spex.Specification.define("contract.Defined", [("a", "go", "b")], error_handler=lambda error, _: error)
    write_model(places["impl_models_dir"], model(Local, ("a", "other", "b")))
    manager = make_manager()
    manager.init_instance(Local, 1)
    manager.transition(1, "go", "b")
    assert isinstance(manager.try_transition(1, "explode", "b"), spex.DeviationNotEquivalent)
    assert isinstance(manager.try_init_instance(defined, 2), spex.ImplModelNotFound)


def test_threads_share_a_manager(manager: Any) -> None:
    """Each thread's calls are applied in its order."""

    def observe(number: int) -> None:
        manager.init_instance(Order, number)
        for step in range(50):
            (manager.transition if step % 2 else manager.transition_nowait)(number, "pay", str(step))

    threads = [threading.Thread(target=observe, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    manager.flush()
    for number in range(6):
        assert [entry.to_state for entry in manager.get_instance(number).history[1:]] == [str(n) for n in range(50)]


def test_threads_may_use_a_specification_for_the_first_time_at_once(manager: Any, monkeypatch: Any) -> None:
    """The shard knows the specification before any request of either thread arrives."""
    assert manager.all_instances() == []  # on open channels
    begun = threading.Event()
    if isinstance(manager, spex.ShardedInstanceManager):
        notice = Client._notice

        def slowly(self: Client, name: str, arguments: Any) -> bytes:
            begun.set()
            threading.Event().wait(0.05)
            return notice(self, name, arguments)

        monkeypatch.setattr(Client, "_notice", slowly)
    cls = spex.Specification.define("contract.AtOnce", [("a", "go", "b")])
    outcomes: list[Any] = []

    def observe(number: int) -> None:
        outcomes.append(manager.try_init_instance(cls, number))

    threads = [threading.Thread(target=observe, args=(number,)) for number in range(8)]
    for number, thread in enumerate(threads):
        thread.start()
        if number == 0 and isinstance(manager, spex.ShardedInstanceManager):
            assert begun.wait(20)
    for thread in threads:
        thread.join()
    assert outcomes == [None] * 8
