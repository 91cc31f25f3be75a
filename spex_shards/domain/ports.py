"""Inputs and outputs: the actions of a specification that its environment does, and those that the program does."""

from __future__ import annotations

from collections.abc import Iterable

from .names import as_name
from .transition import INTERNAL


def port(option: str, value: object) -> tuple[str, ...] | None:
    """Return the value of the option `inputs` or `outputs`: None, or a tuple of actions.

    Raises:
        ValueError: The value is neither None nor a collection of actions.
    """
    if value is None:
        return None
    rule = f"{option} must be a collection of actions, or None"
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise ValueError(f"{rule}, got: {value!r}")
    names = [as_name(action) for action in value]
    if None in names:
        raise ValueError(f"{rule}, got: {value!r}")
    return tuple(dict.fromkeys(map(str, names)))


def inputs_among(
    actions: Iterable[str], inputs: Iterable[str] | None, outputs: Iterable[str] | None
) -> frozenset[str] | None:
    """Return the actions that are inputs, or None if neither option is given.

    Args:
        actions: The actions of the specification. If only one option is given, all its other actions belong to the
            other.
        inputs: The option.
        outputs: The option.

    Raises:
        ValueError: An action is in both options, in neither, or is the internal one.
    """
    if inputs is None and outputs is None:
        return None
    known = dict.fromkeys(action for action in actions if action != INTERNAL)
    named = {"inputs": set(inputs or ()), "outputs": set(outputs or ())}
    for option, listed in named.items():
        if INTERNAL in listed:
            raise ValueError(f"{option} must not name {INTERNAL!r}: a silent step is neither input nor output")
    for action in (*known, *sorted(named["inputs"])):
        if action in named["inputs"] and action in named["outputs"]:
            raise ValueError(f"an action must be an input or an output, not both, got: {action!r}")
        if inputs is not None and outputs is not None and action not in named["inputs"] | named["outputs"]:
            raise ValueError(f"inputs and outputs must have every action of the specification, not in them: {action!r}")
    return frozenset(known.keys() - named["outputs"]) if inputs is None else frozenset(named["inputs"])
