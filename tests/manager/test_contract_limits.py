"""The contract at its limits, for managers of all kinds: endless durations, references, deeply nested values."""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.runtime.protocol.codec import canonical, decode, encode
from spex_shards.runtime.protocol.records import decode_value, encode_value
from tests.support.contract_specs import Order, Timed
from tests.support.processes import wait_until

STEPS = [("a", "go", "b")]


@pytest.mark.parametrize("timeout", [timedelta.max, 1e13, timedelta(microseconds=1)])
def test_any_timedelta_above_zero_is_a_timeout(make_manager: Callable[..., Any], timeout: Any) -> None:
    """The longest one never comes, and the shortest one has passed at once."""
    cls = spex.Specification.define("limits.Timed", STEPS, transition_timeout=timeout, prune_timeout=timeout)
    manager = make_manager(learning_mode=True, prune_interval=None)
    manager.init_instance(cls, 1)
    manager.transition(1, "go", "b")
    assert manager.get_instance(1).current_state == "b"
    if timeout == timedelta(microseconds=1):
        wait_until(lambda: sum(s["timeouts"] for s in manager.stats()) >= 1, "the timeout is reported")
    else:
        manager.init_instance(Timed, 2)
        wait_until(lambda: sum(s["timeouts"] for s in manager.stats()) == 1, "another timer goes on")


@pytest.mark.parametrize("options", [{"prune_interval": timedelta.max}, {"prune_interval": 1e12}])
def test_any_duration_is_an_interval(make_manager: Callable[..., Any], options: dict[str, Any]) -> None:
    """With an interval that never passes, only the pass at the start happens."""
    manager = make_manager(learning_mode=True, **options)
    manager.init_instance(Order, 1)
    manager.init_instance(Timed, 2)
    wait_until(lambda: sum(s["timeouts"] for s in manager.stats()) == 1, "timers go on")


@pytest.mark.parametrize("call_timeout", [30 * 86400.0, timedelta(days=30)])
def test_the_longest_call_timeout_waits_as_long_as_it_takes(
    make_manager: Callable[..., Any], call_timeout: Any
) -> None:
    """Thirty days are allowed, and `flush` accepts any number."""
    manager = make_manager(learning_mode=True, call_timeout=call_timeout)
    manager.init_instance(Order, 1)
    manager.transition_nowait(1, "pay", "paid")
    manager.flush(1e300 if isinstance(call_timeout, float) else None)
    assert manager.get_instance(1).current_state == "paid"


@pytest.mark.parametrize("name", ["prune_interval", "call_timeout", "max_seconds"])
@pytest.mark.parametrize("value", [10**400, float("inf"), float("nan"), "5", True, -1, timedelta(0)])
def test_what_is_no_duration_is_a_value_error(name: str, value: Any) -> None:
    """This includes numbers that no float can hold."""
    with pytest.raises(ValueError, match=f"the option {name} must be a number of seconds above 0"):
        spex.SimpleInstanceManager(**{name: value})


@pytest.mark.parametrize(
    ("kind", "path", "error"),
    [
        ("enum", ("a",), ValueError),
        ("specification", ("a", "b", "c"), ValueError),
        ("nonsense", ("a",), ValueError),
        ("enum", (1, 2, 3), TypeError),
        ("enum", ["a", "b", "c"], TypeError),
    ],
)
def test_a_reference_that_could_not_be_read_back_cannot_be_made(kind: str, path: Any, error: type[Exception]) -> None:
    """A stored one would have made every page with it unreadable."""
    with pytest.raises(error, match="reference"):
        spex.Reference(kind, path)


class Colours(enum.Flag):
    """Members and combinations."""

    RED = 1
    BLUE = 2


class Number(enum.IntEnum):
    """Members that are ints as well."""

    ONE = 1


class Outer:
    """Holds another one."""

    class Text(enum.StrEnum):
        """Members that are str as well."""

        A = "a"


def test_enum_members_of_all_kinds_are_identifiers_of_their_own(manager: Any) -> None:
    """A member of an IntEnum is not its int; a combination of flags has no name and is refused."""
    identifiers = [Number.ONE, 1, Outer.Text.A, "a", Colours.BLUE]
    for identifier in identifiers:
        manager.init_instance(Order, identifier)
    assert [type(manager.get_instance(i).identifier) for i in identifiers] == [type(i) for i in identifiers]
    assert manager.get_instance(spex.Reference("enum", (__name__, "Outer.Text", "A"))).identifier is Outer.Text.A
    with pytest.raises(TypeError, match="combination of flags"):
        manager.init_instance(Order, Colours.RED | Colours.BLUE)


def nested(value: Any, depth: int) -> Any:
    """Return a value within `depth` tuples."""
    for _ in range(depth):
        value = (value,)
    return value


def test_what_can_be_written_can_be_read() -> None:
    """The values are as deep as allowed, also inside errors and instances."""
    assert decode(encode(nested(1, 32))) == nested(1, 32)
    with pytest.raises(ValueError, match="nested deeper than 32"):
        encode(nested(1, 33))
    instance = spex.Instance(specification="x", identifier=nested(1, 32), meta={"a": nested(1, 31)})
    inner = spex.InstanceError("inner", deep=nested(instance, 32))
    outer = spex.InstanceError("outer", deep=nested(inner, 32))
    again = decode_value(encode_value(nested(outer, 32)))
    for _ in range(32):
        [again] = again
    found = again.context["deep"]
    for _ in range(32):
        [found] = found
    assert isinstance(found, spex.InstanceError)
    assert canonical(nested({1: 2}, 31))


def test_an_error_that_holds_itself_ends_somewhere() -> None:
    """It is sent without its inner copies."""
    error = spex.InstanceError("words", number=1)
    error.context["again"] = [error]
    again = decode_value(encode_value(error))
    assert (str(again), again.context["number"]) == ("words", 1)
    assert str(again.context["again"][0]) == "words"


class Refusing(logging.Filter):
    """A filter that raises for what it does not like."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Raise."""
        if "has been in state" in record.getMessage():
            raise ZeroDivisionError("in a filter")
        return True


def test_a_log_filter_that_raises_does_not_end_the_delivery_of_what_follows(make_manager: Callable[..., Any]) -> None:
    """Later messages and records arrive; a timer's report that could not be logged counts as done."""
    logger = logging.getLogger("spex_shards")
    refusing = Refusing()
    logger.addFilter(refusing)
    got: list[Any] = []
    try:
        manager = make_manager(learning_mode=True, on_message=got.append)
        manager.init_instance(Timed, 1)
        wait_until(lambda: sum(s["timeouts"] for s in manager.stats()) == 1, "the timeout was reported")
        manager.transition(1, "go", "b")
        wait_until(lambda: sum(s["timeouts"] for s in manager.stats()) == 2, "so is the next")
        assert any(thread.name.startswith("spex-shards") for thread in threading.enumerate())
        manager.init_instance(Order, 2)
    finally:
        logger.removeFilter(refusing)
