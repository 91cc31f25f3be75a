"""Explanations: why a system is not equivalent to its specification, as a cause, in words, and by runs and a formula.

::

    a violation ──▶ cause ──▶ proof: does no extension repair it? ──▶ narrative ──▶ the sentence
    incomplete  ──▶ unseen: states that lack an action  ────────────▶     "
    either      ──▶ unmatched: what is missing, and too much
                ──▶ witness ──▶ formula ──▶ model checker: true of exactly one side?   (when it is looked at)

Each cause and formula is checked before it is shown; if it fails the check, `AssertionError` is raised instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from ..domain.lts import LTS
from ..domain.transition import INITIALISATION, INTERNAL, Transition
from .cause import Kind, find
from .formula import Formula, without_silence
from .graph import Equivalence
from .model_checker import ModelChecker, suits
from .narrative import foremost, tell, tell_unseen
from .rounds import TooLarge
from .specified import Specified
from .unmatched import unmatched
from .unseen import Reading, Unseen
from .witness import distinguish
from .wording import named, not_seen

Side = Literal["impl", "spec"]
Run = tuple[Transition, ...]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why two systems are not equivalent.

    Attributes:
        kind: What sort of reason it is; see `Kind`.
        cause: The transitions of the model that are responsible. Of a violation: with the initialisation they are a
            violation by themselves, which no extension repairs, and each of them is needed for that if `minimal` is
            true. Of an incomplete model: none, since nothing wrong was seen.
        step: The transition of `cause` that the text blames, if it is one.
        minimal: Whether no part of `cause` is a cause.
        text: The same in words. The first line names the cause, the others show it and say what to do; what is merely
            missing comes last.
        runs: Runs of the model that show the cause: one, or the two that part.
        specified: The transition of the specification at which model and specification differ, if there is one: the
            transition before a step that is not specified, the one that was not seen, or the one with another name or
            target.
        missing: Transitions of the specification that nothing in the model matches; see `unmatched`.
        extra: Transitions of the model that nothing in the specification matches.
        unseen: States of an incomplete model, each with an action that it was not observed to do.

    Names of states in transitions are those of the systems, also where they are numbers.
    """

    kind: Kind
    cause: Run
    text: str
    missing: Run
    extra: Run
    step: Transition | None = None
    minimal: bool = True
    runs: tuple[Run, ...] = ()
    specified: Transition | None = None
    unseen: tuple[Unseen, ...] = ()
    _trace: Run = ()
    _systems: tuple[LTS, LTS, Equivalence] | None = field(default=None, repr=False, compare=False)

    @property
    def sentence(self) -> str:
        """The first line of the text, which names the cause."""
        return self.text.partition("\n")[0]

    @property
    def reasons(self) -> tuple[str, ...]:
        """The lines of the text, without the last one if that lists what was not seen."""
        return tuple(line for line in self.text.splitlines() if not line.startswith("Not seen yet: "))

    @property
    def violation(self) -> bool:
        """Whether a behaviour was observed that no later observation repairs."""
        return self.kind not in (Kind.NO_INITIALISATION, Kind.NOT_SEEN)

    @property
    def trace(self) -> Run:
        """The run that the text describes: for a violation a run of the model, else one of the specification."""
        return self._trace

    @property
    def formula(self) -> Formula | None:
        """A formula of `spex_shards.checking.formula` that holds in the initial state of one side only.

        No formula with fewer nested modalities tells the two apart. If something is missing as well, the formula may be
        about that and not about the cause. None: the model has no initialisation, or two, or the systems are too large
        for the search.

        Raises:
            AssertionError: The formula that was found is wrong.
        """
        return self._distinction[0]

    @property
    def side(self) -> Side:
        """The side on which the formula holds, "impl" or "spec"; without a formula, the side whose run `trace` is."""
        return self._distinction[1]

    @cached_property
    def _distinction(self) -> tuple[Formula | None, Side]:
        own: Side = "impl" if self.violation else "spec"
        if self._systems is None:
            return None, own
        impl, spec, equivalence = self._systems
        try:
            formula, of_impl = distinguish(impl, spec, equivalence)
        except TooLarge:
            return None, own
        silent = any(action == INTERNAL for lts in (impl, spec) for _, action, _ in lts.transitions)
        if not silent:
            formula = without_silence(formula)
        holds = ModelChecker(impl).holds(formula), ModelChecker(spec).holds(formula)
        if holds != (of_impl, not of_impl) or not suits(formula, equivalence if silent else Equivalence.STRONG):
            raise AssertionError(
                f"a wrong explanation was found, please report it: {formula} for {impl!r} and {spec!r}"
            )
        return formula, "impl" if of_impl else "spec"

    def __str__(self) -> str:
        return self.text


def explain(impl: LTS, spec: LTS, equivalence: Equivalence, *, violation: bool, decided: bool = True) -> Explanation:
    """Explain why two systems are not equivalent.

    Args:
        impl: The model.
        spec: The specification.
        equivalence: The equivalence.
        violation: Whether no extension of the model is equivalent.
        decided: Whether that is known.

    Raises:
        AssertionError: The systems are equivalent after all, or the explanation that was found is wrong.
    """
    missing, extra = unmatched(impl, spec, equivalence)
    specified = Specified(spec, equivalence)
    systems = impl, spec, equivalence
    if violation:
        cause = find(impl, specified)
        told = tell(cause, specified)
        most = None if cause.kind is Kind.ENDLESS_SILENCE else 1  # the whole cycle, else one step
        runs = tuple((*(step for step, _ in side.run), *side.then[:most]) for side in cause.sides)
        return Explanation(
            kind=cause.kind, cause=cause.transitions, step=cause.step, minimal=cause.minimal, runs=runs,
            specified=told.specified, text=_text(told.lines, missing, ()), missing=missing, extra=extra,
            _trace=runs[0] if runs else (), _systems=systems,
        )  # fmt: skip
    reading = Reading(impl, specified)
    number = foremost(reading, specified)
    told = tell_unseen(reading, number, missing, specified, decided=decided)
    trace: Run = ()
    if number is not None and reading.own:
        trace, state = specified.follow(reading.run(reading.unseen[number].state))
        trace = (*trace, *specified.step(state, reading.unseen[number].action, reading.ends[number]))
    return Explanation(
        kind=Kind.NOT_SEEN, cause=(), specified=told.specified, text=_text(told.lines, missing, reading.unseen),
        missing=missing, extra=extra, unseen=reading.unseen, _trace=trace, _systems=systems,
    )  # fmt: skip


def explain_initialisations(starts: Iterable[str], spec: LTS, equivalence: Equivalence) -> Explanation:
    """Explain that a model has no initialisation, or several, in the states `starts`."""
    entered = sorted(starts)
    if not entered:
        _, steps = unmatched(spec, LTS("", ()), equivalence)
        start: list[Any] = [(None, INITIALISATION, spec.initial_state)] if spec.transitions else []
        missing = (*(Transition(*step) for step in start), *steps)
        lines = (
            "The model has no initialisation: no instance was seen to start, so nothing in it can be reached.",
            "Let a test start an instance (init_instance), or wait until one is started.",
        )
        return Explanation(
            kind=Kind.NO_INITIALISATION, cause=(), text=_text(lines, missing[bool(start) :], ()), missing=missing,
            extra=(), specified=steps[0] if steps else None,
        )  # fmt: skip
    own = spec.initial_state if spec.transitions else None
    cause = tuple(Transition(None, INITIALISATION, state) for state in entered)
    states = ", ".join(map(named, entered))
    sentence = (
        f"The model has {len(entered)} different initialisations, in {states}; a specification has one initial state, "
        "so no later observation can repair this."
    )
    lines = (sentence, "Start all instances in one state, and delete the other initialisations from the model.")
    return Explanation(
        kind=Kind.SEVERAL_INITIALISATIONS, cause=cause, text=_text(lines, (), ()), missing=(), minimal=len(cause) == 2,
        extra=tuple(step for step in cause if step.target != own), runs=tuple((step,) for step in cause[:2]),
        _trace=cause[:1],
    )  # fmt: skip


def _text(lines: Iterable[str], missing: Run, unseen: tuple[Unseen, ...]) -> str:
    last = not_seen(missing, unseen)
    return "\n".join([*lines, *([last] if last else [])])
