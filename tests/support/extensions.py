"""Whether a system can grow to be equivalent to another one, by trying: what verdicts and causes are compared with."""

from __future__ import annotations

from itertools import product

from hypothesis import assume
from hypothesis import strategies as st

from spex_shards.checking.bisimulation import Equivalence, bisimilar, classes, minimised
from spex_shards.checking.conformance import Verdict
from spex_shards.domain.lts import LTS
from spex_shards.domain.transition import INTERNAL as T


def small_systems(size, actions):
    """Return a strategy for systems of at most `size` states, the initial one 0."""
    states = st.integers(0, size - 1)
    return st.builds(LTS, st.just(0), st.lists(st.tuples(states, st.sampled_from(actions), states), max_size=5))


def try_extensions(impl, spec, equivalence, most):
    """Return the verdict by trying all extensions with as many new states as the specification can ask for."""
    small = minimised(spec, equivalence)
    fresh = [f"new {n}" for n in range(len(classes(small, equivalence)) - 1)]
    states = list(dict.fromkeys([0, *(n for s, _, t in impl.transitions for n in (s, t)), *fresh]))
    actions = sorted({T, *(a for lts in (impl, spec) for _, a, _ in lts.transitions)})
    missing = [step for step in product(states, actions, states) if step not in impl.transitions]
    assume(len(missing) <= most)
    for chosen in product([False, True], repeat=len(missing)):
        extra = [step for step, there in zip(missing, chosen, strict=True) if there]
        if bisimilar(LTS(0, [*impl.transitions, *extra]), small, equivalence):
            return Verdict.INCOMPLETE
    return Verdict.VIOLATION


def assignable(impl, spec, equivalence):
    """Whether some assignment of classes to the states of a model fits, by trying all: whether it is extensible."""
    small = minimised(spec, equivalence)
    strong, steps = equivalence is Equivalence.STRONG, set(small.transitions)
    reachable = list(classes(impl, equivalence))
    inside = [step for step in impl.transitions if step[0] in reachable]
    preserving = equivalence is Equivalence.DIVERGENCE_PRESERVING_BRANCHING
    cyclic = {s for s in reachable if silently_back(s, inside)} if preserving else set()
    for chosen in product(range(len(classes(small, equivalence))), repeat=len(reachable)):
        own = dict(zip(reachable, chosen, strict=True))
        if (
            own[0] == 0
            and all((own[s], T, own[s]) in steps for s in cyclic)
            and all((own[s], a, own[t]) in steps or (a == T and own[s] == own[t] and not strong) for s, a, t in inside)
        ):
            return True
    return False


def silently_back(state, steps):
    """Whether silent steps lead from a state back to it."""
    seen, todo = set(), [state]
    while todo:
        here = todo.pop()
        new = {t for s, a, t in steps if s == here and a == T} - seen
        seen |= new
        todo += new
    return state in seen
