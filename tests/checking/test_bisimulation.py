"""Bisimilarity: textbook laws, the definition, classes, and the smallest equivalent system."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spex_shards.checking import bisimulation
from spex_shards.checking.bisimulation import Equivalence, bisimilar, classes, minimised
from spex_shards.checking.compact import Compact
from spex_shards.checking.large import bisimilar_at_scale
from spex_shards.checking.refinement import Refinement
from spex_shards.domain.lts import LTS
from spex_shards.domain.transition import INTERNAL
from tests.support.reference_bisimulation import reference

T = INTERNAL
ALL = list(Equivalence)
BRANCHING, STRONG, PRESERVING = "branching", "strong", "divergence_preserving_branching"

A_B = LTS(0, [(0, "a", 1), (1, "b", 2)])
states = st.integers(0, 5)
systems = st.builds(
    LTS, st.just(0), st.lists(st.tuples(states, st.sampled_from([T, T, "a", "b"]), states), max_size=12)
)


@pytest.mark.parametrize("equivalence", ALL)
def test_a_system_is_equivalent_to_itself_under_other_names(equivalence):
    """Names of states do not count, only actions do."""
    assert bisimilar(A_B, LTS("x", [("x", "a", "y"), ("y", "b", "z")]), equivalence)


@pytest.mark.parametrize("equivalence", ALL)
def test_the_same_name_on_both_sides_means_nothing(equivalence):
    """The systems are taken apart: state 1 here and state 1 there are two states."""
    assert not bisimilar(A_B, LTS(0, [(0, "a", 1), (1, "c", 2)]), equivalence)
    assert bisimilar(A_B, LTS(2, [(2, "a", 0), (0, "b", 1)]), equivalence)


@pytest.mark.parametrize("equivalence", ALL)
def test_the_moment_of_choice_is_seen(equivalence):
    """`a.(b + c)` and `a.b + a.c` have the same traces and are not equivalent."""
    late = LTS(0, [(0, "a", 1), (1, "b", 2), (1, "c", 3)])
    early = LTS(0, [(0, "a", 1), (0, "a", 2), (1, "b", 3), (2, "c", 4)])
    assert not bisimilar(late, early, equivalence)


def test_a_silent_step_that_gives_up_nothing_is_not_seen_by_branching_bisimilarity():
    """`a.tau.b = a.b`; under strong bisimilarity the internal action is an action like any other."""
    stuttering = LTS(0, [(0, "a", 1), (1, T, 2), (2, "b", 3)])
    assert [bisimilar(stuttering, A_B, e) for e in (BRANCHING, PRESERVING, STRONG)] == [True, True, False]


def test_a_silent_step_that_gives_up_a_choice_is_seen():
    """`tau.a + b` is not `a + b`."""
    assert not bisimilar(LTS(0, [(0, T, 1), (1, "a", 2), (0, "b", 3)]), LTS(0, [(0, "a", 1), (0, "b", 2)]))


def test_the_second_law_of_weak_bisimilarity_does_not_hold():
    """`a.(tau.b + c) + a.b` is not branching bisimilar to `a.(tau.b + c)`, though weakly bisimilar."""
    base = [(0, "a", 1), (1, T, 2), (2, "b", 3), (1, "c", 3)]
    assert not bisimilar(LTS(0, [*base, (0, "a", 2)]), LTS(0, base))


@pytest.mark.parametrize("loop", [[(1, T, 1)], [(1, T, 9), (9, T, 1)]])
def test_a_silent_cycle_alone_is_seen_only_where_divergence_counts(loop):
    """A silent loop, and a longer cycle, are nothing under branching bisimilarity."""
    diverging = LTS(0, [*A_B.transitions, *loop])
    assert [bisimilar(diverging, A_B, e) for e in (BRANCHING, PRESERVING, STRONG)] == [True, False, False]


@pytest.mark.parametrize("name", ["i", "tau", "nil"])
def test_only_the_internal_action_is_silent(name):
    """Actions that other tools take for silent are visible here."""
    assert not bisimilar(LTS(0, [(0, name, 1), (1, "a", 2)]), LTS(0, [(0, "a", 1)]))


@pytest.mark.parametrize("equivalence", ALL)
def test_unreachable_states_do_not_count(equivalence):
    """Neither visible nor silent steps of what cannot be reached change the answer."""
    extra = [(7, "c", 1), (7, T, 8), (8, T, 7), (7, "c", 2)]
    assert bisimilar(LTS(0, [*A_B.transitions, *extra]), A_B, equivalence)


@pytest.mark.parametrize("equivalence", ALL)
def test_systems_without_steps_are_equivalent(equivalence):
    """One state and no step, whatever it is called."""
    assert bisimilar(LTS(0, []), LTS("x", []), equivalence)
    assert not bisimilar(LTS(0, []), A_B, equivalence)


@pytest.mark.parametrize("question", [lambda e: bisimilar(A_B, A_B, e), lambda e: classes(A_B, e)])
def test_an_unknown_equivalence_is_an_error_that_lists_the_known_ones(question):
    """The text is the contract."""
    with pytest.raises(ValueError) as caught:
        question("weak")
    assert str(caught.value) == (
        "the equivalence must be one of branching, strong, divergence_preserving_branching, got: 'weak'"
    )


@given(systems, systems, st.sampled_from(ALL))
@settings(max_examples=400, deadline=None)
def test_bisimilar_agrees_with_the_definition(impl, spec, equivalence):
    """On random systems, of up to six states a side."""
    assert bisimilar(impl, spec, equivalence) == reference(impl, spec, equivalence)


@given(systems, st.integers(0, 20), st.sampled_from(ALL))
@settings(max_examples=400, deadline=None)
def test_bisimilar_agrees_with_the_definition_on_near_misses(impl, position, equivalence):
    """A system and itself with one step more or less, where both answers are frequent."""
    own = list(impl.transitions)
    changed = [*own[:position], *own[position + 1 :]] if position < len(own) else [*own, (0, T, position % 6)]
    spec = LTS(0, changed)
    assert bisimilar(impl, spec, equivalence) == reference(impl, spec, equivalence)


@given(systems, st.sampled_from(ALL))
@settings(max_examples=200, deadline=None)
def test_states_share_a_class_exactly_when_they_are_equivalent(lts, equivalence):
    """The classes of the reachable states, numbered from 0 as they are met."""
    found = classes(lts, equivalence)
    assert list(dict.fromkeys(found.values())) == list(range(len(set(found.values()))))
    for one, other in [(s, t) for s in found for t in found]:
        alike = reference(LTS(one, lts.transitions), LTS(other, lts.transitions), equivalence)
        assert (found[one] == found[other]) == alike


@given(systems, st.sampled_from(ALL))
@settings(max_examples=200, deadline=None)
def test_the_minimised_system_is_equivalent_and_has_one_state_for_each_class(lts, equivalence):
    """Its states are pairwise inequivalent, and minimising it again changes nothing."""
    small = minimised(lts, equivalence)
    assert reference(small, lts, equivalence)
    own = classes(small, equivalence)
    assert len(own) == len(set(own.values())) == len(set(classes(lts, equivalence).values()))
    assert len(minimised(small, equivalence).transitions) == len(small.transitions)


@pytest.mark.parametrize("equivalence", ALL)
def test_long_chains_need_no_recursion_and_little_time(equivalence):
    """Twenty thousand steps, silent and visible, against the same with one more state in between."""
    chain = [(n, T if n % 3 else "a", n + 1) for n in range(20_000)]
    longer = [*chain[:-1], (19_999, T, -1), (-1, chain[-1][1], 20_000)]
    assert bisimilar(LTS(0, chain), LTS(0, longer), equivalence) == (equivalence != STRONG)
    cycle = [*chain, (20_000, T, 0)]
    assert bisimilar(LTS(0, cycle), LTS(0, cycle), equivalence)


def refined(impl, spec, equivalence):
    """Return the answer of the refinement on arrays, where uniting pairs of nodes would do as well."""
    graph = Compact((impl, spec), Equivalence(equivalence))
    return Refinement(graph.size, graph.visible, graph.silent).run(*graph.starts)


@given(systems, systems, st.sampled_from(ALL))
@settings(max_examples=400, deadline=None)
def test_what_is_made_for_large_systems_agrees_with_the_definition(impl, spec, equivalence):
    """On random systems, whichever way it decides."""
    expected = reference(impl, spec, equivalence)
    assert bisimilar_at_scale(impl, spec, equivalence) == expected
    assert refined(impl, spec, equivalence) == expected


@given(systems, st.integers(0, 20), st.sampled_from(ALL))
@settings(max_examples=400, deadline=None)
def test_what_is_made_for_large_systems_agrees_with_the_definition_on_near_misses(impl, position, equivalence):
    """A system and itself with one step more or less."""
    own = list(impl.transitions)
    spec = LTS(0, [*own[:position], *own[position + 1 :]] if position < len(own) else [*own, (0, T, position % 6)])
    expected = reference(impl, spec, equivalence)
    assert bisimilar_at_scale(impl, spec, equivalence) == expected
    assert refined(impl, spec, equivalence) == expected


@pytest.mark.parametrize("equivalence", ALL)
@pytest.mark.parametrize("circle", [1, 2, 3])
def test_a_circle_of_silent_steps_without_a_way_out_is_one_state_for_large_systems(circle, equivalence):
    """It ends nothing, but where divergence counts it is no terminal state."""
    steps = [(0, "a", 1), *((1 + n, T, 1 + (n + 1) % circle) for n in range(circle))]
    expected = equivalence == BRANCHING
    assert bisimilar_at_scale(LTS(0, steps), LTS(0, [(0, "a", 1)]), equivalence) == expected
    other = [(0, "a", 1), (1, T, 2), (2, T, 1)]
    assert bisimilar_at_scale(LTS(0, steps), LTS(0, other), equivalence)


def test_large_systems_are_compared_on_arrays_and_small_ones_are_not(monkeypatch):
    """From a number of steps on, both systems together."""
    asked = []
    monkeypatch.setattr(bisimulation, "bisimilar_at_scale", lambda *arguments: asked.append(arguments) or True)
    monkeypatch.setattr(bisimulation, "LARGE", 3)
    assert bisimilar(A_B, LTS(0, [(0, "a", 1)]), STRONG) is False
    assert asked == []
    assert bisimilar(A_B, A_B, STRONG)
    assert len(asked) == 1
