"""Whether a step that is not specified is a specified one under another name.

Each action that is possible there, and was not seen there, is tried: the model is read with that name, and the two are
followed on from there. It is taken for the one that is meant if the model fits then and shows it, by the name of the
state that it leads to, or by what happens afterwards.
"""

from __future__ import annotations

from typing import Any, Final

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State, Transition
from .core import Core
from .pairs import Pairs
from .specified import Specified

MOST_TRIED: Final = 8
"""So many actions are tried."""
MOST_READ: Final = 20_000
"""A model with more transitions is not read again."""


def meant_by(step: Transition, impl: LTS, pairs: Pairs, specified: Specified) -> str | None:
    """Return the action of the specification that a step's action stands for, or None if that is not clear.

    Args:
        step: A step of the model that is not specified.
        impl: The model.
        pairs: The model's pairs.
        specified: What it is judged by.
    """
    action = step.action
    if action in specified.actions or action == INTERNAL or len(impl.transitions) > MOST_READ:
        return None
    core = Core(impl.initial_state, specified)
    places = [(s, t) for s in pairs.classes for a, t in pairs.steps.get(s, ()) if a == action]
    candidates = set(specified.actions)
    for source, _ in places:
        seen = {done for done, _ in pairs.steps[source]}
        candidates &= {a for own in pairs.classes[source] for a in specified.moves(own)} - {*seen, INTERNAL}
    by_name: list[str] = []
    by_deeds: list[str] = []
    for candidate in [a for a in specified.actions if a in candidates][:MOST_TRIED]:
        steps: Any = [(s, candidate if a == action else a, t) for s, a, t in impl.transitions]
        if core.irreparable([Transition(*step) for step in steps]) and not _parts_later(step, candidate, specified):
            continue
        if all(_named_alike(source, candidate, target, pairs, specified) for source, target in places):
            by_name.append(candidate)
        if any(_goes_on(target, pairs) for _, target in places):
            by_deeds.append(candidate)
    clear = by_name or by_deeds
    return clear[0] if len(clear) == 1 else None


def _parts_later(step: Transition, candidate: str, specified: Specified) -> bool:
    """Whether a model that does not fit either was at least right about this step: by the names of both its states."""
    source, target = specified.calls(step.source or ""), specified.calls(step.target)
    return source is not None and target is not None and target in specified.leads(source, candidate)


def _named_alike(source: State, candidate: str, target: State, pairs: Pairs, specified: Specified) -> bool:
    called = specified.calls(target)
    return called is not None and any(
        called in specified.leads(own, candidate) and specified.named(called, target) == target
        for own in pairs.classes[source]
    )


def _goes_on(target: State, pairs: Pairs) -> bool:
    """Whether the state that a step leads to is known otherwise, or anything was seen there."""
    return target in pairs.classes or bool(pairs.steps.get(target))
