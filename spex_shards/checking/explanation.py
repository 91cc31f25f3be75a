"""Why a system is not equivalent to its specification: a formula, a run, a sentence, and what is missing or too much.

::

    witness ──▶ formula ──▶ model checker: true of exactly one side? ──▶ narrative ──▶ run, sentence
    (rounds)                (the systems as given, other code)           unmatched ──▶ missing, extra

Nothing is shown that was not checked: a formula that fails raises `AssertionError` instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ..domain.lts import LTS
from ..domain.transition import INITIALISATION, Transition
from .formula import Formula
from .graph import Equivalence
from .model_checker import ModelChecker, suits
from .narrative import tell
from .rounds import TooLarge
from .unmatched import unmatched
from .witness import distinguish

Side = Literal["impl", "spec"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Why two systems are not equivalent.

    Attributes:
        formula: A formula of `spex_shards.checking.formula` that holds in the initial state of one side and not in that
            of the other; no formula with fewer nested modalities does. Its `str` can be read. None where no formula
            can say it: the model has no initialisation, or two; or the systems are beyond the bounds of the search.
        side: "impl" or "spec": where the formula holds.
        trace: A run of that side from its initial state to where the two part. If it is the side that can do there what
            the other cannot, that is the end of the run. Empty if it is the other one, and they part at the start.
        text: The same in plain language; never empty.
        missing: Transitions of the specification that nothing in the model matches; see `unmatched`.
        extra: Transitions of the model that nothing in the specification matches.

    Names of states in transitions are those of the systems, also where they are numbers.
    """

    formula: Formula | None
    side: Side
    trace: tuple[Transition, ...]
    text: str
    missing: tuple[Transition, ...]
    extra: tuple[Transition, ...]

    def __str__(self) -> str:
        return self.text


def explain(impl: LTS, spec: LTS, equivalence: Equivalence) -> Explanation:
    """Explain why two systems are not equivalent.

    Raises:
        AssertionError: They are equivalent, or an explanation was found and was wrong.
    """
    missing, extra = unmatched(impl, spec, equivalence)
    try:
        formula, of_impl = distinguish(impl, spec, equivalence)
    except TooLarge as error:
        text = f"The two are not equivalent, but {error}: no formula was worked out. {_counted(missing, extra)}"
        return Explanation(formula=None, side="spec", trace=(), text=text, missing=missing, extra=extra)
    checkers = ModelChecker(impl), ModelChecker(spec)
    holds = checkers[0].holds(formula), checkers[1].holds(formula)
    if holds != (of_impl, not of_impl) or not suits(formula, equivalence):
        raise AssertionError(f"a wrong explanation was found, please report it: {formula} for {impl!r} and {spec!r}")
    side: Side = "impl" if of_impl else "spec"
    story = tell(formula, (impl, checkers[0]), (spec, checkers[1]), side)
    return Explanation(
        formula=formula, side=side, trace=story.trace(side), text=story.text(), missing=missing, extra=extra
    )


def explain_initialisations(states: Iterable[str], spec: LTS, equivalence: Equivalence) -> Explanation:
    """Explain that a model has no initialisation, or several, where `states` are the states initialised in."""
    entered = sorted(states)
    if not entered:
        _, steps = unmatched(spec, LTS("", ()), equivalence)
        start: list[Any] = [(None, INITIALISATION, spec.initial_state)] if spec.transitions else []
        return Explanation(
            formula=None,
            side="spec",
            trace=(),
            text="The model has no initialisation: no instance was seen to start, so nothing in it can be reached.",
            missing=(*(Transition(*step) for step in start), *steps),
            extra=(),
        )
    own = spec.initial_state if spec.transitions else None
    return Explanation(
        formula=None,
        side="impl",
        trace=(),
        text=(
            f"The model has {len(entered)} different initialisations, in {', '.join(entered)}; a specification has one "
            "initial state, so no later observation can repair this."
        ),
        missing=(),
        extra=tuple(Transition(None, INITIALISATION, state) for state in entered if state != own),
    )


def _counted(missing: tuple[Transition, ...], extra: tuple[Transition, ...]) -> str:
    return (
        f"{len(missing):,} transitions of the specification are matched by nothing in the model, and {len(extra):,} of "
        "the model by nothing in the specification."
    )
