"""Defects of the library's ancestor that must not come back: one test per defect, named in its docstring."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.formats.model_files import write_model
from tests.engine.test_engine import Counting, engine_on
from tests.support.contract_specs import Lenient, Odd, Order, Strict, Timed, model
from tests.support.processes import kill_worker, wait_until


@pytest.mark.long
def test_many_instances_never_overwrite_each_other(manager: Any) -> None:
    """Defect: keys are a 27-bit hash, one collision expected at 16,000 instances."""
    for number in range(17_000):
        manager.init_instance_nowait(Order, number)
    manager.flush()
    assert sum(1 for _ in manager.iter_instances(history_limit=0)) == 17_000


def test_nothing_stored_is_an_empty_list(manager: Any) -> None:
    """Defect: the sharded manager answers ok instead of an empty list."""
    assert manager.all_instances() == []
    assert manager.all_impl_models() == []


@pytest.mark.process
def test_another_shard_count_is_refused(places: dict[str, Path]) -> None:
    """Defect: another shard count at the next start makes instances unreachable, silently."""
    with spex.ShardedInstanceManager(**places, distribution_factor=2, learning_mode=True) as manager:
        manager.init_instance(Order, 1)
    with pytest.raises(spex.LayoutMismatch):
        spex.ShardedInstanceManager(**places, distribution_factor=3).start()


@pytest.mark.process
def test_what_was_learned_survives_the_death_of_its_shard(places: dict[str, Path]) -> None:
    """Defect: transitions learned live exist in memory only."""
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True, call_timeout=20) as manager:
        manager.init_instance(Order, 1)
        manager.transition(1, "pay", "paid")
        before = manager.all_impl_models()
        kill_worker(manager, 0)
        assert manager.all_impl_models() == before
        assert len(before[0].transitions) == 2


def test_timers_survive_a_restart(make_manager: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    """Defect: timers not yet due are lost by a restart."""
    manager = make_manager(learning_mode=True)
    manager.init_instance(Timed, "survivor")
    manager.close()
    with caplog.at_level("WARNING", "spex_shards"):
        make_manager(learning_mode=True)
        wait_until(lambda: "'survivor'" in caplog.text, "the timeout is reported")


def test_a_transition_costs_the_same_however_old_its_instance_is() -> None:
    """Defect: the whole instance, history included, is rewritten at each transition."""
    store = Counting()
    engine = engine_on(store)
    costs = []
    for number in range(3000):
        before = store.operations, store.bytes
        engine.transition(b"\x01", "go", "b", number)
        engine.batch.commit()
        costs.append((store.operations - before[0], store.bytes - before[1]))
    assert costs[2999][0] <= costs[10][0]
    assert costs[2999][1] <= costs[10][1] + 16


@pytest.mark.process
def test_what_was_acknowledged_survives_kill_9(places: dict[str, Path]) -> None:
    """Defect: the data file is flushed every three minutes; a crash loses what came after."""
    manager = spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True).start()
    for number in range(100):
        manager.init_instance(Order, number)
    os.kill(manager.shards()[0].pid or 0, signal.SIGKILL)
    manager.close()
    with spex.ShardedInstanceManager(**places, distribution_factor=1) as manager:
        assert len(manager.all_instances()) == 100


def test_a_rejected_initialisation_leaves_nothing(manager: Any) -> None:
    """Defect: the instance stays stored, so that the next try says already in use."""
    for _ in range(2):
        assert isinstance(manager.try_init_instance(Strict, 1), spex.ImplModelNotFound)
    assert manager.all_instances() == []


def test_a_deviation_seen_again_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defect: the same deviation is checked again in full each time."""
    from spex_shards.checking import checker

    checks = []
    check = checker.ConformanceChecker.check

    def counted(self: Any, *arguments: Any) -> Any:
        checks.append(1)
        return check(self, *arguments)

    monkeypatch.setattr(checker.ConformanceChecker, "check", counted)
    engine = engine_on(Counting(), model(Lenient, ("a", "go", "b")))
    for number in range(500):
        engine.transition(b"\x01", "explode", "a", number)
        if number == 3:
            checks.clear()
    assert not checks


def test_deviations_are_judged_together(make_manager: Callable[..., Any], places: dict[str, Path]) -> None:
    """Defect: two deviations are judged separately and both pass, although together they break equivalence."""
    either = spex.Specification.define(
        "defects.Either", [("s", "a", "t"), ("s", "b", "u"), ("t", "x", "s"), ("u", "y", "s")]
    )
    known = [("s", "a", "t"), ("s", "b", "u"), ("t", "x", "s"), ("u", "y", "s")]
    write_model(places["impl_models_dir"], model(either, *known))
    manager = make_manager()
    one, two, three = on_one_shard(manager, 3)
    # No transition of the model leads to `p`: transitions that leave `p` change nothing, and are accepted.
    for identifier, action in ((one, "x"), (two, "y")):
        manager.mock_instance(either, identifier, "s")
        assert isinstance(manager.try_transition(identifier, "go", "p"), spex.DeviationNotEquivalent)
        assert manager.try_transition(identifier, action, "s") is None
    # With those accepted, `p` can do both x and y, which no state of the specification can: now it must not be reached,
    # though s --a-> p would pass with x alone.
    manager.mock_instance(either, three, "s")
    assert isinstance(manager.try_transition(three, "a", "p"), spex.DeviationNotEquivalent)


def on_one_shard(manager: Any, count: int) -> list[int]:
    """Return identifiers that are routed to one shard."""
    from spex_shards.runtime.protocol.routing import table

    shards = table(len(manager.shards()))
    return [number for number in range(100) if shards[spex_slot(number)] == 0][:count]


def test_a_handler_that_raises_leaves_its_shard_alive(manager: Any) -> None:
    """Defect: a handler that raises, or that calls the manager, kills the shard."""
    for how in ("raises", "calls the manager"):
        with pytest.raises(spex.HandlerError):
            manager.init_instance(Odd, how)
    manager.init_instance(Order, 1)
    assert [shard.restarts for shard in manager.shards()] == [0] * len(manager.shards())


def test_storage_errors_go_to_the_caller_and_never_to_a_handler() -> None:
    """Defect: storage errors go through the handler, which can accept a change that was not stored."""
    store = Counting()
    engine = engine_on(store, model(Lenient, ("a", "go", "b")))
    store.failing = True
    engine.transition(b"\x01", "explode", "b", 5)
    with pytest.raises(spex.StoreError):
        engine.batch.commit()
    store.failing = False
    assert engine.get_instance(b"\x01", 10)[1] == 1
    assert engine.deviations(None) == []


@pytest.mark.process
def test_observations_sent_without_waiting_survive_a_crash(places: dict[str, Path]) -> None:
    """Defect: 1,764 of 2,000 observations sent without waiting vanish with a crash, silently."""
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True, call_timeout=20) as manager:
        for number in range(2000):
            manager.init_instance_nowait(Order, number)
        kill_worker(manager, 0)
        manager.flush(30)
        assert sum(1 for _ in manager.iter_instances()) == 2000


@pytest.mark.process
def test_a_call_that_times_out_says_that_it_may_be_carried_out(places: dict[str, Path]) -> None:
    """Defect: a waiting call times out at a fixed 5 s though it is carried out later."""
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True, call_timeout=0.2) as manager:
        manager.init_instance(Order, 1)
        pid = manager.shards()[0].pid
        os.kill(pid, signal.SIGSTOP)
        error = manager.try_transition(1, "pay", "paid")
        assert isinstance(error, spex.CallTimeout)
        assert error.maybe_executed
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: manager.get_instance(1).current_state == "paid", "it is carried out")


@pytest.mark.process
def test_a_shard_that_dies_often_takes_no_other_down(places: dict[str, Path]) -> None:
    """Defect: the fourth crash in 5 s takes all shards down."""
    with spex.ShardedInstanceManager(**places, distribution_factor=2, max_restarts=0, learning_mode=True) as manager:
        kill_worker(manager, 0)
        wait_until(lambda: manager.shards()[0].status is spex.ShardStatus.FAILED, "it is given up")
        other = next(number for number in range(99) if manager.transport._table[spex_slot(number)] == 1)
        manager.init_instance(Order, other)
        assert manager.shards()[1].status is spex.ShardStatus.READY


def spex_slot(identifier: Any) -> int:
    """Return an identifier's slot."""
    from spex_shards.runtime.protocol.codec import canonical
    from spex_shards.runtime.protocol.routing import slot_of

    return slot_of(canonical(identifier))


def test_a_stored_instance_of_a_removed_specification_does_no_harm(make_manager: Callable[..., Any]) -> None:
    """Defect: it stops the start."""
    from spex_shards.domain import specification

    removed = spex.Specification.define("defects.Removed", [("a", "b", "c")])
    manager = make_manager()
    manager.init_instance(removed, 1)
    manager.close()
    del specification._registered["defects.Removed"]
    manager = make_manager()
    manager.transition(1, "b", "c")
    assert manager.get_instance(1).specification.states == ("a", "c")


def test_a_missed_timeout_is_reported_at_one_start_only(
    make_manager: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Defect: the same missed timeout is reported at each start; a deleted instance logs a spurious error."""
    caplog.set_level("WARNING", "spex_shards")
    manager = make_manager(learning_mode=True)
    manager.init_instance(Timed, "once")
    manager.init_instance(Timed, "deleted")
    manager.delete_instance("deleted")
    wait_until(lambda: "'once'" in caplog.text, "it is reported")
    manager.close()
    manager = make_manager(learning_mode=True)
    manager.init_instance(Timed, "later")
    wait_until(lambda: "'later'" in caplog.text, "another one is reported")
    assert caplog.text.count("instance 'once'") == 1
    assert "'deleted'" not in caplog.text


def test_a_predicate_that_raises_says_what_was_deleted(manager: Any) -> None:
    """Defect: it kills the caller after partial deletes on other shards."""
    for number in range(30):
        manager.init_instance(Order, number)
    with pytest.raises(spex.PredicateError) as caught:
        manager.delete_instances(lambda instance: 1 // (instance.identifier - 3))
    left = len(manager.all_instances())
    assert caught.value.context["deleted"] == 30 - left


def test_a_malformed_model_file_affects_its_own_specification_only(
    make_manager: Callable[..., Any], places: dict[str, Path]
) -> None:
    """Defect: one malformed file keeps every shard from starting."""
    places["impl_models_dir"].mkdir()
    (places["impl_models_dir"] / f"{Strict.name}.spex").write_text("nonsense")
    manager = make_manager()
    manager.init_instance(Order, 1)
    assert isinstance(manager.try_init_instance(Strict, 2), spex.DeserialisationFailed)


def test_only_internal_is_silent_and_a_model_is_checked_from_its_initial_state() -> None:
    """Defect: an action called i counts as silent; a model whose initial state has no step is checked elsewhere."""
    for action in ("i", "tau"):
        assert not spex.compare(spex.LTS(0, [(0, action, 1), (1, "a", 2)]), spex.LTS(0, [(0, "a", 1)])).equivalent
    assert spex.compare(spex.LTS(0, [(0, spex.INTERNAL, 1), (1, "a", 2)]), spex.LTS(0, [(0, "a", 1)])).equivalent
    assert not spex.compare(spex.LTS(9, [(0, "a", 1)]), spex.LTS(0, [(0, "a", 1)])).equivalent


def test_what_is_no_specification_is_a_type_error(manager: Any) -> None:
    """Defect: it crashes the server after storing an instance."""
    for wrong in (object, "Order", None, Order()):
        with pytest.raises(TypeError, match="must be a Specification class"):
            manager.init_instance(wrong, 1)
    assert manager.all_instances() == []


def test_a_check_of_an_empty_directory_is_no_success(tmp_path: Path) -> None:
    """Defect: an offline check of an empty directory says that all 0 models are equivalent, exit 0."""
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "spex_shards.cli", "check", str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr


@pytest.mark.process
def test_a_call_during_a_restart_waits_for_it(places: dict[str, Path]) -> None:
    """Defect: a call during a shard's restart crashes the caller."""
    with spex.ShardedInstanceManager(**places, distribution_factor=1, learning_mode=True, call_timeout=20) as manager:
        for number in range(3):
            kill_worker(manager, 0)
            manager.init_instance(Order, number)
        assert manager.shards()[0].restarts == 3


def test_names_in_a_file_are_escaped_and_never_imported(tmp_path: Path) -> None:
    """Defect: a file that names an unknown specification makes new atoms; names are not escaped."""
    import sys

    nasty = spex.Transition("a]-> b", "--[x", "\n nil ")
    found = spex.ImplModel(specification="antigravity.Nothing", transitions=[nasty])
    text = found.serialise()
    assert spex.ImplModel.deserialise(text) == found
    with pytest.raises(spex.SpecificationError):
        spex.check(found)
    assert "antigravity" not in sys.modules
