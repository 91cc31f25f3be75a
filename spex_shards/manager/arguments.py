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
    "limit_of",
    "name_or_none",
    "specification_of",
    "state_name",
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


def name_or_none(specification: type[Specification] | None) -> str | None:
    """Return the name of a specification class; None for None.

    Raises:
        TypeError: It is neither.
    """
    return None if specification is None else specification_of(specification).name


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
