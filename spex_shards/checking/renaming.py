"""Finds out whether a step that is not specified is a specified step under another name.

Each action that is possible at that place, and was not observed there, is tried: the model is read as if the step had
that action. The action is meant if the model fits then, and if there is evidence: the name of the state that the step
leads to, or the behaviour after it.
"""

from __future__ import annotations

from typing import Any, Final

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State, Transition
from .core import Core
from .pairs import Pairs
from .specified import Specified

MOST_TRIED: Final = 8
"""How many actions are tried."""
MOST_READ: Final = 20_000
"""In a model with more transitions than this, no action is tried."""


def meant_by(step: Transition, impl: LTS, pairs: Pairs, specified: Specified) -> str | None:
    """Return the action of the specification that a step's action means, or None if that is not clear.

    Args:
        step: A step of the model that is not specified.
        impl: The model.
        pairs: The model's pairs.
        specified: The specification.
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
    """Return whether `candidate` fits the names of the step's states, so that only later steps may deviate."""
    source, target = specified.calls(step.source or ""), specified.calls(step.target)
    return source is not None and target is not None and target in specified.leads(source, candidate)


def _named_alike(source: State, candidate: str, target: State, pairs: Pairs, specified: Specified) -> bool:
    called = specified.calls(target)
    return called is not None and any(
        called in specified.leads(own, candidate) and specified.named(called, target) == target
        for own in pairs.classes[source]
    )


def _goes_on(target: State, pairs: Pairs) -> bool:
    """Return whether anything was observed in the state that a step leads to, or it is reached by other steps."""
    return target in pairs.classes or bool(pairs.steps.get(target))
