"""Judges an implementation by its specification: it is equivalent, not complete yet, or beyond repair."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

from ..domain.difference import in_order
from ..domain.impl_model import ImplModel
from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State, Transition
from .bisimulation import LARGE, Equivalence, bisimilar, equivalence_of, minimised
from .deterministic import Moves, forced_classes, moves_of
from .extension import extensible
from .graph import Graph
from .large import Judged
from .showing import ShownAnswer, marked

if TYPE_CHECKING:
    from ..formats.marks import Marks
    from .explanation import Explanation
    from .properties import PropertyResult

NO_BEHAVIOUR: Final = LTS("", ())


class Verdict(StrEnum):
    """The verdict on a model, with respect to its specification."""

    EQUIVALENT = "equivalent"
    INCOMPLETE = "incomplete"
    """Not equivalent, but some extension is: more transitions and states, the same initialisation."""
    VIOLATION = "violation"
    """No extension is equivalent: no later observation can repair it."""


@dataclass(frozen=True, eq=False)
class Result(ShownAnswer):
    """The answer of a comparison.

    Attributes:
        equivalent: Whether the verdict is EQUIVALENT; always exact.
        verdict: The verdict.
        decided: False only for an INCOMPLETE that may be a VIOLATION: the bounded search did not find out whether an
            extension is equivalent. Never False if the minimised specification is deterministic and without silent
            steps.
        properties: The properties that were declared or given, each decided for the model. They do not change the
            verdict.

    Results are compared by these three attributes; `explanation` is computed from the compared systems.
    """

    equivalent: bool
    verdict: Verdict
    decided: bool = True
    _explain: Callable[[], Explanation] | None = field(default=None, repr=False, compare=False, kw_only=True)
    properties: tuple[PropertyResult, ...] = field(default=(), repr=False, compare=False, kw_only=True)

    def with_properties(self, properties: tuple[PropertyResult, ...]) -> Result:
        """Return the same result with properties decided beside it."""
        result = copy(self)
        object.__setattr__(result, "properties", properties)
        return result

    @cached_property
    def explanation(self) -> Explanation | None:
        """Why the two are not equivalent, None if they are; computed and checked on first access."""
        return None if self._explain is None else self._explain()

    def told(self) -> tuple[str, Marks]:
        """Return the verdict and why, and the transitions that deviate or were not seen."""
        why = self.explanation
        if why is None:
            return self.verdict.value, {}
        blamed = why.cause[-1:] if why.step is None else (why.step,)
        return f"{self.verdict.value}: {why.text}", marked(why.missing, (*why.extra, *blamed))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Result):
            return NotImplemented
        return (self.verdict, self.decided) == (other.verdict, other.decided)

    def __hash__(self) -> int:
        return hash((self.verdict, self.decided))


class _LaterResult(Result):
    """A result that is known not to be equivalent; all its other attributes are computed on first access.

    For large systems, computing them may take longer than deciding that the systems are not equivalent.

    Args:
        find: Computes the complete result.
    """

    def __init__(self, find: Callable[[], Result]) -> None:
        object.__setattr__(self, "equivalent", False)
        object.__setattr__(self, "_find", find)
        object.__setattr__(self, "properties", ())

    @cached_property
    def _found(self) -> Result:
        found: Result = self.__dict__["_find"]()
        return found

    @property
    def verdict(self) -> Verdict:
        return self._found.verdict

    @property
    def decided(self) -> bool:
        return self._found.decided

    @cached_property
    def explanation(self) -> Explanation | None:
        return self._found.explanation


EQUIVALENT: Final = Result(equivalent=True, verdict=Verdict.EQUIVALENT)


def compare(impl: LTS, spec: LTS, equivalence: str = Equivalence.BRANCHING) -> Result:
    """Judge one system by another.

    Args:
        impl: The system that may grow.
        spec: The system that it is judged by.
        equivalence: An `Equivalence`, or its value.

    Raises:
        ValueError: There is no such equivalence.
    """
    kind = equivalence_of(equivalence)
    explain = partial(explained, impl, spec, kind)
    if len(impl.transitions) + len(spec.transitions) > LARGE:
        judged = Judged(impl, spec, kind)
        return EQUIVALENT if judged.equivalent else _LaterResult(partial(_found, judged, explain))
    if bisimilar(impl, spec, kind):
        return EQUIVALENT
    smallest = minimised(spec, kind)
    moves = moves_of(smallest, strong=kind is Equivalence.STRONG)
    return judge_unequal(impl, smallest, kind, moves, explain)


def _found(judged: Judged, explain: Callable[..., Explanation]) -> Result:
    return unequal(possible=judged.extensible(), explain=explain)


def check_model(
    model: ImplModel, spec: LTS | None, equivalence: str = Equivalence.BRANCHING, *, names_must_agree: bool = False
) -> Result:
    """Judge a model by its specification.

    A model without initialisation is INCOMPLETE: none of its transitions can be reached, and anything can still be
    observed. A model with two different initialisations is a VIOLATION.

    Args:
        model: The model; the specification's name in it is ignored.
        spec: The specification's system; None for a specification without transitions, which allows no visible action.
        equivalence: An `Equivalence`, or its value.
        names_must_agree: Whether the states of the model must have the names that the specification gives them;
            otherwise only actions are compared.

    Raises:
        ValueError: There is no such equivalence.
    """
    kind = equivalence_of(equivalence)
    system = NO_BEHAVIOUR if spec is None else spec
    # Sorted, because the order of a set differs from run to run, and the explanation must not.
    impl = system_of(in_order(model.transitions), system, kind)
    if isinstance(impl, Result):
        return impl
    result = compare(impl, system, kind)
    return (
        _by_name(impl, spec, kind)
        if names_must_agree and spec is not None and result.verdict is not Verdict.VIOLATION
        else result
    )


def _by_name(impl: LTS, spec: LTS, kind: Equivalence) -> Result:
    """Judge a system by the names of its states as well; by its actions it is no violation."""
    from .naming import Labels, explain_start

    if impl.initial_state != spec.initial_state:
        why = partial(explain_start, str(impl.initial_state), spec)
        return Result(equivalent=False, verdict=Verdict.VIOLATION, _explain=why)
    labels = Labels(impl, spec, kind)
    result = compare(labels.impl, labels.spec, kind)
    if result.equivalent:
        return EQUIVALENT
    possible = None if not result.decided else result.verdict is not Verdict.VIOLATION
    return unequal(possible=possible, explain=labels.explain)


def system_of(transitions: Iterable[Transition], spec: LTS, kind: Equivalence) -> LTS | Result:
    """Return the system of a model with one initialisation; else the result, which the initialisations decide."""
    initial: set[str] = set()
    steps: list[tuple[State, str, State]] = []
    for source, action, target in transitions:
        if source is None:
            initial.add(target)
        else:
            steps.append((source, action, target))
    if len(initial) == 1:
        return LTS(initial.pop(), steps)
    verdict = Verdict.VIOLATION if initial else Verdict.INCOMPLETE
    explain = partial(_explained_initialisations, frozenset(initial), spec, kind)
    return Result(equivalent=False, verdict=verdict, _explain=explain)


def judge_unequal(
    impl: LTS, spec: LTS, kind: Equivalence, moves: Moves | None, explain: Callable[..., Explanation]
) -> Result:
    """Judge a system that is not equivalent to a minimal one, whose moves are `moves` if it is deterministic."""
    strong = kind is Equivalence.STRONG
    may_diverge = kind is Equivalence.DIVERGENCE_PRESERVING_BRANCHING and any(
        a == INTERNAL for _, a, _ in impl.transitions
    )
    possible: bool | None
    if moves is None or may_diverge:
        possible = extensible(Graph((impl, spec), kind))
    else:
        possible = forced_classes(impl, moves, spec.initial_state, strong=strong) is not None
    return unequal(possible=possible, explain=explain)


def unequal(*, possible: bool | None, explain: Callable[..., Explanation]) -> Result:
    """Return the result of a system that is not equivalent.

    Args:
        possible: Whether an extension is equivalent; None: this is not known.
        explain: Returns the explanation, for `violation` and `decided`.
    """
    violation, decided = possible is False, possible is not None
    why = partial(explain, violation=violation, decided=decided)
    verdict = Verdict.VIOLATION if violation else Verdict.INCOMPLETE
    return Result(equivalent=False, verdict=verdict, decided=decided, _explain=why)


# The modules for explanations are imported when one is first needed, so that programs which only observe start faster.


def explained(impl: LTS, spec: LTS, kind: Equivalence, *, violation: bool, decided: bool) -> Explanation:
    """Return why a system is not equivalent to a specification."""
    from .explanation import explain

    return explain(impl, spec, kind, violation=violation, decided=decided)


def _explained_initialisations(states: frozenset[str], spec: LTS, kind: Equivalence) -> Explanation:
    from .explanation import explain_initialisations

    return explain_initialisations(states, spec, kind)
