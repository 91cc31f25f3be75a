"""Suggests what to test next: runs of the specification that would show what was not observed yet.

::

    specified   new --pay--> paid --ship--> sent            not seen: paid --cancel--> gone
                               └───cancel─> gone            suggested: pay, cancel

For each missing transition, the suggestion is a shortest run that ends with it (a transition cover; Chow 1978). A
thorough choice continues after each transition, missing or not, with the words that tell its target from every other
state. This is the part of Chow's W-method that can be used for a program that is only observed, because a refused
action leaves no trace.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State, Transition
from .deterministic import Moves, moves_of

MOST_STATES: Final = 300
"""The most states of a specification for a thorough choice, which examines all pairs of states."""

Word = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A run of the specification that is worth a test.

    Attributes:
        run: The transitions of the specification, from its initial state on.
        shows: The missing transitions that the run contains.
    """

    run: tuple[Transition, ...]
    shows: tuple[Transition, ...]

    @property
    def actions(self) -> tuple[str, ...]:
        """The visible actions that a test must do, in order."""
        return tuple(step.action for step in self.run if step.action != INTERNAL)


def suggest(spec: LTS, missing: Iterable[Transition], *, thorough: bool = False) -> list[Suggestion]:
    """Return runs that show all missing transitions, shorter ones first; no run is the beginning of another.

    Args:
        spec: The specification.
        missing: The transitions to show; unreachable ones are left out.
        thorough: Whether the runs must contain each transition, and tell its target from all other states.

    Raises:
        ValueError: A thorough choice is impossible: the specification is not deterministic, has silent steps, or has
            more than `MOST_STATES` states.
    """
    wanted = set(missing)
    ways = _ways(spec)
    runs = [
        (*ways[step[0]], Transition(*step))  # type: ignore[arg-type]  # a state may be a number
        for step in spec.transitions
        if step[0] in ways and (thorough or step in wanted)
    ]
    if thorough:
        runs = _followed(runs, spec, set(ways))
    runs = sorted(dict.fromkeys(runs), key=len)
    begins = {run[:length] for run in runs for length in range(1, len(run))}
    return [
        Suggestion(run, tuple(dict.fromkeys(step for step in run if step in wanted)))
        for run in runs
        if run not in begins
    ]


def _ways(spec: LTS) -> dict[State, tuple[Transition, ...]]:
    """Return a shortest run to each reachable state."""
    outgoing: dict[State, list[Transition]] = {}
    for source, action, target in spec.transitions:
        outgoing.setdefault(source, []).append(Transition(source, action, target))  # type: ignore[arg-type]
    ways: dict[State, tuple[Transition, ...]] = {spec.initial_state: ()}
    for state in (order := [spec.initial_state]):  # grows while the loop runs
        for step in outgoing.get(state, ()):
            if step.target not in ways:
                ways[step.target] = (*ways[state], step)
                order.append(step.target)
    return ways


def _followed(runs: list[tuple[Transition, ...]], spec: LTS, states: set[State]) -> list[tuple[Transition, ...]]:
    """Return runs, each continued by every word that tells states apart and is possible at its end."""
    moves = moves_of(spec, strong=False)
    if moves is None:
        raise ValueError("a thorough choice needs a specification that is deterministic and has no silent steps")
    if len(states) > MOST_STATES:
        raise ValueError(f"a thorough choice needs at most {MOST_STATES} states, got: {len(states)}")
    words = _telling(moves, sorted(states, key=str))
    found = list(runs)
    for run in runs:
        for word in words:
            steps, here = list(run), run[-1].target
            for action in word:
                target = moves.get(here, {}).get(action)
                if target is None:
                    break
                steps.append(Transition(here, action, target))  # type: ignore[arg-type]
                here = target  # type: ignore[assignment]
            else:
                found.append(tuple(steps))
    return found


def _telling(moves: Moves, states: list[State]) -> list[Word]:
    """Return words that tell states apart: of any two inequivalent states, only one can do some of the words."""
    words: dict[Word, None] = {}
    for number, one in enumerate(states):
        for other in states[number + 1 :]:
            if not any(_possible(moves, one, word) != _possible(moves, other, word) for word in words):
                word = _shortest(moves, one, other)
                if word is not None:
                    words[word] = None
    return list(words)


def _possible(moves: Moves, state: State, word: Word) -> bool:
    here: State | None = state
    for action in word:
        here = None if here is None else moves.get(here, {}).get(action)
    return here is not None


def _shortest(moves: Moves, one: State, other: State) -> Word | None:
    """Return a shortest word that is possible in only one of two states, or None if they are equivalent."""
    seen, todo = {(one, other)}, deque([(one, other, ())])
    while todo:
        mine, yours, word = todo.popleft()
        ours, theirs = moves.get(mine, {}), moves.get(yours, {})
        for action in sorted(ours.keys() ^ theirs.keys()):
            return (*word, action)
        for action in sorted(ours):
            pair = (ours[action], theirs[action])
            if pair not in seen:
                seen.add(pair)
                todo.append((*pair, (*word, action)))  # type: ignore[arg-type]
    return None
