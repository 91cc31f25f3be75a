"""Relations other than equivalence: an implementation may do less than specified, and must do nothing else.

::

    strong bisimilarity
      └ branching bisimilarity                   does exactly what is specified          `equivalence=`
          └ ready simulation                     where it stops, offers what is specified there ─┐
              └ completed simulation             may do less, must not get stuck                 │ `relation=`
                  └ simulation                   may do less, and choose later than specified    │
                      └ trace inclusion          every run is specified                         ─┘

Each relation implies those below it; they are a part of van Glabbeek's linear time - branching time spectrum (1990,
1993). `ioco` is not part of this order: it depends on which actions are inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

from ..domain.impl_model import ImplModel
from ..domain.lts import LTS
from .confirming import confirms
from .counterexample import Counterexample, Kind, of_refusal, of_refutation, of_starts
from .inclusion import Refusal, TooManyPairs, refused
from .ioco import unexpected
from .showing import ShownAnswer, marked
from .simulation import Refutation, Stopping, refuted
from .systems import NO_BEHAVIOUR
from .weak import Weak

if TYPE_CHECKING:
    from ..formats.marks import Marks


class Relation(StrEnum):
    """The relations by which systems can be compared, instead of an equivalence."""

    TRACE_INCLUSION = "trace_inclusion"
    """Every sequence of visible actions of the model is one of the specification."""
    SIMULATION = "simulation"
    """The specification can follow the model step by step, without knowing the model's next steps."""
    COMPLETED_SIMULATION = "completed_simulation"
    """As SIMULATION; and where the model can do nothing more, the specification may end, so the model is not stuck."""
    READY_SIMULATION = "ready_simulation"
    """As SIMULATION; and where the model rests, it offers exactly the actions of some state of the specification."""
    IOCO = "ioco"
    """After each run that the specification describes, it allows the model's outputs, and where the model waits."""


class Holding(StrEnum):
    """Whether a relation holds."""

    HOLDS = "holds"
    INCOMPLETE = "incomplete"
    """It does not hold, because the model stops where the specification goes on. No forbidden step was observed."""
    VIOLATION = "violation"
    """It does not hold, and never will, whatever else is observed."""
    UNDECIDED = "undecided"
    """It could not be decided with bounded memory."""


@dataclass(frozen=True)
class RelationResult(ShownAnswer):
    """Whether a model is related to its specification.

    Attributes:
        relation: The relation.
        verdict: The answer.

    Compared by these two.
    """

    relation: Relation
    verdict: Holding
    _explain: Callable[[], Counterexample | None] | None = field(default=None, repr=False, compare=False, kw_only=True)

    @property
    def holds(self) -> bool:
        """Whether the relation holds."""
        return self.verdict is Holding.HOLDS

    @cached_property
    def counterexample(self) -> Counterexample | None:
        """Why the relation does not hold; computed on first access.

        None if it holds or is undecided; also if an explanation would need more than 100,000 pairs of states, which
        happens only if each run of the model is allowed.

        Raises:
            AssertionError: The counter-example failed its check. (A bug: please report it.)
        """
        return None if self._explain is None else self._explain()

    def told(self) -> tuple[str, Marks]:
        """Return the verdict and the counter-example, and the step that is not allowed."""
        why = self.counterexample
        if why is None:
            return self.verdict.value, {}
        return f"{self.verdict.value}: {why.text}", marked(deviating=why.run[-1:] if why.kind is Kind.ACTION else ())


FEW_PAIRS: Final = 50_000
"""If trace inclusion is not decided after this many pairs, simulation is tried, which implies it."""
_STOPPING: Final = {
    Relation.SIMULATION: Stopping.ANYWHERE,
    Relation.COMPLETED_SIMULATION: Stopping.COMPLETED,
    Relation.READY_SIMULATION: Stopping.READY,
}


def relation_of(value: str) -> Relation:
    """Return the relation of that name.

    Raises:
        ValueError: There is no such relation.
    """
    try:
        return Relation(value)
    except ValueError:
        raise ValueError(f"the relation must be one of {', '.join(Relation)}, got: {value!r}") from None


def relate(impl: LTS, spec: LTS, relation: str, inputs: frozenset[str] | None = None) -> RelationResult:
    """Decide whether a system is related to another.

    Args:
        impl: The system that may do less.
        spec: The system that says what is allowed.
        relation: A `Relation`, or its value.
        inputs: The input actions; for ioco only.

    Raises:
        ValueError: There is no such relation, or ioco lacks inputs.
    """
    kind = relation_of(relation)
    if kind is Relation.IOCO and inputs is None:
        raise ValueError("the relation ioco needs inputs or outputs: declare them, or give them")
    return _Question(impl, spec, kind, inputs).answer()


def relate_model(
    model: ImplModel, spec: LTS | None, relation: str, inputs: frozenset[str] | None = None
) -> RelationResult:
    """Decide whether a model is related to its specification.

    A model without initialisation is INCOMPLETE, one with two different ones a VIOLATION.

    Args:
        model: The model.
        spec: The specification's system; None for one without transitions.
        relation: A `Relation`, or its value.
        inputs: The actions that are inputs, for ioco.

    Raises:
        ValueError: There is no such relation, or ioco lacks inputs.
    """
    kind, starts = relation_of(relation), model.initialisations
    if len(starts) != 1:
        verdict = Holding.VIOLATION if starts else Holding.INCOMPLETE
        return RelationResult(kind, verdict, _explain=partial(of_starts, starts))
    steps = sorted((str(t.source), t.action, t.target) for t in model.transitions if t.source is not None)
    return relate(LTS(starts[0], steps), NO_BEHAVIOUR if spec is None else spec, kind, inputs)


class _Question:
    """One relation between two systems."""

    def __init__(self, impl: LTS, spec: LTS, relation: Relation, inputs: frozenset[str] | None) -> None:
        self._given = impl, spec
        self._relation = relation
        self._inputs = inputs if relation is Relation.IOCO else None
        self._impl, self._spec = Weak(impl, collapse=False), Weak(spec, collapse=True)

    def answer(self) -> RelationResult:
        try:
            if self._relation is Relation.IOCO:
                return self._conformance()
            if self._relation is Relation.TRACE_INCLUSION:
                return self._inclusion()
            return self._simulation(_STOPPING[self._relation])
        except TooManyPairs:
            return self._result(Holding.UNDECIDED)

    def _result(self, verdict: Holding, explain: Callable[[], Counterexample | None] | None = None) -> RelationResult:
        return RelationResult(self._relation, verdict, _explain=explain and partial(self._confirmed, explain))

    def _inclusion(self) -> RelationResult:
        try:
            found = refused(self._impl, self._spec, FEW_PAIRS)
        except TooManyPairs:
            # A simulation implies trace inclusion, and is decided with little memory.
            found = None if self._is_followed() else refused(self._impl, self._spec)
        return self._result(Holding.HOLDS) if found is None else self._refused(found)

    def _is_followed(self) -> bool:
        try:
            return refuted(self._impl, self._spec, Stopping.ANYWHERE) is None
        except TooManyPairs:
            return False

    def _refused(self, found: Refusal, verdict: Holding = Holding.VIOLATION) -> RelationResult:
        return self._result(verdict, partial(of_refusal, self._spec, found, self._inputs))

    def _simulation(self, stopping: Stopping) -> RelationResult:
        try:
            found = refuted(self._impl, self._spec, stopping)
        except TooManyPairs:
            run = refused(self._impl, self._spec)
            if run is None:
                raise
            return self._refused(run)
        if found is None:
            return self._result(Holding.HOLDS)
        if stopping is Stopping.ANYWHERE:
            return self._result(Holding.VIOLATION, partial(self._unfollowed, found))
        try:
            worse = refuted(self._impl, self._spec, Stopping.ANYWHERE)
        except TooManyPairs:
            worse = None
        if worse is not None:
            return self._result(Holding.VIOLATION, partial(self._unfollowed, worse))
        return self._result(Holding.INCOMPLETE, partial(self._told, found))

    def _unfollowed(self, found: Refutation) -> Counterexample | None:
        """Return the counter-example for a run that is not specified, if there is one; else for the refutation.

        A run that is not specified is easier to understand than choices that fail.
        """
        try:
            run = refused(self._impl, self._spec)
        except TooManyPairs:
            run = None
        return self._told(found) if run is None else of_refusal(self._spec, run)

    def _told(self, found: Refutation) -> Counterexample | None:
        return of_refutation(self._impl, self._spec, found) if found.whole else None

    def _conformance(self) -> RelationResult:
        inputs = self._inputs or frozenset()
        found = unexpected(self._impl, self._spec, inputs)
        if found is None:
            return self._result(Holding.HOLDS)
        # Only a wrong output is a violation: where the model waits now, an output may be observed later.
        worse = unexpected(self._impl, self._spec, inputs, waiting=False)
        return self._refused(found, Holding.INCOMPLETE) if worse is None else self._refused(worse)

    def _confirmed(self, explain: Callable[[], Counterexample | None]) -> Counterexample | None:
        found = explain()
        impl, spec = self._given
        if found is not None and not confirms(found, impl, spec, self._inputs):
            raise AssertionError(
                f"a wrong counter-example was found, please report it: {found} for {impl!r} and {spec!r}"
            )
        return found
