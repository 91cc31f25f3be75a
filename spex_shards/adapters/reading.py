"""Reads the declaration of another library's machine as a specification; imports none of the libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from ..domain.nesting import Nested, flattened
from ..domain.specification import Specification
from . import statemachine_states, transitions_states
from .subject import named_after

Read = tuple[Nested | None, Iterable[Nested]]
"""A machine's initial state, and all its states."""
_LIBRARIES: Final[dict[str, Callable[[Any, bool], Read]]] = {
    "transitions": transitions_states.read,
    "statemachine": statemachine_states.read,
}


def from_machine(
    machine: Any,
    name: str | None = None,
    *,
    base: type[Specification] = Specification,
    auto_transitions: bool = False,
    **options: Any,
) -> type[Specification]:
    """Return a specification with the transitions that a machine declares; see `Specification.from_machine`."""
    library = _library_of(machine)
    initial, states = _LIBRARIES[library](machine, auto_transitions)
    if initial is None:
        raise ValueError(f"{machine!r} has no initial state: set it, or give a specification of your own")
    known = machine if isinstance(machine, type) else None
    if name is None:
        models = [] if known else [model for model in getattr(machine, "models", ()) if model is not machine]
        name = f"{known.__module__}.{known.__qualname__}" if known else named_after(machine, library, *models)
        name = name.replace("<locals>.", "")
    steps = [(str(source), action, target) for source, action, target in flattened(states)]
    if not steps:
        raise ValueError(f"{machine!r} has no transitions: add them first, or give a specification of your own")
    return base.define(name, steps, initial_state=initial.settled().name, **options)


def _library_of(machine: Any) -> str:
    for cls in (machine if isinstance(machine, type) else type(machine)).__mro__:
        library = cls.__module__.partition(".")[0]
        if library == "statemachine" or (library == "transitions" and not isinstance(machine, type)):
            return library
    raise TypeError(
        "a specification is made from a Machine of the library transitions, or from a machine or class of "
        f"python-statemachine, got: {machine!r}"
    )
