"""Follows the run of an explanation step by step, with the steps by which the other side can answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..domain.difference import in_order
from ..domain.transition import INTERNAL, Transition


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run: a transition of one side, and the other side's transitions that answer it.

    `answered` is False if the other side has no answer; an answer to a silent step may be empty.
    """

    transition: Transition
    answer: tuple[Transition, ...]
    answered: bool


def walk(trace: Sequence[Transition], other: Iterable[Transition], start: str | None) -> list[Step]:
    """Return the steps of a run, with the other side's answers as far as there are any.

    The answer to a visible step is a transition with the same action, after any number of silent ones. The answer to a
    silent step may be a silent step or nothing. Of several ways, one that gets furthest is chosen.

    Args:
        trace: The run.
        other: The other side's transitions.
        start: The other side's initial state; None: it has none.
    """
    steps: dict[str, list[Transition]] = {}
    for transition in in_order(other):
        if transition.source is not None:
            steps.setdefault(transition.source, []).append(transition)
    # After each step of the run: the states that the other side may be in, each with the answers that led there.
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
    for own in queue:  # the list grows while the loop runs
        for transition in steps.get(own, ()):
            if transition.action == action:
                found.append(((*ways[own], transition), transition.target))
            elif transition.action == INTERNAL and transition.target not in ways:
                ways[transition.target] = (*ways[own], transition)
                queue.append(transition.target)
    return found
