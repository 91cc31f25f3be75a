"""Checks the arguments of a manager's calls in the calling thread, before anything is sent."""

from __future__ import annotations

from typing import Any, Final

from ..domain.names import as_name
from ..domain.specification import Specification, is_specification
from ..domain.transition import INITIALISATION
from ..runtime.protocol.codec import canonical, encode_meta

ALL_ENTRIES: Final = (1 << 62) - 1

__all__ = [
    "ALL_ENTRIES",
    "action_name",
    "canonical",
    "encode_meta",
    "initial_state_of",
    "limit_of",
    "specification_of",
    "state_name",
    "transition_names",
]


def action_name(action: Any) -> str:
    """Return an action as a `str`.

    Raises:
        TypeError: It is neither a `str` nor a `str`-valued Enum member.
        ValueError: It is the reserved ``__initialisation__``, or contains lone surrogates.
    """
    name = _name(action, "action")
    if name == INITIALISATION:
        raise ValueError(f"the action must not be the reserved {INITIALISATION!r}")
    return name


def state_name(state: Any, what: str = "state") -> str:
    """Return a state as a `str`; checked as in `action_name`, except that no name is reserved."""
    return _name(state, what)


def specification_of(value: Any) -> type[Specification]:
    """Return `value`, after checking that it is a specification class.

    Raises:
        TypeError: It is not.
    """
    if not is_specification(value):
        raise TypeError(f"the specification must be a Specification class, got: {value!r}")
    return value  # type: ignore[no-any-return]


def transition_names(action: Any, to_state: Any) -> tuple[str, str]:
    """Return an action and a state as `str`; checked as in `action_name` and `state_name`."""
    if type(action) is not str or action == INITIALISATION or not action.isascii():
        action = action_name(action)
    if type(to_state) is not str or not to_state.isascii():
        to_state = state_name(to_state)
    return action, to_state


def initial_state_of(cls: type[Specification], initial_state: Any) -> str | None:
    """Return the initial state that a call gives, or None for the specification's.

    Raises:
        TypeError: It is no `str`.
        ValueError: There is none.
    """
    state = None if initial_state is None else state_name(initial_state, "initial_state")
    if state is None and cls.initial_state is None:
        raise ValueError(f"{cls.name} declares no initial state: initial_state must be given")
    return state


def limit_of(history_limit: Any) -> int:
    """Return how many of the newest entries to read, for a `history_limit`.

    Raises:
        TypeError: It is neither an int nor None.
        ValueError: It is negative.
    """
    if history_limit is None:
        return ALL_ENTRIES
    if type(history_limit) is not int:
        raise TypeError(f"history_limit must be an int or None, got: {history_limit!r}")
    if history_limit < 0:
        raise ValueError(f"history_limit must not be negative, got: {history_limit}")
    return min(history_limit, ALL_ENTRIES)


def _name(value: Any, what: str) -> str:
    name = value if type(value) is str else as_name(value)
    if name is None:
        raise TypeError(f"the {what} must be a str or a str-valued Enum member, got: {value!r}")
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the {what} must not contain lone surrogates, got: {value!r}") from None
    return name
