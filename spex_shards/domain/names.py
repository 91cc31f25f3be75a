"""Names of states and actions as users write them, and the names that a user may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

CLOSE: Final = 0.8
"""How similar two names must be (`difflib`'s ratio) for one to be taken for a misspelling of the other."""
_MOST_LISTED: Final = 8


def as_name(value: object) -> str | None:
    """Return a `str`, or the `str` value of an Enum member, as a plain `str`; None for anything else."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return str.__str__(value)
    return None


def nearest(name: str, known: Iterable[str], cutoff: float = CLOSE) -> str | None:
    """Return the known name that is most like `name`, or None if none is like it.

    Args:
        name: The name that somebody wrote.
        known: The names that exist.
        cutoff: How similar they must be, from 0 to 1.
    """
    from difflib import get_close_matches  # needed when a name is wrong

    by_lower = {one.lower(): one for one in known}
    found = get_close_matches(name.lower(), by_lower, 1, cutoff)
    return by_lower[found[0]] if found else None


def among(known: Iterable[str], name: str) -> str:
    """Return the end of a sentence that names what is known, and what `name` probably meant: at most eight names."""
    names = list(known)
    meant = nearest(name, names, 0.6)
    shown = ", ".join(map(repr, names[:_MOST_LISTED]))
    rest = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return f"{shown}{rest}" if meant is None else f"{shown}{rest}; did you mean {meant!r}?"
