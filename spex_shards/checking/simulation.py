"""Weak simulation, completed and ready simulation: decides whether one system can follow another step by step.

A pair (p, q) of a state of the model and one of the specification is good if each of its *duties* has a good answer:

    p --a-> p'          (p', q') for some q' that a leads to from q, silent steps before it allowed
    p --τ-> p'          (p', q)
    p stops             (p, q') for some q' at rest that silent steps lead to from q, and where to stop is allowed:
                        completed: q' can do nothing, if p can do nothing; ready: q' can do exactly what p can do

Silent steps after an action need not be tried: a state can do all that its silent successors can. The relation is the
largest one; see van Glabbeek, "The Linear Time - Branching Time Spectrum" (1990; with silent moves 1993), where
completed and ready simulation are in their stable forms. The search begins with the initial pair. It tries one answer
for each duty, and assumes that the answer is good until it turns out to be bad (Liu and Smolka 1998). So few pairs are
examined for most systems that can be followed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from ..domain.transition import INTERNAL
from .inclusion import TooManyPairs
from .simulators import Simulators
from .weak import Weak

MOST_ANSWERS: Final = 200_000
"""After examining this many answers one by one, the search examines all states at once, by `simulators`."""
MOST_REASONS: Final = 100_000
"""The most bad pairs in a refutation that `simulators` found."""
MOST_RANKED: Final = 300_000
"""The most answers that are examined to find a refutation of least depth; if they do not suffice, any depth will do."""

Pair = tuple[int, int]


class Stopping(StrEnum):
    """What the specification must be able to do when the model is in a state at rest."""

    ANYWHERE = "anywhere"
    """Nothing; this is simulation."""
    COMPLETED = "completed"
    """If the model's state can do nothing, the specification must be able to rest in a state that can do nothing."""
    READY = "ready"
    """The specification must be able to rest in a state that can do exactly the same actions."""


@dataclass(slots=True)
class Duty:
    """A step or stop of the model in a pair, which the specification must be able to answer.

    Attributes:
        pair: The pair.
        action: The action of the model's step; None: the model stops.
        target: The model's state after the step.
        answers: The pairs that are possible answers.
        menu: The actions of the model's state, if it stops.
        tried: How many of the answers turned out to be bad; the next one is assumed to be good.
    """

    pair: Pair
    action: str | None
    target: int
    answers: list[Pair]
    menu: tuple[str, ...] = ()
    tried: int = 0


@dataclass(slots=True)
class Refutation:
    """Why the initial pair is bad: because of other bad pairs, down to duties without any answer.

    Attributes:
        reasons: For each bad pair a duty whose answers are all bad; these became bad earlier.
        ranks: For each bad pair its position in the order in which pairs became bad.
        least: Whether no refutation has less depth.
        whole: Whether it contains all pairs that it needs; if not, it is too large to be shown.
    """

    reasons: dict[Pair, Duty]
    ranks: dict[Pair, int] = field(default_factory=dict)
    least: bool = False
    whole: bool = True


def refuted(impl: Weak, spec: Weak, stopping: Stopping) -> Refutation | None:
    """Return why `spec` cannot follow `impl`, or None if it can.

    Args:
        impl: The model.
        spec: The specification.
        stopping: The relation.

    Raises:
        TooManyPairs: A bound was hit before an answer was found.
    """
    game = _Game(impl, spec, stopping)
    try:
        reasons = game.decide()
    except TooManyPairs:
        return game.decide_at_once()
    if reasons is None:
        return None
    return game.ranked() or Refutation(reasons, {pair: rank for rank, pair in enumerate(reasons)})


class _Game:
    def __init__(self, impl: Weak, spec: Weak, stopping: Stopping) -> None:
        self._impl, self._spec, self._stopping = impl, spec, stopping
        self._first = (impl.start, spec.start)
        self._looked_at = 0
        self._most = MOST_ANSWERS

    def _duties(self, pair: Pair) -> list[Duty]:
        p, q = pair
        duties = []
        moves = self._spec.moves(q)
        for action, target in self._impl.steps[p]:
            if action == INTERNAL:
                answers = [(target, q)]
            else:
                answers = [(target, there) for there in moves.get(action, ())]
            self._look_at(len(answers))
            duties.append(Duty(pair, action, target, answers))
        if self._stopping is not Stopping.ANYWHERE and self._impl.at_rest[p]:
            menu = self._impl.menu(p)
            if not menu or self._stopping is Stopping.READY:
                rests = [(p, here) for here in self._spec.resting(q) if self._spec.menu(here) == menu]
                self._look_at(len(rests))
                duties.append(Duty(pair, None, p, rests, tuple(sorted(menu))))
        return duties

    def _look_at(self, answers: int) -> None:
        self._looked_at += answers
        if self._looked_at > self._most:
            raise TooManyPairs

    def decide(self) -> dict[Pair, Duty] | None:
        """Return for pairs that are bad why, in the order in which that was found, if the first one is bad."""
        bad: dict[Pair, Duty] = {}
        waiting: dict[Pair, list[Duty]] = {self._first: []}
        todo = [self._first]
        while todo and self._first not in bad:
            pair = todo.pop()
            moved = self._duties(pair)
            while moved:
                duty = moved.pop()
                if duty.pair in bad:
                    continue
                while duty.tried < len(duty.answers) and duty.answers[duty.tried] in bad:
                    duty.tried += 1
                if duty.tried == len(duty.answers):
                    bad[duty.pair] = duty
                    moved += waiting.pop(duty.pair)
                    continue
                answer = duty.answers[duty.tried]
                if answer not in waiting:
                    waiting[answer] = []
                    todo.append(answer)
                waiting[answer].append(duty)
        return bad if self._first in bad else None

    def decide_at_once(self) -> Refutation | None:
        """Decide by the sets of all states that simulate each other; return a refutation, if it is bad."""
        ready, completed = self._stopping is Stopping.READY, self._stopping is Stopping.COMPLETED
        sets = Simulators(self._impl, self._spec, completed=completed, ready=ready)
        if sets.run():
            return None
        self._looked_at, self._most = 0, 10 * MOST_REASONS
        found = Refutation({})
        todo = [self._first]
        try:
            while todo:
                pair = todo.pop()
                if pair in found.reasons:
                    continue
                when = found.ranks[pair] = sets.left(*pair)
                duty = next(d for d in self._duties(pair) if all(sets.left(*answer) < when for answer in d.answers))
                found.reasons[pair] = duty
                todo += duty.answers
                if len(found.reasons) > MOST_REASONS:
                    raise TooManyPairs
        except TooManyPairs:
            found.whole = False
        return found

    def ranked(self) -> Refutation | None:
        """Return a refutation of least depth, or None if it takes too long to find one."""
        self._looked_at, self._most = 0, MOST_RANKED
        try:
            return self._ranked()
        except TooManyPairs:
            return None

    def _ranked(self) -> Refutation:
        asked_by: dict[Pair, list[Duty]] = {self._first: []}
        order = [self._first]
        failed: deque[Duty] = deque()
        for pair in order:  # grows while the loop runs
            for duty in self._duties(pair):
                if not duty.answers:
                    failed.append(duty)
                for answer in duty.answers:
                    if answer not in asked_by:
                        asked_by[answer] = []
                        order.append(answer)
                    asked_by[answer].append(duty)
        reasons: dict[Pair, Duty] = {}
        ranks: dict[Pair, int] = {}
        while failed:
            duty = failed.popleft()
            if duty.pair in reasons:
                continue
            reasons[duty.pair] = duty
            ranks[duty.pair] = 1 + max((ranks[answer] for answer in duty.answers), default=0)
            for other in asked_by[duty.pair]:
                other.tried += 1
                if other.tried == len(other.answers):
                    failed.append(other)
        return Refutation(reasons, ranks, least=True)
