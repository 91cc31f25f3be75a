"""`transition_many` and `pipeline`: many observations in one request; in all managers and modes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards.aio import AsyncInstanceManager
from spex_shards.domain.transition import INITIALISATION
from tests.support.processes import wait_until


class Order(spex.Specification):
    """What the observations here belong to."""

    name = "many.Order"
    transitions = [("new", "pay", "paid"), ("paid", "ship", "shipped"), ("shipped", "return", "new")]


class Judged(spex.Specification):
    """A specification whose runs are judged."""

    name = "many.Judged"
    judge = "run"
    transitions = [("a", "go", "b"), ("b", "back", "a")]


class Telling(spex.Specification):
    """A specification whose handler sends a message, and accepts everything but a state called "never"."""

    name = "many.Telling"
    judge = "run"
    transitions = [("a", "go", "b")]

    @classmethod
    def error_handler(cls, error: spex.SpexError, caller: spex.Caller | None) -> spex.SpexError | None:
        """Send the target."""
        target = error.context["deviating_transition"].target
        assert caller is not None
        caller.send(target)
        return error if target == "never" else None


ROUND = (("pay", "paid"), ("ship", "shipped"), ("return", "new"))


def history(manager: Any, identifier: Any) -> list[tuple[str, str]]:
    """Return what was observed of an instance."""
    return [(step.action, step.to_state) for step in manager.get_instance(identifier).history]


def test_many_transitions_are_applied_in_order_and_durable_at_the_end(make_manager: Callable[..., Any]) -> None:
    """More than fit into one request, of several instances, from an iterator."""
    manager = make_manager(learning_mode=True)
    for identifier in ("x", "y", 3):
        manager.init_instance(Order, identifier)
    manager.transition_many((identifier, *ROUND[step % 3]) for step in range(600) for identifier in ("x", "y", 3))
    for identifier in ("x", "y", 3):
        assert history(manager, identifier) == [(INITIALISATION, "new"), *(ROUND[step % 3] for step in range(600))]
    manager.transition_many([])


def test_each_transition_is_judged_by_itself_and_all_errors_are_raised(make_manager: Callable[..., Any]) -> None:
    """A deviation is kept as ever, an unknown instance is told, what follows is applied; each note has the number."""
    manager = make_manager(learning_mode=True)
    manager.init_instance(Judged, 1)
    steps = [(1, "go", "b"), (1, "leap", "c"), ("nobody", "go", "b"), (1, "back", "a")]
    with pytest.raises(ExceptionGroup, match=r"[23] of 4 observations") as raised:
        manager.transition_many(steps)
    found = {error.__notes__[-1]: type(error) for error in raised.value.exceptions}
    assert found.pop("observation 1") is spex.DeviationFromSpecification
    assert found.pop("observation 2") is spex.InstanceNotFound
    assert set(found) <= {"observation 3"}  # the run has left the specification: "back" is judged from there
    assert history(manager, 1) == [(INITIALISATION, "a"), ("go", "b"), ("leap", "c"), ("back", "a")]


def test_what_a_handler_sends_arrives_and_what_it_accepts_is_no_error(make_manager: Callable[..., Any]) -> None:
    """The handler runs once for each deviation, and what it accepts is no error."""
    manager = make_manager(learning_mode=True)
    for identifier in (1, 2, 3):
        manager.init_instance(Telling, identifier)
    with pytest.raises(ExceptionGroup) as raised:
        manager.transition_many([(1, "x", "one"), (2, "x", "never"), (3, "x", "two")])
    assert [error.__notes__[-1] for error in raised.value.exceptions] == ["observation 1"]
    manager.flush()
    got: list[Any] = []
    wait_until(lambda: got.extend(manager.messages()) or len(got) >= 3, "the messages arrive")
    assert sorted(got) == ["never", "one", "two"]
    assert [history(manager, identifier)[-1][1] for identifier in (1, 2, 3)] == ["one", "never", "two"]


@pytest.mark.parametrize(
    ("entry", "error", "words"),
    [
        (
            (1, "pay"),
            TypeError,
            r"entry 1 of the transitions must be \(identifier, action, to_state\), got: \(1, 'pay'\)",
        ),
        (7, TypeError, "entry 1 of the transitions must be"),
        ((1, 7, "paid"), TypeError, "the action must be"),
        ((1, INITIALISATION, "paid"), ValueError, "reserved"),
        ((object(), "pay", "paid"), TypeError, "identifier"),
    ],
)
def test_a_wrong_entry_is_named_and_what_came_before_it_is_observed(
    make_manager: Callable[..., Any], entry: Any, error: type[Exception], words: str
) -> None:
    """Nothing after it is."""
    manager = make_manager(learning_mode=True)
    manager.init_instance(Order, 1)
    with pytest.raises(TypeError, match=r"the transitions must be an iterable of .*, got: None"):
        manager.transition_many(None)
    with pytest.raises(error, match=words):
        manager.transition_many([(1, "pay", "paid"), entry, (1, "ship", "shipped")])
    assert history(manager, 1) == [(INITIALISATION, "new"), ("pay", "paid")]


def test_an_exception_of_the_iterator_comes_through(make_manager: Callable[..., Any]) -> None:
    """What it had given before is observed."""
    manager = make_manager(learning_mode=True)
    manager.init_instance(Order, 1)

    def steps() -> Iterator[tuple[Any, str, str]]:
        yield 1, "pay", "paid"
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        manager.transition_many(steps())
    assert history(manager, 1) == [(INITIALISATION, "new"), ("pay", "paid")]


def test_in_observe_nothing_is_raised_and_all_is_counted(make_manager: Callable[..., Any]) -> None:
    """Each observation is then sent by itself; in `off` none is."""
    manager = make_manager(learning_mode=True, mode="observe", observe_timeout=20)
    manager.init_instance(Judged, 1)
    manager.transition_many([(1, "go", "b"), (1, "leap", "c")])
    manager.flush()
    assert manager.losses().posted == 2
    assert [state for _, state in history(manager, 1)] == ["a", "b", "c"]
    manager.mode = "off"
    manager.transition_many([(1, "go", "d")])
    assert [state for _, state in history(manager, 1)] == ["a", "b", "c"]


def test_a_pipeline_creates_instances_and_moves_them(make_manager: Callable[..., Any]) -> None:
    """Also with meta and another initial state; `send` makes what is gathered durable in the middle."""
    manager = make_manager(learning_mode=True)
    with manager.pipeline() as pipeline:
        pipeline.init_instance(Order, "x", meta={"size": 3})
        pipeline.transition("x", "pay", "paid")
        pipeline.send()
        assert history(manager, "x") == [(INITIALISATION, "new"), ("pay", "paid")]
        pipeline.init_instance(Order, "y", initial_state="paid")
        pipeline.transition("y", "ship", "shipped")
    assert manager.get_instance("x").meta == {"size": 3}
    assert history(manager, "y") == [(INITIALISATION, "paid"), ("ship", "shipped")]


def test_a_pipeline_that_an_exception_ends_has_sent_what_was_gathered(make_manager: Callable[..., Any]) -> None:
    """The exception has a note if observations have failed as well."""
    manager = make_manager(learning_mode=True)
    manager.init_instance(Order, 1)

    def work() -> None:
        with manager.pipeline() as pipeline:
            pipeline.transition(1, "pay", "paid")
            pipeline.transition("nobody", "pay", "paid")
            raise LookupError("in the block")

    with pytest.raises(LookupError) as raised:
        work()
    assert raised.value.__notes__ == ["1 observations of the pipeline have failed as well"]
    assert history(manager, 1) == [(INITIALISATION, "new"), ("pay", "paid")]


def test_an_identifier_in_use_is_one_error_of_a_pipeline(make_manager: Callable[..., Any]) -> None:
    """What was there stays."""
    manager = make_manager(learning_mode=True)
    pipeline = manager.pipeline()
    for _ in range(2):
        pipeline.init_instance(Order, 1)
    pipeline.transition(1, "pay", "paid")
    with pytest.raises(ExceptionGroup) as raised:
        pipeline.send()
    assert [type(error) for error in raised.value.exceptions] == [spex.IdentifierInUse]
    assert history(manager, 1) == [(INITIALISATION, "new"), ("pay", "paid")]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([*ROUND, ("odd", "elsewhere")])), max_size=60))
def test_many_leaves_what_single_calls_leave(
    places: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, tuple[str, str]]]
) -> None:
    """The same histories, deviations and models, for any sequence of steps of some instances that exist or do not."""

    def outcome(many: bool) -> Any:
        folder = tmp_path_factory.mktemp("many")
        options = {"data_dir": folder / "data", "impl_models_dir": folder / "models"}
        with spex.SimpleInstanceManager(**options, learning_mode=True) as manager:
            manager.init_instance(Order, 0)
            manager.init_instance(Judged, 1)
            entries = [(identifier, *step) for identifier, step in steps]
            errors: list[str] = []
            if many:
                try:
                    manager.transition_many(entries)
                except* spex.SpexError as group:
                    errors = [type(error).__name__ for error in group.exceptions]
            else:
                errors = [type(e).__name__ for entry in entries if (e := manager.try_transition(*entry)) is not None]
            instances = [(one.identifier, [step[:2] for step in one.history]) for one in manager.all_instances()]
            models = [(model.specification, sorted(model.transitions, key=str)) for model in manager.all_impl_models()]
            return errors, instances, models, [(one.transition, one.count) for one in manager.deviations()]

    assert outcome(many=True) == outcome(many=False)


@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
def test_a_request_of_many_is_applied_once_through_the_death_of_its_shard(places: dict[str, Path]) -> None:
    """The shard is stopped while requests are on their way, and killed."""
    with spex.ShardedInstanceManager(
        **places, distribution_factor=1, learning_mode=True, call_timeout=60, max_restarts=99
    ) as manager:
        manager.init_instance(Order, 1)

        def steps() -> Iterator[tuple[Any, str, str]]:
            for step in range(3000):
                if step % 700 == 600:
                    os.kill(manager.shards()[0].pid or 0, signal.SIGKILL)
                yield 1, *ROUND[step % 3]

        manager.transition_many(steps())
        assert history(manager, 1) == [(INITIALISATION, "new"), *(ROUND[step % 3] for step in range(3000))]
        assert manager.shards()[0].restarts == 4


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # raised in a callback of a weak reference
def test_an_exception_of_a_signal_handler_comes_through_and_nothing_is_sent_twice(places: dict[str, Path]) -> None:
    """Wherever it cuts a request off: it is no error of an observation, and what was observed before stays in order."""

    class Cut(ValueError):
        pass

    def cut(*_: object) -> None:
        raise Cut

    before = signal.signal(signal.SIGALRM, cut)
    cuts = 0
    try:
        with spex.SimpleInstanceManager(**places, learning_mode=True) as manager:
            for number in range(60):
                manager.init_instance(Order, number)
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.000_1 + number / 20_000)
                    try:
                        manager.transition_many((number, *ROUND[step % 3]) for step in range(300))
                    finally:
                        signal.setitimer(signal.ITIMER_REAL, 0)
                except Cut:
                    cuts += 1
                steps = history(manager, number)[1:]
                assert steps == [ROUND[step % 3] for step in range(len(steps))]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert cuts > 5


@pytest.mark.process
@pytest.mark.usefixtures("no_process_left")
def test_a_forked_child_leaves_to_its_parent_what_was_gathered(places: dict[str, Path]) -> None:
    """It may gather and send its own in the same block."""
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True, call_timeout=30) as manager:
        for number in (1, 2):
            manager.init_instance(Order, number)
        with manager.pipeline() as pipeline:
            pipeline.transition(1, "pay", "paid")
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    pipeline.transition(2, "pay", "paid")
                    pipeline.send()
                    code = 0
                finally:
                    os._exit(code)
            assert os.waitpid(child, 0)[1] == 0
        assert [len(history(manager, number)) for number in (1, 2)] == [2, 2]


@pytest.mark.process
def test_a_task_that_is_cancelled_leaves_no_noise(places: dict[str, Path]) -> None:
    """A request of many that was on its way is applied once; warnings are errors in these tests."""

    async def main() -> None:
        async with AsyncInstanceManager(**places, distribution_factor=1, learning_mode=True) as manager:
            await manager.init_instance(Order, 1)
            task = asyncio.create_task(manager.transition_many((1, *ROUND[step % 3]) for step in range(2000)))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gc.collect()
            await manager.transition_many([])
            found = await manager.get_instance(1)
            steps = [(step.action, step.to_state) for step in found.history][1:]
            assert len(steps) % 512 == 0
            assert steps == [ROUND[step % 3] for step in range(len(steps))]

    asyncio.run(main())
