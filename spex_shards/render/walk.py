"""The run that an explanation tells, step by step, with what the other side does meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..domain.difference import in_order
from ..domain.transition import INTERNAL, Transition


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run: a transition of one side, and those of the other side that answer it, if it has any."""

    transition: Transition
    answer: tuple[Transition, ...]
    answered: bool


def walk(trace: Sequence[Transition], other: Iterable[Transition], start: str | None) -> list[Step]:
    """Follow a run on the other side, as far as that can go.

    Args:
        trace: The run.
        other: The other side's transitions.
        start: Its initial state, None where it has none.

    An answer to a visible step is that action, after silent steps; to a silent one nothing need happen. Of several ways
    the one that gets furthest is taken.
    """
    steps: dict[str, list[Transition]] = {}
    for transition in in_order(other):
        if transition.source is not None:
            steps.setdefault(transition.source, []).append(transition)
    # For each number of steps taken: each state that the other side may be in, with the way there.
    layers: list[dict[str, tuple[tuple[Transition, ...], ...]]] = [{} if start is None else {start: ()}]
    for transition in trace:
        ahead: dict[str, tuple[tuple[Transition, ...], ...]] = {}
        for state, ways in layers[-1].items():
            for answer, target in _answers(transition.action, state, steps):
                ahead.setdefault(target, (*ways, answer))
        if not ahead:
            break
        layers.append(ahead)
    best = next(iter(layers[-1].values()), ())
    return [Step(t, best[n] if n < len(best) else (), n < len(best)) for n, t in enumerate(trace)]


def _answers(action: str, state: str, steps: dict[str, list[Transition]]) -> list[tuple[tuple[Transition, ...], str]]:
    if action == INTERNAL:
        silent = [((t,), t.target) for t in steps.get(state, ()) if t.action == INTERNAL]
        return [((), state), *silent]
    found: list[tuple[tuple[Transition, ...], str]] = []
    ways: dict[str, tuple[Transition, ...]] = {state: ()}
    queue = [state]
    for own in queue:  # grows while it is gone through
        for transition in steps.get(own, ()):
            if transition.action == action:
                found.append(((*ways[own], transition), transition.target))
            elif transition.action == INTERNAL and transition.target not in ways:
                ways[transition.target] = (*ways[own], transition)
                queue.append(transition.target)
    return found
