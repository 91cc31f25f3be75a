"""Specifications whose handlers do what no handler should; shards can import them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import spex_shards as spex

HUGE = 2**20_000
"""An int that Python refuses to show in decimal."""


class Abrupt(BaseException):
    """An exception that `except Exception` does not catch."""


class Mute(Exception):
    """An exception whose text cannot be read."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError("no words")


class Unshowable:
    """A value that cannot be shown."""

    def __repr__(self) -> str:
        """Fail."""
        raise RuntimeError("not to be shown")


class Bare(spex.InstanceError):
    """An application's error class that never calls its base class's `__init__`."""

    def __init__(self, code: int) -> None:
        self.code = code


def _odd_context(**changes: Any) -> spex.SpexError:
    error = spex.InstanceError("words", plain=1)
    error.context.update(changes)
    return error


def _raise(error: BaseException) -> None:
    raise error


def _no_context() -> spex.SpexError:
    error = spex.InstanceError("words")
    error.context = None  # type: ignore[assignment]
    return error


def _number_as_key() -> spex.SpexError:
    error = spex.InstanceError("words")
    error.context[7] = "seven"  # type: ignore[index]
    return error


def _within_itself() -> spex.SpexError:
    error = spex.InstanceError("words")
    error.context["error"] = error
    return error


def _caused_by(cause: BaseException) -> spex.SpexError:
    error = spex.InstanceError("words")
    error.__cause__ = cause
    return error


def _log_surrogates() -> spex.SpexError:
    try:
        raise ValueError("half \ud800 a pair")
    except ValueError:
        logging.getLogger("hostile").exception("logged %s", "\udfff")
    return spex.InstanceError("words")


def _swallow_the_stack(depth: int = 0) -> Any:
    return _swallow_the_stack(depth + 1) + 1


BAD: dict[str, Callable[[], Any]] = {
    "raises no Exception": lambda: _raise(Abrupt("abruptly")),
    "raises half a surrogate pair": lambda: _raise(ValueError("half \ud800 a pair")),
    "raises what has no words": lambda: _raise(Mute()),
    "returns what has no words": Mute,
    "returns what cannot be shown": Unshowable,
    "returns an int that cannot be shown": lambda: HUGE,
    "recurses for ever": _swallow_the_stack,
    "is a generator": lambda: (yield),
}
"""What becomes a `HandlerError`."""

ERRORS: dict[str, Callable[[], spex.SpexError]] = {
    "an error that never called its base": lambda: Bare(3),
    "an error without a context": _no_context,
    "a number as a context's key": _number_as_key,
    "a context that holds its error": _within_itself,
    "a context that cannot be shown": lambda: _odd_context(odd=Unshowable()),
    "a context that cannot be sent": lambda: _odd_context(odd=object()),
    "half a surrogate pair in a context": lambda: _odd_context(odd="\ud800"),
    "half a surrogate pair in its text": lambda: spex.InstanceError("words \ud800"),
    "a cause without words": lambda: _caused_by(Mute()),
    "a cause with half a surrogate pair": lambda: _caused_by(ValueError("\ud800")),
    "an error after a log record that cannot be encoded": _log_surrogates,
}
"""What reaches the caller as an `InstanceError`."""


class Hostile(spex.Specification):
    """If there is no model, its handler does what the identifier names."""

    name = "hostile.Hostile"
    transitions = [("a", "go", "b")]

    @classmethod
    def error_handler(cls, error: spex.SpexError, caller: Any) -> Any:
        """Misbehave."""
        how = error.context["identifier"] if isinstance(error, spex.ImplModelNotFound) else None
        if isinstance(error, (spex.DeviationNotEquivalent, spex.DeviationStillEquivalent)):
            how = error.context["instance"].identifier
        return {**BAD, **ERRORS}[how]() if how in {**BAD, **ERRORS} else None


class Late(spex.Specification):
    """Its handler raises for timeouts."""

    name = "hostile.Late"
    transitions = [("a", "go", "b")]
    transition_timeout = 0.05

    @classmethod
    def error_handler(cls, error: spex.SpexError, caller: Any) -> Any:
        """Raise."""
        assert caller is None
        raise ZeroDivisionError(f"about {error.reason}")


class Introducing(spex.Specification):
    """Its handler sends the caller's identity."""

    name = "hostile.Introducing"
    transitions = [("a", "go", "b")]

    @staticmethod
    def error_handler(error: spex.SpexError, caller: Any) -> None:
        """Accept, and send the caller's identity."""
        caller.send([caller.pid, caller.thread, caller.client_id, os.getpid()])


def answering(error: spex.SpexError, caller: Any) -> spex.SpexError:
    """A handler that is a function."""
    return spex.TransitionError("by an import")
