"""Checks counter-examples of relations on the original systems, with code that shares nothing with the search.

It follows sets of states by plain steps, without numbers, stored closures or collapsed cycles, and evaluates formulas
by `ModelChecker`. So a mistake in the search is not repeated here.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State
from .counterexample import Counterexample
from .formula import And, Formula, Rests, WeakStep
from .ioco import QUIESCENCE
from .model_checker import ModelChecker


def confirms(found: Counterexample, impl: LTS, spec: LTS, inputs: frozenset[str] | None) -> bool:
    """Return whether a counter-example is correct.

    Args:
        found: The counter-example.
        impl: The model.
        spec: The specification.
        inputs: The inputs, for ioco only.
    """
    ours, theirs = ModelChecker(impl), ModelChecker(spec)
    if not _is_run(found, impl):
        return False
    if found.formula is not None:
        return _is_positive(found.formula) and ours.holds(found.formula) and not theirs.holds(found.formula)
    before, last = found.observed[:-1], found.observed[-1]
    if inputs is None or last in inputs or not _follow(ours, found.observed, inputs):
        return False
    states = _follow(theirs, before, inputs)
    return bool(states) and not _next(theirs, states, last, inputs)


def _is_run(found: Counterexample, impl: LTS) -> bool:
    known = set(impl.transitions)
    here: State | None = impl.initial_state
    for step in found.run:
        if tuple(step) not in known or step.source != here:
            return False
        here = step.target
    seen = [action for action in found.observed if action != QUIESCENCE]
    return [step.action for step in found.run if step.action != INTERNAL] == seen


def _is_positive(formula: Formula) -> bool:
    """Return whether a formula has only operators that stay true in every system which follows one where they hold."""
    seen, todo = set(), [formula]
    while todo:
        part = todo.pop()
        if id(part) not in seen:
            seen.add(id(part))
            if not isinstance(part, (And, WeakStep, Rests)):
                return False
            todo += part.parts
    return True


def _follow(system: ModelChecker, observed: Iterable[str], inputs: frozenset[str]) -> set[State]:
    states = {system.initial_state}
    for label in observed:
        states = _next(system, states, label, inputs)
    return states


def _next(system: ModelChecker, states: set[State], label: str, inputs: frozenset[str]) -> set[State]:
    """Return the states that a label leads to, also after silent steps."""
    near = {here for state in states for here, _ in system.silent_tree(state)}
    if label != QUIESCENCE:
        return {target for state in near for target in system.after(state, label)}
    menus = {state: system.menu(state) for state in near}
    return {state for state, menu in menus.items() if menu is not None and menu <= inputs}
