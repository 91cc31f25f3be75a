"""Checks the arguments of a manager's calls in the calling thread, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from ..domain.names import as_name
from ..domain.specification import Specification, is_specification
from ..domain.transition import INITIALISATION
from ..errors import show
from ..runtime.protocol.codec import canonical, encode, encode_meta

ALL_ENTRIES: Final = (1 << 62) - 1
_NO_STATE: Final = "declare transitions (or correct the name of the attribute that has them), or give initial_state"
_DEEPEST: Final = 8
"""A path in an error has at most this many steps."""


def key_of(identifier: Any) -> bytes:
    """Return the canonical bytes of an identifier.

    Raises:
        TypeError, ValueError: It is none; the text says which part of it is not allowed.
    """
    try:
        return canonical(identifier)
    except (TypeError, ValueError) as error:
        raise wrong_identifier(error, identifier) from None


def wrong_identifier(error: TypeError | ValueError, identifier: Any) -> TypeError | ValueError:
    """Return the error of an identifier that is not allowed, with the place of the part that is not."""
    place = _place("identifier", identifier, canonical)
    return error if place == "identifier" else type(error)(f"{place}: {error}")


def meta_of(meta: Any) -> bytes | None:
    """Return the bytes of an instance's `meta`.

    Raises:
        TypeError, ValueError: It is none; the text says which part of it is not allowed.
    """
    try:
        return encode_meta(meta)
    except (TypeError, ValueError) as error:
        place = _place("meta", meta, encode) if type(meta) is dict else "meta"
        raise error if place == "meta" else type(error)(f"{place}: {error}") from None


def action_name(action: Any) -> str:
    """Return an action as a `str`.

    Raises:
        TypeError: It is neither a `str` nor a `str`-valued Enum member.
        ValueError: It is the reserved ``__initialisation__``, or contains lone surrogates.
    """
    name = _name(action, "action", "; the order is transition(identifier, action, to_state)")
    if name == INITIALISATION:
        raise ValueError(f"the action must not be the reserved {INITIALISATION!r}: init_instance reports that step")
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
        hint = ""
        if isinstance(value, Specification):
            hint = "; give the class itself, not an object of it"
        elif isinstance(value, str):
            hint = "; give the class itself, not its name"
        elif value is Specification:
            hint = "; derive a class from it that declares transitions"
        raise TypeError(f"the specification must be a Specification class, got: {show(value)}{hint}")
    return value  # type: ignore[no-any-return]


def name_or_none(specification: type[Specification] | None) -> str | None:
    """Return the name of a specification class; None for None.

    Raises:
        TypeError: It is neither.
    """
    return None if specification is None else specification_of(specification).name


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
        raise ValueError(f"{cls.name} declares no transitions, and so no initial state: {_NO_STATE}")
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


def _place(name: str, value: Any, check: Callable[[Any], object]) -> str:
    """Return the path of the innermost part that a check refuses, as in ``meta['customer']['x']``."""
    for _ in range(_DEEPEST):
        for place, part in _parts(name, value):
            try:
                check(part)
            except (TypeError, ValueError):
                name, value = place, part
                break
        else:
            break
    return name


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if type(value) is dict:
        for key, part in value.items():
            yield f"a key of {name}", key
            yield f"{name}[{show(key)}]", part
    elif type(value) in (list, tuple):
        for index, part in enumerate(value):
            yield f"{name}[{index}]", part


def _name(value: Any, what: str, hint: str = "") -> str:
    name = value if type(value) is str else as_name(value)
    if name is None:
        raise TypeError(f"the {what} must be a str or a str-valued Enum member, got: {show(value)}{hint}")
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the {what} must not contain lone surrogates, got: {value!r}") from None
    return name
