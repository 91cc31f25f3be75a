"""Specifications and handlers that the contract suite uses; importable by shards."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import spex_shards as spex


class Order(spex.Specification):
    """The life of an order."""

    name = "contract.Order"
    transitions = [("new", "pay", "paid"), ("paid", "ship", "shipped"), ("paid", "cancel", "cancelled")]


class Timed(spex.Specification):
    """An instance must make a transition every fifth of a second."""

    name = "contract.Timed"
    transition_timeout = 0.2
    transitions = [("a", "go", "b"), ("b", "go", "a")]


class Pruned(spex.Specification):
    """An instance may be pruned when it is done."""

    name = "contract.Pruned"
    prune_timeout = timedelta(milliseconds=1)
    prunable_states = spex.TERMINAL
    transitions = [("open", "close", "done")]


class Strict(spex.Specification):
    """Accepts no error, and reports each to the caller."""

    name = "contract.Strict"
    transitions = [("a", "go", "b"), ("b", "stop", "c")]

    @classmethod
    def error_handler(cls, error: spex.SpexError, caller: Any) -> spex.SpexError:
        """Send and return the error."""
        if caller is not None:
            caller.send((error.reason, error))
        return error


class Lenient(spex.Specification):
    """Accepts everything."""

    name = "contract.Lenient"
    transitions = [("a", "go", "b"), ("b", "stop", "c")]

    @classmethod
    def error_handler(cls, error: spex.SpexError, caller: Any) -> None:
        """Accept."""


class Odd(spex.Specification):
    """Its handler misbehaves in the way that the initial state names."""

    name = "contract.Odd"
    transitions = [("a", "go", "b")]

    @classmethod
    def error_handler(cls, error: spex.SpexError, caller: Any) -> Any:
        """Misbehave."""
        how = error.context["identifier"]
        if how == "raises":
            raise ZeroDivisionError("by me")
        if how == "raises its error":
            raise error
        if how == "exits":
            raise SystemExit(3)
        if how == "returns an exception":
            return KeyError("k")
        if how == "calls the manager":
            spex.transition("x", "go", "b")
        if how == "is a coroutine":
            return _coroutine()
        return 42


async def _coroutine() -> None:
    pass


class Own(spex.TransitionError):
    """An error class of the application."""

    def __init__(self) -> None:
        super().__init__("my own words", detail=7)


class WithOwnError(spex.Specification):
    """Its handler returns an error of the application's own class."""

    name = "contract.WithOwnError"
    transitions = [("a", "go", "b")]

    @staticmethod
    def error_handler(error: spex.SpexError, caller: Any) -> spex.SpexError:
        """Answer."""
        return Own()


def model(cls: type[spex.Specification], *transitions: tuple[str, str, str], **options: Any) -> spex.ImplModel:
    """Return a model with the specification's initialisation and these transitions."""
    steps = [spex.Transition(None, spex.INITIALISATION, str(cls.initial_state))]
    steps += [spex.Transition(*t) for t in transitions]
    return spex.ImplModel(specification=cls.name, transitions=steps, **options)


class Judged(spex.Specification):
    """Its runs are judged, without a model."""

    name = "contract.Judged"
    judge = "run"
    transitions = [("new", "pay", "paid"), ("paid", "ship", "shipped"), ("shipped", "return", "returned")]


class JudgedByBoth(spex.Specification):
    """Its runs are judged, and what they allow is judged by the model."""

    name = "contract.JudgedByBoth"
    judge = "both"
    transitions = [("a", "go", "b"), ("b", "stop", "c")]
