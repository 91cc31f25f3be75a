"""Checks an event log against a specification: which cases are allowed, where others part, and how well both fit.

::

    EventLog ──▶ variants ──┬── RunChecker ──▶ where it parts
                            └── Aligner ─────▶ its alignment ──┬──▶ fitness
                                                               └──▶ precision (along the aligned runs)

A *variant* is a sequence of actions that some cases have. Nothing is learned, and the states of the log play no part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..checking.alignment import Aligner, Alignment, NoCompleteRun
from ..checking.precision import Precision, precision
from ..checking.relabelling import Relabelling
from ..checking.runs import Parting, RunChecker, where
from ..checking.systems import system_of
from ..domain.specification import Specification, is_specification
from ..domain.transition import INTERNAL, Transition
from .collector import EventLog, check_actions

Progress = Callable[[int, int], None]


class EarlyEnd(NamedTuple):
    """Where a run ends that should go on, because runs must be complete.

    Attributes:
        at: Its number of steps.
        possible: The specified states that it may be in, in order of first appearance.
        allowed: The specified transitions that could follow, in order of the specification.
    """

    at: int
    possible: tuple[str, ...]
    allowed: tuple[Transition, ...]

    def __str__(self) -> str:
        return f"it ends too early: {where(self.possible, self.allowed)}"


@dataclass(frozen=True, slots=True)
class Variant:
    """A sequence of actions, and the cases that have it.

    Attributes:
        actions: The actions, without silent ones.
        cases: The names of its cases, in the order of the log.
        parting: Where it leaves the specification, or ends too early; None if it is allowed.
        alignment: The fewest edits that make it allowed.
        fitness: 1 less the edits' share of the most that there can be: that nothing observed is kept, and a shortest
            run is added.
    """

    actions: tuple[str, ...]
    cases: tuple[str, ...]
    parting: Parting | EarlyEnd | None
    alignment: Alignment
    fitness: float

    @property
    def allowed(self) -> bool:
        """Whether the specification allows it."""
        return self.parting is None

    def plain(self) -> dict[str, Any]:
        """Return the variant as a dict for JSON."""
        return {
            "actions": list(self.actions),
            "cases": list(self.cases),
            "allowed": self.allowed,
            "parting": None if self.parting is None else _plain_parting(self.parting),
            "cost": self.alignment.cost,
            "fitness": self.fitness,
            "alignment": [[move.kind.value, move.action, move.state] for move in self.alignment.moves],
        }


@dataclass(frozen=True, slots=True)
class PartingGroup:
    """The cases that part in the same place of the specification by the same action.

    Attributes:
        possible: The specified states that the cases may have been in.
        action: The action that is not allowed there; None if the cases end there, and should not.
        allowed: The specified transitions that could have followed.
        cases: The number of cases.
        variants: The number of their variants.
        example: The name of the first case of the most frequent variant among them.
        at: The place of the step by which that case parts, counted from 0.
    """

    possible: tuple[str, ...]
    action: str | None
    allowed: tuple[Transition, ...]
    cases: int
    variants: int
    example: str
    at: int

    def plain(self) -> dict[str, Any]:
        """Return the group as a dict for JSON."""
        return {
            "possible": list(self.possible),
            "action": self.action,
            "allowed": [list(step) for step in self.allowed],
            "cases": self.cases,
            "variants": self.variants,
            "example": self.example,
            "at": self.at,
        }


@dataclass(frozen=True, slots=True)
class Conformance:
    """How an event log and a specification fit together.

    Attributes:
        specification: The specification's name.
        complete: Whether cases had to be complete.
        variants: The variants, those with the most cases first.
        partings: Where cases part, by place and action; those with the most cases first.
        shortest_run: The number of actions of a shortest run: 0 unless cases had to be complete.
        precision: How much of what the specification allows is done in the log; see `checking.precision`.
    """

    specification: str
    complete: bool
    variants: tuple[Variant, ...]
    partings: tuple[PartingGroup, ...]
    shortest_run: int
    precision: Precision

    @property
    def cases(self) -> int:
        """The number of cases."""
        return sum(len(variant.cases) for variant in self.variants)

    @property
    def allowed(self) -> int:
        """The number of cases that the specification allows."""
        return sum(len(variant.cases) for variant in self.variants if variant.allowed)

    @property
    def conforms(self) -> bool:
        """Whether all cases are allowed."""
        return all(variant.allowed for variant in self.variants)

    @property
    def trace_fitness(self) -> float:
        """The mean of the fitness of all cases; 1 if there is none."""
        total = sum(len(variant.cases) * (1 - variant.fitness) for variant in self.variants)
        return 1 - total / self.cases if total else 1.0

    @property
    def log_fitness(self) -> float:
        """1 less the edits of all cases by the most that there could be; 1 if there could be none."""
        cost = sum(len(variant.cases) * variant.alignment.cost for variant in self.variants)
        most = sum(len(variant.cases) * (len(variant.actions) + self.shortest_run) for variant in self.variants)
        return 1 - cost / most if cost else 1.0

    def plain(self) -> dict[str, Any]:
        """Return the result as a dict for JSON."""
        return {
            "specification": self.specification,
            "complete": self.complete,
            "cases": self.cases,
            "allowed": self.allowed,
            "trace_fitness": self.trace_fitness,
            "log_fitness": self.log_fitness,
            "precision": self.precision.ratio,
            "allowed_steps": self.precision.allowed,
            "escaping_steps": self.precision.escaping,
            "shortest_run": self.shortest_run,
            "partings": [group.plain() for group in self.partings],
            "variants": [variant.plain() for variant in self.variants],
        }


def conform(
    log: EventLog,
    specification: type[Specification],
    *,
    complete: bool = False,
    hide: Iterable[str] = (),
    rename: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Conformance:
    """Return which cases of an event log a specification allows, where the others part, and how well both fit.

    Fitness is that of Adriansyah ("Aligning Observed and Modeled Behavior", 2014) with a cost of 1 for each missing or
    surplus action; precision counts escaping actions along the aligned runs (Muñoz-Gama and Carmona 2010; Adriansyah et
    al., "Measuring Precision of Modeled Behavior", 2015).

    Args:
        log: The log.
        specification: What the cases should do.
        complete: Whether a case must have reached a terminal state. Otherwise it may end anywhere.
        hide: Actions that are made silent in log and specification first; they are no steps of a variant then.
        rename: New names of actions, by old ones, in both.
        progress: Called with the number of variants that are done, and with the number of all.

    Raises:
        TypeError: `log` is no `EventLog`, `specification` is no specification, `hide` is no collection of actions, or
            `rename` no mapping of actions.
        ValueError: An action of `hide` or `rename` is reserved, or is both hidden and renamed.
        LogError: The log has the reserved action of initialisations.
        NoCompleteRun: `complete` is true, and no terminal state of the specification can be reached.
    """
    if not isinstance(log, EventLog):
        raise TypeError(f"log must be an EventLog, as read_log returns it, got: {log!r}")
    if not is_specification(specification):
        raise TypeError(f"the specification must be a Specification class, got: {specification!r}")
    view = Relabelling.of(hide, rename)
    check_actions(log)
    lts = view.lts(system_of(specification))
    try:
        aligner = Aligner(lts, complete=complete)
    except NoCompleteRun as error:
        raise NoCompleteRun(f"cases of {specification.name} cannot be complete: {error}") from None
    checker = RunChecker(lts)
    variants = []
    grouped = _grouped(log, view)
    for actions, cases in grouped:
        variants.append(_judged(actions, cases, checker, aligner))
        if progress is not None:
            progress(len(variants), len(grouped))
    return Conformance(
        specification=specification.name,
        complete=complete,
        variants=tuple(variants),
        partings=_partings(variants),
        shortest_run=aligner.shortest,
        precision=precision(checker, ((variant.alignment.run, len(variant.cases)) for variant in variants)),
    )


def _grouped(log: EventLog, view: Relabelling) -> list[tuple[tuple[str, ...], list[str]]]:
    """Return the visible actions of each variant, and its cases; those with the most cases first."""
    sequences: list[list[str]] = [[] for _ in log.cases]
    for case, action, _ in log.events:
        seen = view.action(action)
        if seen != INTERNAL:
            sequences[case].append(seen)
    found: dict[tuple[str, ...], list[str]] = {}
    for case_name, sequence in zip(log.cases, sequences, strict=True):
        found.setdefault(tuple(sequence), []).append(case_name)
    return sorted(found.items(), key=lambda entry: -len(entry[1]))


def _judged(actions: tuple[str, ...], cases: list[str], checker: RunChecker, aligner: Aligner) -> Variant:
    alignment = aligner.align(actions)
    parting: Parting | EarlyEnd | None = checker.parting(actions)
    if parting is None and alignment.cost:
        end = checker.position(actions)
        parting = EarlyEnd(len(actions), checker.states(end), checker.allowed(end))
    fitness = 1 - alignment.cost / (len(actions) + aligner.shortest) if alignment.cost else 1.0
    return Variant(actions, tuple(cases), parting, alignment, fitness)


def _partings(variants: list[Variant]) -> tuple[PartingGroup, ...]:
    groups: dict[tuple[tuple[str, ...], str | None], list[Variant]] = {}
    for variant in variants:
        if variant.parting is not None:
            groups.setdefault((variant.parting.possible, _action(variant.parting)), []).append(variant)
    found = []
    for (possible, action), members in groups.items():
        first = members[0].parting
        assert first is not None
        cases = sum(len(variant.cases) for variant in members)
        found.append(PartingGroup(possible, action, first.allowed, cases, len(members), members[0].cases[0], first.at))
    return tuple(sorted(found, key=lambda group: -group.cases))


def _action(parting: Parting | EarlyEnd) -> str | None:
    return parting.action if isinstance(parting, Parting) else None


def _plain_parting(parting: Parting | EarlyEnd) -> dict[str, Any]:
    return {
        "at": parting.at,
        "action": _action(parting),
        "possible": list(parting.possible),
        "allowed": [list(step) for step in parting.allowed],
    }
