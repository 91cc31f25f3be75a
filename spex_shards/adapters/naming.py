"""States and actions for what has neither: values of a field, and changes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from ..domain.names import as_name

Actions = Mapping[tuple[Any, Any], str] | Callable[[Any, Any], str | None] | None


def state_of(value: Any) -> str:
    """Return the name of a value: a text as it is, a member of an enumeration by its text or name, else its `str`."""
    name = as_name(value)
    if name is not None:
        return name
    return value.name if isinstance(value, Enum) else str(value)


def action_for(actions: Actions, old: Any, new: Any) -> str | None:
    """Return the action of a change; None: it is none.

    Args:
        actions: A mapping from pairs (old, new) to actions, in which other pairs are called ``old->new``; a function of
            both values; or None: all are called so.
        old: The value before.
        new: The value after.
    """
    if callable(actions):
        return actions(old, new)
    found = None if actions is None else actions.get((old, new), actions.get((state_of(old), state_of(new))))
    return f"{state_of(old)}->{state_of(new)}" if found is None else found
