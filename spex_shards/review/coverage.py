"""Coverage: which transitions of a specification a model has shown, and which of the model's it cannot explain.

The model and the specification are walked side by side from their initial states. A pair (model state, specification
state) says that a run of the model that got to the one may have got to the other. What the model does in a pair is
matched by what the specification can do there, silent steps of its own first; each step that takes part is *shown*.

Where several targets are possible, the one of the same name as the model's is taken alone, if there is one: programs
mostly report the specification's own names. Without such names, and with a nondeterministic specification, more may
count as shown than was seen; never less, unless there are more than `MOST_PAIRS` pairs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..checking.conformance import Result, Verdict
from ..checking.graph import Equivalence
from ..domain.declaration import Declaration
from ..domain.impl_model import ImplModel
from ..domain.transition import INTERNAL, Transition

if TYPE_CHECKING:
    from ..checking.unseen import Unseen

Steps = dict[str, list[Transition]]
MOST_PAIRS: Final = 250_000
"""So many pairs are looked at; only nondeterministic specifications and models of some 500 states reach it."""
MOST_OF_INCOMPLETE: Final = 99.0
"""The coverage of a model that has shown every transition somewhere, and is incomplete for another reason."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a model has shown of its specification.

    Attributes:
        shown: The specification's transitions that were seen, in the specification's order.
        missing: Those that were not, though they can be reached.
        unreachable: Those that no run reaches; they count neither way.
        unexplained: The model's transitions that nothing in the specification matches, sorted.
        met: For each state of a model that is not equivalent the specification's states that it may stand for.
        whole: Whether all pairs were looked at; if not, what is missing may have been seen all the same.
        unseen: Where nothing is missing and the model is incomplete all the same: states of the model with actions
            that they have not been seen to do, and that another state of the model was.
        incomplete: Whether the model is known not to have shown all.
    """

    shown: tuple[Transition, ...] = ()
    missing: tuple[Transition, ...] = ()
    unreachable: tuple[Transition, ...] = ()
    unexplained: tuple[Transition, ...] = ()
    met: dict[str, tuple[str, ...]] = field(default_factory=dict)
    whole: bool = True
    unseen: tuple[Unseen, ...] = ()
    incomplete: bool = False

    @property
    def percent(self) -> float:
        """The share that was shown of the reachable transitions, and of what is unseen, from 0 to 100.

        It is 100 where there is nothing to show, and never for an incomplete model.
        """
        total = len(self.shown) + len(self.missing) + len(self.unseen)
        share = 100.0 * len(self.shown) / total if total else 100.0 * (not self.incomplete)
        return min(share, MOST_OF_INCOMPLETE) if self.incomplete else share

    def __str__(self) -> str:
        total = len(self.shown) + len(self.missing)
        least = "" if self.whole else "at least "
        but = f", but not in every state that stands for theirs: {len(self.unseen)} not seen" if self.unseen else ""
        return f"{least}{len(self.shown)} of {total} specified transitions shown{but} ({percent_text(self.percent)})"


def percent_text(percent: float) -> str:
    """Return a share as text, rounded down, so that only what is whole is called so."""
    return f"{int(percent)} %"


def cover(model: ImplModel, specification: Declaration, result: Result) -> Coverage:
    """Find what a model has shown of a specification.

    Args:
        model: The model. One without initialisation has shown nothing.
        specification: What it is judged by.
        result: The model's verdict. An equivalent model has shown all that can be reached.
    """
    inside = _reachable(specification)
    unreachable = tuple(t for t in specification.transitions if t not in inside)
    incomplete = result.verdict is Verdict.INCOMPLETE
    if specification.initial_state is None:
        beyond = tuple(sorted(t for t in model.transitions if t.source is not None))
        return Coverage(unexplained=beyond, incomplete=incomplete)
    if result.equivalent:
        return Coverage(tuple(t for t in specification.transitions if t in inside), unreachable=unreachable)
    strong = specification.equivalence == Equivalence.STRONG
    walk = _Walk(model.transitions, specification.transitions, strong=strong)
    for state in model.initialisations:
        walk.start(state, specification.initial_state)
    missing = tuple(t for t in specification.transitions if t in inside and t not in walk.shown)
    explanation = result.explanation if incomplete and not missing else None
    return Coverage(
        tuple(t for t in specification.transitions if t in walk.shown),
        missing,
        unreachable,
        tuple(sorted(walk.unexplained())) if walk.pairs < MOST_PAIRS else (),
        {state: tuple(sorted(others)) for state, others in walk.met.items()},
        walk.pairs < MOST_PAIRS,
        () if explanation is None else explanation.unseen,
        incomplete,
    )


class _Walk:
    def __init__(self, model: Iterable[Transition], specification: Iterable[Transition], *, strong: bool) -> None:
        self._model, self._specification = _outgoing(model), _outgoing(specification)
        self._strong = strong
        self.shown: set[Transition] = set()
        self.met: dict[str, set[str]] = {}
        self.pairs = 0
        self._explained: set[Transition] = set()

    def start(self, state: str, specified: str) -> None:
        todo = [(state, specified)]
        while todo and self.pairs < MOST_PAIRS:
            own, other = todo.pop()
            if other in self.met.setdefault(own, set()):
                continue
            self.met[own].add(other)
            self.pairs += 1
            paths = self._silently_from(other)
            for step in self._model.get(own, ()):
                todo += [(step.target, target) for target in self._matched(step, other, paths)]

    def unexplained(self) -> set[Transition]:
        return {step for own in self.met for step in self._model.get(own, ())} - self._explained

    def _matched(self, step: Transition, other: str, paths: dict[str, Transition | None]) -> list[str]:
        """Return where the specification may be after `step`, and note what was shown by that."""
        found = [t for state in paths for t in self._specification.get(state, ()) if t.action == step.action]
        inert = step.action == INTERNAL and not self._strong
        if inert:
            found = [t for t in self._specification.get(other, ()) if t.action == INTERNAL]
        found = [t for t in found if t.target == step.target] or found
        for transition in found:
            self._show(transition, paths)
        if found or inert:
            self._explained.add(step)
        targets = [t.target for t in found]
        return [*targets, other] if inert else targets

    def _show(self, transition: Transition, paths: dict[str, Transition | None]) -> None:
        self.shown.add(transition)
        lead = paths.get(str(transition.source))
        while lead is not None:
            self.shown.add(lead)
            lead = paths[str(lead.source)]

    def _silently_from(self, state: str) -> dict[str, Transition | None]:
        """Return the states that silent steps lead to from `state`, it included, each with the last such step."""
        paths: dict[str, Transition | None] = {state: None}
        if not self._strong:
            todo = [state]
            for own in todo:  # grows while it is gone through
                for step in self._specification.get(own, ()):
                    if step.action == INTERNAL and step.target not in paths:
                        paths[step.target] = step
                        todo.append(step.target)
        return paths


def _outgoing(transitions: Iterable[Transition]) -> Steps:
    steps: Steps = {}
    for transition in transitions:
        if transition.source is not None:
            steps.setdefault(transition.source, []).append(transition)
    return steps


def _reachable(specification: Declaration) -> set[Transition]:
    steps = _outgoing(specification.transitions)
    todo = [] if specification.initial_state is None else [specification.initial_state]
    seen, found = set(todo), set()
    for state in todo:  # grows while it is gone through
        for step in steps.get(state, ()):
            found.add(step)
            if step.target not in seen:
                seen.add(step.target)
                todo.append(step.target)
    return found
