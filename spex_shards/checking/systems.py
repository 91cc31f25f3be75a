"""Converts the arguments of public functions to systems."""

from __future__ import annotations

from typing import Final

from ..domain.lts import LTS
from ..domain.specification import Specification, is_specification

NO_BEHAVIOUR: Final = LTS("", ())
"""The system of a specification without transitions: it allows no visible action."""


def system_of(value: LTS | type[Specification]) -> LTS:
    """Return the system that a specification declares, or `value` if it is a system.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(value, LTS):
        return value
    if not is_specification(value):
        raise TypeError(f"a system must be an LTS or a Specification class, got: {value!r}")
    return NO_BEHAVIOUR if value.lts is None else value.lts
