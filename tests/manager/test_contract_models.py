"""The contract of models and deviations, over all managers and restarts of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.formats.model_files import write_model
from spex_shards.runtime.protocol import codec, routing
from tests.support.contract_specs import Lenient, Order, Strict, model

A_B = spex.Transition("a", "go", "b")
B_C = spex.Transition("b", "stop", "c")


def test_a_file_with_learning_off_is_the_model(make_manager: Callable[..., Any], places: dict[str, Path]) -> None:
    """Its transitions are accepted silently; any other is a deviation and is not learned."""
    write_model(places["impl_models_dir"], model(Strict, ("a", "go", "b")))
    manager = make_manager()
    manager.init_instance(Strict, 1)
    manager.transition(1, "go", "b")
    assert isinstance(manager.try_transition(1, "stop", "c"), spex.DeviationStillEquivalent)
    assert manager.all_impl_models() == [model(Strict, ("a", "go", "b"))]


def test_a_file_with_learning_on_is_united_with_what_is_stored(
    make_manager: Callable[..., Any], places: dict[str, Path]
) -> None:
    """The stored transitions and those of the file are one model."""
    write_model(places["impl_models_dir"], model(Strict, learning_mode=True))
    manager = make_manager()
    manager.init_instance(Strict, 1)
    manager.transition(1, "go", "b")
    manager.close()
    write_model(places["impl_models_dir"], model(Strict, ("b", "stop", "c"), learning_mode=True))
    assert make_manager().all_impl_models() == [model(Strict, ("a", "go", "b"), ("b", "stop", "c"), learning_mode=True)]


def test_without_a_file_the_stored_model_goes_on(make_manager: Callable[..., Any]) -> None:
    """Learned transitions survive a restart, united over all shards."""
    manager = make_manager()
    for number in range(12):
        manager.init_instance(Order, number)
        manager.transition(number, "pay", f"paid {number}")
    manager.close()
    again = make_manager()
    [found] = again.all_impl_models()
    assert len(found.transitions) == 13
    assert found.learning_mode
    again.transition(0, "x", "y")
    assert len(again.all_impl_models()[0].transitions) == 14


def test_learning_mode_makes_every_model_learn_unasked(
    make_manager: Callable[..., Any], places: dict[str, Path]
) -> None:
    """Missing models are created without asking the handler; models with learning off learn too."""
    write_model(places["impl_models_dir"], model(Lenient, ("a", "go", "b")))
    manager = make_manager(learning_mode=True)
    for cls in (Strict, Lenient):
        manager.init_instance(cls, cls.name)
        manager.transition(cls.name, "other", "b")
    assert all(spex.Transition("a", "other", "b") in m.transitions for m in manager.all_impl_models())
    assert manager.deviations() == []


def test_a_malformed_file_affects_its_own_specification_only(
    make_manager: Callable[..., Any], places: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged at the start with name and line, and calls for its specification raise DeserialisationFailed."""
    places["impl_models_dir"].mkdir()
    (places["impl_models_dir"] / "x.spex").write_text(
        f"Specification: {Strict.name}\nLearning mode: maybe\nTransitions:\n"
    )
    with caplog.at_level(logging.WARNING, "spex_shards"):
        manager = make_manager()
    assert "x.spex" in caplog.text
    assert "line 2" in caplog.text
    with pytest.raises(spex.DeserialisationFailed) as caught:
        manager.init_instance(Strict, 1)
    assert caught.value.reason == "deserialisation_failed"
    assert caught.value.context["line"] == 2
    manager.init_instance(Order, 1)
    manager.init_instance_nowait(Strict, 2)
    with pytest.raises(ExceptionGroup) as group:
        manager.flush()
    assert [type(error) for error in group.value.exceptions] == [spex.DeserialisationFailed]
    manager.flush()
    assert sum(stats["unapplied"] for stats in manager.stats()) == 1


def test_two_files_for_one_name_are_an_error_at_the_start(
    make_manager: Callable[..., Any], places: dict[str, Path]
) -> None:
    """The error names both files, and the directory is free again."""
    places["impl_models_dir"].mkdir()
    for name in ("one", "two"):
        (places["impl_models_dir"] / f"{name}.spex").write_text(model(Order).serialise())
    with pytest.raises(spex.ImplModelError, match=r"one\.spex.*two\.spex"):
        make_manager()
    (places["impl_models_dir"] / "two.spex").unlink()
    make_manager()


def test_export_gives_files_that_read_back(manager: Any) -> None:
    """One (file name, text) for each model."""
    assert manager.export_impl_models() == []
    manager.init_instance(Order, 1)
    [(name, text)] = manager.export_impl_models()
    assert name == "contract.Order.spex"
    assert spex.ImplModel.deserialise(text) == manager.all_impl_models()[0]


@pytest.fixture
def start(make_manager: Callable[..., Any], places: dict[str, Path]) -> Callable[[], Any]:
    """Return a function that starts a manager whose model of Order has one of two steps; the other is a deviation."""
    write_model(places["impl_models_dir"], model(Order, ("new", "pay", "paid"), ("paid", "ship", "shipped")))
    return make_manager


def cancelled(manager: Any, identifier: Any) -> spex.SpexError | None:
    """Observe an order that is paid and then cancelled."""
    manager.init_instance(Order, identifier)
    manager.transition(identifier, "pay", "paid")
    return manager.try_transition(identifier, "cancel", "cancelled")


def test_a_deviation_that_stays_equivalent_is_accepted_and_counted(start: Callable[[], Any]) -> None:
    """It is reported each time, and its row says how often and when."""
    manager = start()
    assert [cancelled(manager, 1), cancelled(manager, 2)] == [None, None]
    [seen] = manager.deviations()
    assert (seen.specification, seen.transition) == (Order.name, spex.Transition("paid", "cancel", "cancelled"))
    assert (seen.verdict, seen.accepted, seen.count) == (spex.Verdict.EQUIVALENT, True, 2)
    assert seen.first_seen <= seen.last_seen
    assert manager.deviations(Order) == [seen]
    assert manager.deviations(Strict) == []
    assert manager.all_impl_models() == [model(Order, ("new", "pay", "paid"), ("paid", "ship", "shipped"))]


def test_the_accepted_set_survives_a_restart_and_ends_with_another_model(
    start: Callable[[], Any], places: dict[str, Path]
) -> None:
    """It belongs to the model's file; with another file, the accepted deviations no longer count."""
    manager = start()
    cancelled(manager, 1)
    manager.close()
    manager = start()
    assert [(seen.accepted, seen.count) for seen in manager.deviations()] == [(True, 1)]
    assert cancelled(manager, 2) is None
    assert sum(seen.count for seen in manager.deviations()) == 2
    manager.close()
    write_model(places["impl_models_dir"], model(Order, ("new", "pay", "paid")))
    manager = start()
    error = cancelled(manager, 3)
    assert isinstance(error, spex.DeviationNotEquivalent)
    assert error.context["verdict"] is spex.Verdict.INCOMPLETE
    [seen] = manager.deviations()
    assert not seen.accepted


def test_what_a_handler_refuses_or_accepts_wrongly_does_not_count_later(
    make_manager: Callable[..., Any], places: dict[str, Path]
) -> None:
    """A refused equivalent deviation and an accepted not-equivalent one are not added to the accepted set."""
    for cls in (Strict, Lenient):
        write_model(places["impl_models_dir"], model(cls, ("a", "go", "b")))
    manager = make_manager()
    manager.init_instance(Strict, 1)
    manager.transition(1, "go", "b")
    assert isinstance(manager.try_transition(1, "stop", "c"), spex.DeviationStillEquivalent)
    manager.init_instance(Lenient, 2)
    manager.transition(2, "explode", "b")
    assert {(seen.verdict, seen.accepted) for seen in manager.deviations()} == {
        (spex.Verdict.EQUIVALENT, False),
        (spex.Verdict.VIOLATION, False),
    }


def test_another_specification_of_the_name_ends_the_accepted_set(start: Callable[[], Any]) -> None:
    """The specification has changed, so accepted deviations are judged again."""
    manager = start()
    cancelled(manager, 1)
    other = spex.Specification.define(Order.name, [("new", "pay", "paid"), ("paid", "ship", "shipped")])
    try:
        manager.init_instance(other, 2)
        manager.transition(2, "pay", "paid")
        assert isinstance(manager.try_transition(2, "cancel", "cancelled"), spex.DeviationNotEquivalent)
        assert any(not seen.accepted for seen in manager.deviations())
    finally:
        from spex_shards.domain import specification

        specification._registered[Order.name] = Order


def test_acceptances_of_all_shards_count_together_after_a_restart(
    make_manager: Callable[..., Any], places: dict[str, Path]
) -> None:
    """Each was judged alone on its shard; united, they make a state that matches none of the specification."""
    steps = [("s", "a", "t"), ("s", "b", "u"), ("t", "x", "s"), ("u", "y", "s")]
    either = spex.Specification.define("models.Either", steps)
    write_model(places["impl_models_dir"], model(either, *steps))
    manager = make_manager()
    shards = routing.table(len(manager.shards()))
    place = {number: shards[routing.slot_of(codec.canonical(number))] for number in range(100)}
    first = next(number for number in place if place[number] == 0)
    second = next(number for number in place if place[number] == len(manager.shards()) - 1 and number != first)
    for identifier, action in ((first, "x"), (second, "y")):
        manager.mock_instance(either, identifier, "s")
        assert isinstance(manager.try_transition(identifier, "go", "p"), spex.DeviationNotEquivalent)
        assert manager.try_transition(identifier, action, "s") is None
    manager.close()
    manager = make_manager()
    for identifier in range(10):
        manager.mock_instance(either, identifier, "s")
        assert isinstance(manager.try_transition(identifier, "a", "p"), spex.DeviationNotEquivalent)
    assert {(seen.transition.action, seen.accepted, seen.count) for seen in manager.deviations(either)} == {
        ("x", True, 1), ("y", True, 1), ("a", False, 10), ("go", False, 2),
    }  # fmt: skip


def test_instances_of_a_specification_whose_file_is_malformed_can_be_read_and_go_on_when_it_is_mended(
    make_manager: Callable[..., Any], places: dict[str, Path]
) -> None:
    """Until then they cannot move, not even in learning mode; reading, mocking and deleting need no model."""
    manager = make_manager()
    manager.init_instance(Order, 1)
    manager.init_instance(Order, 2)
    manager.close()
    file = places["impl_models_dir"] / f"{Order.name}.spex"
    file.parent.mkdir()
    file.write_text(f"Specification: {Order.name}\nLearning mode: true\nTransitions:\nnew --[pay]-> paid --\nx\n")
    for options in ({}, {"learning_mode": True}):
        manager = make_manager(**options)
        with pytest.raises(spex.DeserialisationFailed) as caught:
            manager.transition(1, "pay", "paid")
        assert (caught.value.context["line"], caught.value.context["file"]) == (5, str(file))
        assert len(manager.get_instance(1).history) == 1
        manager.mock_instance(Order, 2, "paid")
        manager.delete_instance(2)
        assert len(manager.all_instances(Order)) == 1
        manager.close()
    file.unlink()
    manager = make_manager()
    manager.transition(1, "pay", "paid")
    assert len(manager.all_impl_models()[0].transitions) == 2


def test_a_missing_directory_of_models_holds_none_and_other_files_in_one_are_left_alone(
    make_manager: Callable[..., Any], places: dict[str, Path]
) -> None:
    """Only what ends in .spex is read."""
    make_manager().close()
    assert not places["impl_models_dir"].exists()
    places["impl_models_dir"].mkdir()
    for name in ("README.md", "x.spex.bak", ".hidden.spex"):
        (places["impl_models_dir"] / name).write_text("nonsense")
    (places["impl_models_dir"] / "folder.spex").mkdir()
    assert make_manager().all_impl_models() == []


def test_a_deviation_is_reported_each_time_though_it_was_accepted(
    start: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The handler is asked each time, and the log has a warning each time."""
    caplog.set_level(logging.WARNING, "spex_shards")
    manager = start()
    for number in range(3):
        cancelled(manager, number)
    assert caplog.text.count("With this step the model stays equivalent") == 3


def test_a_deviations_context_has_the_newest_hundred_entries(
    make_manager: Callable[..., Any], places: dict[str, Path]
) -> None:
    """This holds for histories of any length; the deviating entry is the last one."""
    write_model(places["impl_models_dir"], model(Strict, ("a", "go", "b"), ("b", "back", "a")))
    manager = make_manager()
    manager.init_instance_nowait(Strict, 1, {"big": "x" * 1000})
    for _ in range(300):
        manager.transition_nowait(1, "go", "b")
    error = manager.try_transition(1, "stop", "c")
    instance = error.context["instance"]
    assert len(instance.history) == 100
    assert instance.history[-1][:2] == ("stop", "c")
    assert (instance.meta, instance.specification) == ({"big": "x" * 1000}, Strict)
    assert error.context["deviating_transition"].source == "b"


def test_a_strict_equivalence_judges_strictly(make_manager: Callable[..., Any], places: dict[str, Path]) -> None:
    """A silent step does not matter for branching equivalence, but does for strong equivalence."""
    manager = None
    words = {}
    for equivalence in ("branching", "strong"):
        cls = spex.Specification.define(
            f"models.{equivalence}", [("a", "go", "b")], equivalence=equivalence, error_handler=lambda error, _: error
        )
        write_model(places["impl_models_dir"], model(cls, ("a", "go", "b")))
        words[equivalence] = cls
    manager = make_manager()
    for equivalence, cls in words.items():
        manager.init_instance(cls, equivalence)
        words[equivalence] = type(manager.try_transition(equivalence, spex.INTERNAL, "a"))
    assert words == {"branching": spex.DeviationStillEquivalent, "strong": spex.DeviationNotEquivalent}


def test_a_deviation_is_explained_by_the_model_that_the_manager_has(
    make_manager: Callable[..., Any], places: dict[str, Path]
) -> None:
    """The call's error and the entry that counts it are explained; an equivalent model has no explanation."""
    write_model(places["impl_models_dir"], model(Strict, ("a", "go", "b"), ("b", "stop", "c")))
    manager = make_manager()
    manager.init_instance(Strict, 1)
    error = manager.try_transition(1, "jump", "c")
    assert isinstance(error, spex.DeviationNotEquivalent)
    found = spex.explain(error, manager)
    assert isinstance(found, spex.Explanation)
    assert found.side == "impl"
    assert found.extra == (spex.Transition("a", "jump", "c"),)
    assert "a --[jump]-> c was seen and is not specified" in found.text
    [entry] = manager.deviations()
    assert spex.explain(entry, manager) == found
    with pytest.raises(TypeError, match="only a deviation can be explained"):
        spex.explain(ValueError("x"), manager)
    manager.init_instance(Order, 2)
    orphan = spex.Deviation(**{**{f: getattr(entry, f) for f in entry.__slots__}, "specification": Lenient.name})
    with pytest.raises(spex.ImplModelNotFound):
        spex.explain(orphan, manager)
