"""Runs that would show what was not seen yet: what to test next.

::

    specified   new --pay--> paid --ship--> sent            not seen: paid --cancel--> gone
                               └───cancel─> gone            suggested: pay, cancel

For each transition that is missing a shortest run ends with it (a transition cover; Chow 1978). A thorough choice goes
on after each transition, missing or not, by the words that tell its target from every other state: the part of Chow's
W-method that can be seen in a program that is observed and not driven, since an action that is refused leaves no trace.
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
"""So many states a specification may have for a thorough choice: it looks at all pairs of them."""

Word = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A run of the specification that is worth a test.

    Attributes:
        run: The transitions, from the initial state on, as the specification calls its states.
        shows: Those of the missing transitions that it takes.
    """

    run: tuple[Transition, ...]
    shows: tuple[Transition, ...]

    @property
    def actions(self) -> tuple[str, ...]:
        """The visible actions, in order: what a test has to do."""
        return tuple(step.action for step in self.run if step.action != INTERNAL)


def suggest(spec: LTS, missing: Iterable[Transition], *, thorough: bool = False) -> list[Suggestion]:
    """Return runs that show all missing transitions, the shorter ones first; none is the beginning of another.

    Args:
        spec: The specification.
        missing: The transitions to show; what cannot be reached is left out.
        thorough: Whether each transition is taken, and its target told from all other states.

    Raises:
        ValueError: A thorough choice is wanted of a specification that is not deterministic, has silent steps, or has
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
    """Return a shortest run to each state that can be reached."""
    outgoing: dict[State, list[Transition]] = {}
    for source, action, target in spec.transitions:
        outgoing.setdefault(source, []).append(Transition(source, action, target))  # type: ignore[arg-type]
    ways: dict[State, tuple[Transition, ...]] = {spec.initial_state: ()}
    for state in (order := [spec.initial_state]):  # grows while it is gone through
        for step in outgoing.get(state, ()):
            if step.target not in ways:
                ways[step.target] = (*ways[state], step)
                order.append(step.target)
    return ways


def _followed(runs: list[tuple[Transition, ...]], spec: LTS, states: set[State]) -> list[tuple[Transition, ...]]:
    """Return runs, each continued by all words that tell states apart and are possible at its end."""
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
    """Return words, so that any two states that differ differ in whether one of the words is possible."""
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
    """Return a shortest word that is possible in one of two states only, or None if they are equivalent."""
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
