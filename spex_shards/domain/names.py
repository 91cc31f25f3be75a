"""Names of states and actions as users write them."""

from __future__ import annotations

from enum import Enum


def as_name(value: object) -> str | None:
    """Return a `str`, or the `str` value of an Enum member, as a plain `str`; None for anything else."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return str.__str__(value)
    return None
