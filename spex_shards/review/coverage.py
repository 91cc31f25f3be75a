"""Coverage: which transitions of a specification a model has shown, and which of the model's transitions match none.

The model and the specification are followed side by side from their initial states. A pair (model state, specification
state) says that a run of the model to the first may be a run of the specification to the second. Each step of the model
in a pair is matched with the steps that the specification can do there, also after silent steps; all these specified
steps are *shown*.

If several targets are possible, and one has the same name as the model's target, only that one is used, because most
programs report the specification's own names. Without such names, and with a nondeterministic specification, more
transitions may count as shown than were observed; never fewer, unless there are more than `MOST_PAIRS` pairs.
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
"""The most pairs that are examined; only nondeterministic specifications and models with some 500 states have more."""
MOST_OF_INCOMPLETE: Final = 99.0
"""The coverage of a model that has shown every transition somewhere, and is incomplete for another reason."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a model has shown of its specification.

    Attributes:
        shown: The specification's transitions that were observed, in the specification's order.
        missing: The reachable transitions of the specification that were not observed.
        unreachable: The transitions of the specification that no run reaches; they are not counted.
        unexplained: The model's transitions that nothing in the specification matches, sorted.
        met: Of a model that is not equivalent: each state, with the specification's states that it may correspond to.
        whole: Whether all pairs were examined; if not, a transition in `missing` may have been observed.
        unseen: Of a model that is incomplete though no transition is missing: states with actions that they were not
            observed to do, and another state of the model was.
        incomplete: Whether the model is known not to have shown everything.
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
        """How many per cent of the reachable transitions, and of the unseen actions, were shown.

        It is 100 if there is nothing to show, and never for an incomplete model.
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
    """Return a percentage as text, rounded down, so that only full coverage is shown as 100."""
    return f"{int(percent)} %"


def cover(model: ImplModel, specification: Declaration, result: Result) -> Coverage:
    """Return what a model has shown of a specification.

    Args:
        model: The model. One without initialisation has shown nothing.
        specification: The specification.
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
        """Return the states that the specification may be in after `step`, and note the transitions that it shows."""
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
        """Return `state` and the states that silent steps lead to from it, each with the last such step."""
        paths: dict[str, Transition | None] = {state: None}
        if not self._strong:
            todo = [state]
            for own in todo:  # grows while the loop runs
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
    for state in todo:  # grows while the loop runs
        for step in steps.get(state, ()):
            found.add(step)
            if step.target not in seen:
                seen.add(step.target)
                todo.append(step.target)
    return found
