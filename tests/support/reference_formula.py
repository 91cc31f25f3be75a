"""The meaning of formulas as sets of states, slow and simple, to compare the model checker with."""

from __future__ import annotations

from spex_shards.checking.formula import And, Diverges, Formula, Not, Silently, Step
from spex_shards.domain.lts import LTS
from spex_shards.domain.transition import INTERNAL, State
from tests.support.reference_bisimulation import reachable


def holds(formula: Formula, lts: LTS) -> bool:
    """Return whether a formula holds in the initial state."""
    return lts.initial_state in where(formula, lts)


def where(formula: Formula, lts: LTS) -> set[State]:
    """Return the states in which a formula holds."""
    everywhere = {lts.initial_state, *(n for s, _, t in lts.transitions for n in (s, t))}
    silent = [(s, t) for s, a, t in lts.transitions if a == INTERNAL]
    if isinstance(formula, And):
        return everywhere.intersection(*(where(part, lts) for part in formula.operands))
    if isinstance(formula, Not):
        return everywhere - where(formula.operand, lts)
    if isinstance(formula, Step):
        then = where(formula.then, lts)
        return {s for s, a, t in lts.transitions if a == formula.action and t in then}
    if isinstance(formula, Silently):
        good = where(formula.operand, lts)
    elif isinstance(formula, Diverges):
        good = where(formula.operand, lts)
        while worse := {s for s in good if not any(p == s and t in good for p, t in silent)}:
            good -= worse
    else:
        then = where(formula.then, lts)
        good = {s for s, a, t in lts.transitions if a == formula.action and t in then}
        good = where(formula.where, lts) & (good | then if formula.action == INTERNAL else good)
    return {s for s in everywhere if not reachable(s, silent).isdisjoint(good)}
