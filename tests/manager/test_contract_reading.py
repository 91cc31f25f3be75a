"""The contract of identifiers, meta, reading and deleting, for managers of all kinds."""

from __future__ import annotations

import enum
import threading
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

import spex_shards as spex
from tests.support.contract_specs import Lenient, Order, Pruned


class Colour(enum.Enum):
    """An identifier's part."""

    RED = 1


IDENTIFIERS = [
    None,
    True,
    False,
    0,
    1,
    -1,
    1.0,
    0.5,
    float("inf"),
    2**63,
    -(2**63),
    2**64,
    -(2**200),
    "",
    "1",
    "ü€\0",
    b"",
    b"1",
    (),
    (1, "a", None),
    ((1,), ((2,),)),
    {"a": 1, "b": (2, {3: 4})},
    {(1, 2): 3},
    UUID(int=7),
    datetime(2026, 1, 2, 3, 4, 5, 6),
    datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    datetime(2026, 7, 2, tzinfo=ZoneInfo("Europe/Berlin")),
    Decimal("1.10"),
    Decimal("-Infinity"),
    Colour.RED,
    Order,
    "x" * 600,
    ("y" * 5000, 1),
    b"z" * 65000,
]


def test_every_identifier_comes_back_equal_and_of_the_same_type(manager: Any) -> None:
    """All of them are different instances, too."""
    for number, identifier in enumerate(IDENTIFIERS):
        manager.init_instance(Order, identifier, meta={"number": number})
    for number, identifier in enumerate(IDENTIFIERS):
        instance = manager.get_instance(identifier)
        assert instance.meta == {"number": number}
        assert (instance.identifier, type(instance.identifier)) == (identifier, type(identifier))
    assert len(manager.all_instances()) == len(IDENTIFIERS)


def test_a_list_is_the_tuple_and_the_order_of_a_dict_does_not_count(manager: Any) -> None:
    """A list comes back as a tuple."""
    manager.init_instance(Order, [1, [2, 3]])
    assert manager.get_instance((1, (2, 3))).identifier == (1, (2, 3))
    manager.init_instance(Order, {"a": 1, "b": 2})
    assert isinstance(manager.try_init_instance(Order, {"b": 2, "a": 1}), spex.IdentifierInUse)


def test_identifiers_that_differ_at_their_end_only_are_different(manager: Any) -> None:
    """Long identifiers are found by a digest, and compared in full."""
    for end in "abc":
        manager.init_instance(Order, "x" * 2000 + end)
    manager.transition("x" * 2000 + "b", "pay", "paid")
    assert [manager.get_instance("x" * 2000 + end).current_state for end in "abc"] == ["new", "paid", "new"]


def test_what_no_identifier_may_be_is_refused_with_its_type_or_rule(manager: Any) -> None:
    """Refused are subclasses, NaN, other types, deep nesting and large sizes."""

    class Text(str):
        __slots__ = ()

    nested: Any = 1
    for _ in range(40):
        nested = (nested,)
    for identifier, error, text in [
        (Text("a"), TypeError, "Text"),
        ((1, float("nan")), TypeError, "NaN"),
        (Decimal("NaN"), TypeError, "NaN"),
        (object(), TypeError, "object"),
        ({1, 2}, TypeError, "set"),
        (nested, ValueError, "nested deeper than 32"),
        ("x" * 70000, ValueError, "65536 bytes"),
        (("a", "\udc00"), ValueError, "surrogates"),
    ]:
        with pytest.raises(error, match=text):
            manager.init_instance(Order, identifier)
        with pytest.raises(error, match=text):
            manager.get_instance(identifier)


def test_meta_comes_back_equal_and_of_the_same_types(manager: Any) -> None:
    """Lists stay lists, tuples stay tuples, and NaN is allowed."""
    meta = {"list": [1, [2, (3, [4])]], "tuple": (1, [2]), "dict": {1: {"a": (1,)}}, "uuid": UUID(int=1), "none": None}
    manager.init_instance(Order, 1, meta=meta)
    assert repr(manager.get_instance(1).meta) == repr(meta)
    manager.init_instance(Order, 2, meta={"nan": float("nan")})
    assert repr(manager.get_instance(2).meta) == "{'nan': nan}"
    manager.init_instance(Order, 3, meta={})
    assert manager.get_instance(3).meta == {}
    assert manager.get_instance(3).meta is not None


def test_an_identifiers_enum_that_is_not_loaded_is_a_reference(manager: Any) -> None:
    """Stored bytes never cause an import; the reference finds the instance."""
    from spex_shards.runtime.protocol.codec import canonical, identifier_of
    from spex_shards.runtime.protocol.reference import Reference

    reference = Reference("enum", ("not_loaded.module", "Colour", "RED"))
    manager.init_instance(Order, reference)
    assert manager.get_instance(reference).identifier == reference
    assert identifier_of(canonical(Colour.RED)) is Colour.RED


def test_get_instance_gives_the_newest_entries_oldest_first(manager: Any) -> None:
    """A limit of 0 gives none, a large one all, and a negative one is an error."""
    manager.init_instance(Order, 1)
    for number in range(9):
        manager.transition(1, "pay", str(number))
    assert [e.to_state for e in manager.get_instance(1, 3).history] == ["6", "7", "8"]
    assert manager.get_instance(1, 0).history == ()
    assert len(manager.get_instance(1, 10**30).history) == 10
    with pytest.raises(ValueError, match="history_limit must not be negative, got: -1"):
        manager.get_instance(1, -1)
    with pytest.raises(TypeError):
        manager.get_instance(1, "3")
    with pytest.raises(spex.InstanceNotFound):
        manager.get_instance("nobody")


@pytest.mark.long
def test_a_history_longer_than_a_page_is_read_whole(manager: Any) -> None:
    """20,000 entries come in several answers, in order."""
    manager.init_instance_nowait(Order, 1)
    for number in range(20_000):
        manager.transition_nowait(1, "pay", str(number))
    manager.flush()
    expected = ["new", *(str(n) for n in range(20_000))]
    assert [e.to_state for e in manager.get_instance(1).history] == expected
    assert [e.to_state for e in manager.all_instances()[0].history] == expected
    assert [e.to_state for e in manager.get_instance(1, 9000).history] == expected[-9000:]


def test_all_instances_filters_by_specification(manager: Any) -> None:
    """An empty list when there are none; each instance once."""
    assert manager.all_instances() == []
    assert manager.all_instances(Order) == []
    for number in range(700):
        manager.init_instance_nowait(Order if number % 2 else Lenient, number)
    manager.flush()
    assert sorted(i.identifier for i in manager.all_instances()) == list(range(700))
    assert sorted(i.identifier for i in manager.all_instances(Order)) == list(range(1, 700, 2))
    assert manager.all_instances(Pruned) == []
    assert all(i.history == () for i in manager.all_instances(Order, 0))
    with pytest.raises(TypeError):
        manager.all_instances("Order")


def test_an_instance_that_is_there_all_the_time_appears_once_while_others_come_and_go(manager: Any) -> None:
    """Pages are read between changes, and no instance is missed or doubled."""
    for number in range(900):
        manager.init_instance_nowait(Order, ("stays", number))
    manager.flush()
    over = threading.Event()

    def disturb() -> None:
        number = 0
        while not over.is_set():
            manager.init_instance(Order, ("goes", number))
            manager.delete_instance(("goes", number))
            manager.transition(("stays", number % 900), "pay", "paid")
            number += 1

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(3):
            seen = [i.identifier for i in manager.iter_instances(Order, 1) if i.identifier[0] == "stays"]
            assert sorted(seen) == [("stays", number) for number in range(900)]
    finally:
        over.set()
        thread.join()


def test_deleting_an_instance_takes_its_history_along(manager: Any) -> None:
    """Deleting a missing one is no error; a new instance of that identifier has an empty history."""
    manager.delete_instance(1)
    manager.init_instance(Order, 1, meta={"a": 1})
    for number in range(300):
        manager.transition_nowait(1, "pay", str(number))
    manager.delete_instance(1)
    with pytest.raises(spex.InstanceNotFound):
        manager.get_instance(1)
    assert manager.all_instances(Order) == []
    manager.init_instance(Order, 1)
    instance = manager.get_instance(1)
    assert (len(instance.history), instance.meta) == (1, None)


def test_delete_instances_takes_any_function(manager: Any) -> None:
    """Closures are included; it returns the number deleted on all shards."""
    limit = 60
    for number in range(100):
        manager.init_instance_nowait(Order, number)
    manager.flush()
    assert manager.delete_instances(lambda instance: instance.identifier >= limit) == 40
    assert manager.delete_instances(lambda instance: instance.current_state == "nowhere") == 0
    assert sorted(i.identifier for i in manager.all_instances()) == list(range(60))
    with pytest.raises(TypeError):
        manager.delete_instances("everything")


def test_a_predicate_that_raises_deletes_nothing_on_its_shard_and_says_what_the_others_did(manager: Any) -> None:
    """PredicateError has the remote traceback, and the number deleted on the other shards."""
    for number in range(60):
        manager.init_instance_nowait(Order, number)
    manager.flush()

    def predicate(instance: Any) -> bool:
        if instance.identifier == 7:
            raise ZeroDivisionError("seven")
        return True

    with pytest.raises(spex.PredicateError, match="ZeroDivisionError: seven") as caught:
        manager.delete_instances(predicate)
    left = [i.identifier for i in manager.all_instances()]
    assert 7 in left
    assert caught.value.context["deleted"] == 60 - len(left)
    assert "in predicate" in str(caught.value.__cause__)
    assert isinstance(caught.value, spex.HandlerError)


def test_a_predicate_that_calls_its_manager_is_told_not_to(manager: Any) -> None:
    """It gets a RuntimeError, and nothing deadlocks."""
    manager.init_instance(Order, 1)
    with pytest.raises(spex.PredicateError, match="RuntimeError"):
        manager.delete_instances(lambda _: spex.all_instances())
    assert len(manager.all_instances()) == 1


def test_a_predicate_that_does_not_say_whether_deletes_nothing(manager: Any) -> None:
    """An async function's coroutine would be true for every instance; a truth value may raise."""

    async def asynchronous(instance: Any) -> bool:
        return False

    class Neither:
        def __bool__(self) -> bool:
            raise ZeroDivisionError("neither true nor false")

    manager.init_instance(Order, 1)
    with pytest.raises(spex.PredicateError, match="TypeError: the predicate must say whether, and not be async"):
        manager.delete_instances(asynchronous)
    with pytest.raises(spex.PredicateError, match="ZeroDivisionError: neither true nor false"):
        manager.delete_instances(lambda _: Neither())
    assert manager.delete_instances(lambda _: []) == 0
    assert len(manager.all_instances()) == 1


def test_mock_instance_puts_an_instance_into_a_state(manager: Any) -> None:
    """It replaces any earlier instance, has an empty history, and changes no model."""
    manager.mock_instance(Order, 1, "paid", meta={"a": 1})
    assert (manager.get_instance(1).current_state, manager.get_instance(1).history) == ("paid", ())
    manager.transition(1, "ship", "shipped")
    manager.mock_instance(Lenient, 1, "b")
    instance = manager.get_instance(1)
    assert (instance.specification, instance.current_state, instance.history) == (Lenient, "b", ())
    assert manager.all_instances(Order) == []
    [model] = manager.all_impl_models()
    assert model.transitions == {spex.Transition("paid", "ship", "shipped")}


def test_an_instances_specification_is_made_from_stored_data_when_it_is_unknown_here(manager: Any) -> None:
    """A class that is no longer registered reads back with its states, actions and options."""
    from spex_shards.domain import specification as module

    gone = spex.Specification.define("contract.Gone", [("a", "b", "c")], prune_timeout=5)
    manager.init_instance(gone, 1)
    del module._registered["contract.Gone"]
    again = manager.get_instance(1).specification
    assert again is not gone
    assert (again.name, again.states, again.prune_timeout) == (gone.name, gone.states, gone.prune_timeout)
