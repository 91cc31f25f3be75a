"""Finds a state of a model that would need a class from each of two sets without a common class.

In an irreparable part of a model, this searches a state that could be split in two: if its steps are divided between
two states, each of the two has possible classes, but no class is possible for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Final, NamedTuple

from ..domain.transition import INTERNAL, State, Transition
from .pairs import Pairs
from .specified import Specified

MOST_ENDS: Final = 8
"""A state with more steps than this in the part is not split."""
MOST_LOOKED_AT: Final = 300_000
"""The most classes that are examined, counted for each step."""

Place = tuple[State, int]
Edge = tuple[Place, str, Place]


class Side(NamedTuple):
    """One half of a split state, and why it must have its class.

    Attributes:
        run: A run of the model to the state, each step with the class after it.
        own: The class that the state must have; or one of several possible ones.
        then: Steps from the state that require that class.
    """

    run: tuple[tuple[Transition, int], ...]
    own: int
    then: tuple[Transition, ...] = ()


def two_sides(
    part: Sequence[Transition], start: State, pairs: Pairs, specified: Specified
) -> tuple[State, tuple[Side, Side]] | None:
    """Return a state that cannot have all the classes that a part of a model requires.

    Args:
        part: An irreparable part of a model, if possible a minimal one.
        start: The model's initial state.
        pairs: The pairs of the part.
        specified: The specification.

    Returns:
        The state, and two sides of it without a common possible class; None if no such state was found.
    """
    classes = len(specified.members)
    left = MOST_LOOKED_AT
    best: tuple[tuple[bool, int], State, tuple[Side, Side]] | None = None
    for state in pairs.classes:
        ends = [end for at, step in enumerate(part) for end in _ends(at, step, state)]
        if len(ends) + (state == start) > MOST_ENDS:
            continue
        for chosen in _ways(len(ends), fixed=state == start):
            left -= classes * len(part)
            if left < 0:
                return None if best is None else best[1:]
            second = {end for end, other in zip(ends, chosen, strict=True) if other}
            domains = _domains([_edge(at, step, state, second) for at, step in enumerate(part)], start, specified)
            one, other = domains.get((state, 0)), domains.get((state, 1))
            if not one or not other or one & other:
                continue
            called = specified.calls(state)
            sides = [_side(part, state, pairs, sorted(own, key=lambda o: o != called),
                           {e for e in ends if (e in second) == bool(n)})
                     for n, own in enumerate((one, other))]  # fmt: skip
            entered = [any(into for _, into in second), any(e not in second and e[1] for e in ends) or state == start]
            rank = (not all(entered), sum(len(side.then) for side in sides))
            if best is None or rank < best[0]:
                best = rank, state, (sides[0], sides[1])
    return None if best is None else best[1:]


def _ends(at: int, step: Transition, state: State) -> Iterator[tuple[int, bool]]:
    """Yield the ends of a step that are a given state: the number of the step, and whether it is the target."""
    if step.target == state:
        yield at, True
    if step.source == state:
        yield at, False


def _ways(size: int, *, fixed: bool) -> Iterator[tuple[bool, ...]]:
    """Yield the ways to divide ends between two states; only the first half if the two are interchangeable."""
    for chosen in product((False, True), repeat=size):
        if any(chosen) and (fixed or not chosen[0]):
            yield chosen


def _edge(at: int, step: Transition, state: State, second: set[tuple[int, bool]]) -> Edge:
    source, target = step.source, step.target
    assert source is not None
    return (
        (source, int(source == state and (at, False) in second)),
        step.action,
        (target, int(target == state and (at, True) in second)),
    )


def _domains(edges: list[Edge], start: State, specified: Specified) -> dict[Place, set[int]]:
    """Narrow the classes of all places until they are consistent (Mackworth 1977)."""
    domains = {place: set(specified.members) for source, _, target in edges for place in (source, target)}
    domains[start, 0] = {0}
    changed = True
    while changed:
        changed = False
        for source, action, target in edges:
            ours, theirs = domains[source], domains[target]
            starts = {own for own in ours if not theirs.isdisjoint(specified.leads(own, action))}
            ends = {end for own in starts for end in specified.leads(own, action)} & theirs
            changed |= len(starts) < len(ours) or len(ends) < len(theirs)
            if source == target:
                starts = ends = {own for own in starts if own in specified.leads(own, action)}
                changed |= len(starts) < len(ours)
            domains[source], domains[target] = starts, ends
    return domains


def _side(
    part: Sequence[Transition], state: State, pairs: Pairs, classes: list[int], ends: set[tuple[int, bool]]
) -> Side:
    reached = [own for own in classes if own in pairs.classes[state]]
    own = (reached or classes)[0]
    then = tuple(part[at] for at, into in sorted(ends) if not into and part[at].action != INTERNAL)
    into = {part[at] for at, leads in ends if leads}
    runs = [(own, pairs.run(state, own)) for own in reached]
    fitting = next(((own, run) for own, run in runs if run and run[-1][0] in into), None)
    if fitting is not None:
        return Side(fitting[1], fitting[0], then)
    return Side(runs[0][1] if runs else pairs.run(state, pairs.classes[state][0]), own, then)
