"""Decorated functions and tracked blocks: what they report, and that they stay what they are."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.domain import receiving
from spex_shards.manager import default


class Refused(Exception):
    """A payment was refused."""


class Order(spex.Specification):
    """What the functions here are observed against."""

    name = "observing.Order"
    transitions = [("new", "pay", "paid"), ("paid", "ship", "shipped"), ("new", "refuse", "unpaid")]


class Shop:
    """Has methods of all kinds."""

    def __init__(self, number: int) -> None:
        self.number = number

    @Order.observes("pay", to="paid", identifier="self.number", on_error={Refused: ("refuse", "unpaid")})
    def pay(self, refused: bool = False) -> str:
        """Pay."""
        if refused:
            raise Refused("no money")
        return "thanks"

    @Order.observes("ship", to="shipped", identifier=lambda self: self.number)
    async def ship(self) -> int:
        """Ship."""
        await asyncio.sleep(0)
        return self.number

    @classmethod
    @Order.observes("pay", to="paid", identifier="number")
    def pay_in_class(cls, number: int = 7) -> type:
        return cls

    @Order.observes("pay", to="paid", identifier="number")
    @staticmethod
    def pay_anywhere(*, number: int) -> int:
        return number


def history(manager: Any, identifier: Any) -> list[tuple[str, str]]:
    """Return what was observed of an instance."""
    return [(step.action, step.to_state) for step in manager.get_instance(identifier).history]


def test_a_method_reports_its_action_when_it_has_returned(observed: Any) -> None:
    """The instance did not exist, and begins in the specification's initial state."""
    assert Shop(1).pay() == "thanks"
    assert history(observed, 1) == [(spex.INITIALISATION, "new"), ("pay", "paid")]


def test_a_decorated_function_stays_what_it_is() -> None:
    """Its name, text, signature and kind are those of the function."""
    assert (Shop.pay.__name__, Shop.pay.__doc__) == ("pay", "Pay.")
    assert str(inspect.signature(Shop.pay)) == "(self, refused: 'bool' = False) -> 'str'"
    assert inspect.iscoroutinefunction(Shop.ship)
    assert isinstance(vars(Shop)["pay_in_class"], classmethod)
    assert isinstance(vars(Shop)["pay_anywhere"], staticmethod)
    assert Shop.pay.__wrapped__.__qualname__ == "Shop.pay"


def test_the_exception_goes_on_and_its_transition_is_reported(observed: Any) -> None:
    """A mapping says what each exception stands for; the exception is the very one that was raised."""
    with pytest.raises(Refused, match="no money") as raised:
        Shop(2).pay(refused=True)
    assert raised.value.args == ("no money",)
    assert history(observed, 2) == [(spex.INITIALISATION, "new"), ("refuse", "unpaid")]


def test_an_exception_that_stands_for_nothing_is_not_reported(observed: Any) -> None:
    """So no instance comes into being."""

    @Order.observes("pay", to="paid", identifier="number", on_error={Refused: "unpaid"})
    def pay(number: int) -> None:
        raise KeyError(number)

    with pytest.raises(KeyError):
        pay(3)
    assert observed.all_instances() == []


def test_a_state_on_its_own_stands_for_every_exception(observed: Any) -> None:
    """But not for those that end the program."""

    @Order.observes("pay", to="paid", identifier="number", on_error="unpaid")
    def pay(number: int, error: BaseException) -> None:
        raise error

    for number, error in enumerate([ValueError(), KeyboardInterrupt()]):
        with pytest.raises(type(error)):
            pay(number, error)
    assert history(observed, 0)[1:] == [("pay", "unpaid")]
    assert len(observed.all_instances()) == 1


def test_a_coroutine_reports_when_it_is_done_and_not_when_it_is_made(observed: Any) -> None:
    """It waits for nothing; flush does."""
    shop = Shop(4)
    shop.pay()
    coroutine = shop.ship()
    assert len(history(observed, 4)) == 2
    assert asyncio.run(coroutine) == 4
    observed.flush()
    assert history(observed, 4)[2:] == [("ship", "shipped")]


def test_a_coroutine_function_behind_another_decorator_is_awaited_too(observed: Any) -> None:
    """The outer function is an ordinary one that returns a coroutine."""

    async def late(number: int) -> int:
        return number

    wrapped = Order.observes("pay", to="paid", identifier="number")(lambda number: late(number))
    coroutine = wrapped(5)
    assert observed.all_instances() == []
    assert asyncio.run(coroutine) == 5
    observed.flush()
    assert history(observed, 5)[1:] == [("pay", "paid")]


def test_class_and_static_methods_are_observed_with_defaults_and_names(observed: Any) -> None:
    """An identifier may be a default, or an argument that is passed by name."""
    assert Shop.pay_in_class() is Shop
    assert Shop(1).pay_anywhere(number=8) == 8
    assert history(observed, 7)[1:] == history(observed, 8)[1:] == [("pay", "paid")]


def test_the_state_can_depend_on_the_result(observed: Any) -> None:
    """None says that nothing happened."""
    states = {"yes": "paid", "no": "unpaid"}

    @Order.observes("pay", to=states.get, identifier="number")
    def pay(number: int, answer: str) -> str:
        return answer

    for number, answer in enumerate(["yes", "no", "perhaps"]):
        pay(number, answer)
    assert [history(observed, number)[-1] for number in (0, 1)] == [("pay", "paid"), ("pay", "unpaid")]
    assert len(observed.all_instances()) == 2


def test_a_function_that_makes_an_instance_says_so(observed: Any) -> None:
    """A constructor, or a factory whose result has the identifier."""

    class Parcel:
        @Order.observes(new=True, identifier="self.number")
        def __init__(self, number: int) -> None:
            self.number = number

        @classmethod
        @Order.observes("pay", to="paid", new=True, identifier="result.number")
        def paid(cls, number: int) -> Any:
            return Shop(number)

    Parcel(1)
    Parcel.paid(2)
    assert history(observed, 1) == [(spex.INITIALISATION, "new")]
    assert history(observed, 2) == [(spex.INITIALISATION, "new"), ("pay", "paid")]
    with pytest.raises(spex.IdentifierInUse):
        Parcel(1)  # this manager enforces


def test_an_identifier_of_another_specification_is_refused(observed: Any) -> None:
    """The step would be judged by the wrong specification."""

    class Other(spex.Specification):
        transitions = [("a", "go", "b")]

    Shop(1).pay()
    with pytest.raises(spex.IdentifierInUse, match="one identifier, one specification"):
        Other.tracking(1).did("go", "b")
    assert history(observed, 1)[1:] == [("pay", "paid")]


def test_a_block_reports_what_the_instance_did(observed: Any) -> None:
    """The first report creates the instance; entering the block does not."""
    with Order.tracking(1) as instance:
        assert observed.all_instances() == []
        instance.did("pay", "paid")
    with Order.tracking(1) as instance:
        instance.did("ship", "shipped")
    assert history(observed, 1) == [(spex.INITIALISATION, "new"), ("pay", "paid"), ("ship", "shipped")]


def test_a_block_that_fails_reports_that(observed: Any) -> None:
    """The exception goes on, also out of an asynchronous block."""
    refused = {Refused: ("refuse", "unpaid")}
    with pytest.raises(Refused), Order.tracking(1, on_error=refused):
        raise Refused

    async def failing() -> None:
        async with Order.tracking(2, on_error=refused):
            raise Refused

    with pytest.raises(Refused):
        asyncio.run(failing())
    observed.flush()
    assert history(observed, 1)[1:] == history(observed, 2)[1:] == [("refuse", "unpaid")]


def test_a_block_can_begin_in_any_state(observed: Any) -> None:
    """Where observation begins in the middle of an instance's life."""
    Order.tracking(1, initial_state="paid").did("ship", "shipped")
    assert history(observed, 1) == [(spex.INITIALISATION, "paid"), ("ship", "shipped")]


def test_the_exception_of_the_function_is_never_replaced(
    places: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A deviation that the manager raises is logged while the function's own exception goes on."""
    with spex.SimpleInstanceManager(**places) as strict:  # no model, no learning: the first step is a deviation
        before = default.use(strict)
        try:
            with caplog.at_level(logging.CRITICAL), pytest.raises(Refused):
                Shop(1).pay(refused=True)
        finally:
            default.use(before)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"to": None}, TypeError, "needs an action and to=STATE"),
        ({"action": None}, TypeError, "needs an action and to=STATE"),
        ({"to": None, "new": True}, TypeError, "needs to=STATE for the action 'pay'"),
        ({"identifier": "nobody"}, ValueError, r"must name parameters of the function \(number\), got: 'nobody'"),
        ({"identifier": "number."}, ValueError, "attributes after dots"),
        ({"identifier": lambda order: order}, ValueError, "got: 'order'"),
        ({"identifier": 3}, TypeError, "the name of a parameter"),
        ({"identifier": "result"}, ValueError, "got: 'result'"),
        ({"on_error": 3}, TypeError, "on_error must be a state"),
        ({"on_error": {"ValueError": "unpaid"}}, TypeError, "got the key: 'ValueError'"),
        ({"to": 3}, TypeError, "to must be a str"),
        ({"action": "__initialisation__"}, ValueError, "reserved"),
    ],
)
def test_what_does_not_fit_is_refused_when_the_function_is_decorated(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """The text names the option and what was given."""
    with pytest.raises(error, match=text):

        @Order.observes(**{"action": "pay", "to": "paid", "identifier": "number", **options})
        def pay(number: int) -> None:
            """Pay."""


def test_only_functions_are_decorated() -> None:
    """A generator, a class and a property each get an error that says what to do instead."""
    decorate = Order.observes("pay", to="paid", identifier="number")

    def generator(number: int) -> Any:
        yield number

    for thing, text in [
        (generator, "tracking"),
        (Shop, "__init__"),
        (property(lambda self: 1), "property"),
        (3, "got"),
    ]:
        with pytest.raises(TypeError, match=text):
            decorate(thing)


def test_an_identifier_that_cannot_be_found_is_the_modes_affair(observed: Any) -> None:
    """This manager enforces, so the error is raised."""
    with pytest.raises(AttributeError):
        Shop.pay(object())  # type: ignore[arg-type]


def test_switched_off_a_call_costs_less_than_a_microsecond_more() -> None:
    """The least of many rounds, in processor time."""

    class Off:
        def off(self, cls: Any) -> bool:
            return True

    def bare(number: int) -> int:
        return number

    decorated = Order.observes("pay", to="paid", identifier="number")(bare)
    before = receiving.install(Off())  # type: ignore[arg-type]
    try:
        cost = min(_spent(decorated) - _spent(bare) for _ in range(20))
    finally:
        receiving.install(before)
    assert cost < 1e-6


def _spent(function: Any, calls: int = 10_000) -> float:
    began = time.process_time()
    for number in range(calls):
        function(number)
    return (time.process_time() - began) / calls
