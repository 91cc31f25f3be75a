"""Causes: irreparable by themselves, without a part that is not needed, and told in the words that name them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from spex_shards.checking import cause as cause_module
from spex_shards.checking import core, pairs
from spex_shards.checking.bisimulation import Equivalence, bisimilar, classes, minimised
from spex_shards.checking.cause import Kind
from spex_shards.checking.conformance import Verdict, compare
from spex_shards.checking.proof import irreparable
from spex_shards.domain.lts import LTS
from spex_shards.domain.transition import INTERNAL, Transition
from tests.support.extensions import assignable, small_systems, try_extensions

T = INTERNAL
ALL = list(Equivalence)


def check(impl, spec, equivalence):
    """Assert everything that is promised of the explanation of a violation, and return it."""
    found = compare(impl, spec, equivalence).explanation
    assert found.violation
    assert set(found.cause) <= {Transition(*step) for step in impl.transitions}
    assert len(set(found.cause)) == len(found.cause) > 0
    assert not assignable(LTS(0, found.cause), spec, equivalence)
    assert found.minimal
    for step in found.cause:
        assert assignable(LTS(0, [other for other in found.cause if other != step]), spec, equivalence)
    for run in found.runs:
        state = impl.initial_state
        for source, _, target in run:
            assert source == state
            state = target
    assert found.kind.value in set(Kind)
    assert found.specified is None or found.specified in {Transition(*step) for step in spec.transitions}
    return found


@given(small_systems(5, ["a", T, "b"]), small_systems(4, ["a", T, "b"]), st.sampled_from(ALL))
@settings(max_examples=500, deadline=None)
def test_the_cause_of_a_violation_is_irreparable_and_each_step_of_it_is_needed(impl, spec, equivalence):
    """Against trying every assignment of classes, for the cause and for the cause without each of its steps."""
    assume(compare(impl, spec, equivalence).verdict is Verdict.VIOLATION)
    check(impl, spec, equivalence)


@given(
    small_systems(4, ["a", T, "b"]),
    st.integers(0, 20),
    st.tuples(st.integers(0, 4), st.sampled_from(["a", "b", "c", T]), st.integers(0, 4)),
    st.sampled_from(ALL),
)
@settings(max_examples=500, deadline=None)
def test_the_cause_of_one_fault_in_a_copy_of_the_specification_holds_as_well(spec, position, fault, equivalence):
    """A copy with a step more, and often one less, where runs are longer."""
    own = list(spec.transitions)
    impl = LTS(0, [*own[:position], *own[position + 1 :], fault])
    assume(compare(impl, spec, equivalence).verdict is Verdict.VIOLATION)
    check(impl, spec, equivalence)


@given(small_systems(2, ["a", T]), small_systems(3, ["a", T]), st.sampled_from(ALL))
@settings(max_examples=100, deadline=None)
def test_no_extension_of_the_cause_is_equivalent(impl, spec, equivalence):
    """By trying every small extension of the initialisation and the cause."""
    result = compare(impl, spec, equivalence)
    assume(result.verdict is Verdict.VIOLATION)
    only = LTS(0, result.explanation.cause)
    assert try_extensions(only, spec, equivalence, most=13) is Verdict.VIOLATION


@given(small_systems(5, ["a", T, "b"]), small_systems(4, ["a", T, "b"]), st.sampled_from(ALL))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@example(LTS(0, []), LTS(0, [(0, T, 1), (1, "a", 0)]), Equivalence.BRANCHING)
def test_what_is_incomplete_is_never_told_to_be_impossible_and_always_has_something_unseen(impl, spec, equivalence):
    """The word "cannot" is for violations; and what is unseen is what keeps the model from being equivalent."""
    result = compare(impl, spec, equivalence)
    assume(result.verdict is Verdict.INCOMPLETE)
    found = result.explanation
    assert "cannot" not in found.text
    assert "the specification can" not in found.text
    assert "has not been seen to" in found.sentence
    assert "Let a test do it" in found.text
    assert (found.kind, found.cause, found.violation) == (Kind.NOT_SEEN, (), False)
    assert found.unseen
    assert "Not seen yet: " in found.text
    for state, action, _ in found.unseen:
        assert state in classes(impl, equivalence)
        assert action == T or action in {a for _, a, _ in spec.transitions}
    steps = {Transition(*step) for step in spec.transitions}
    assert set(found.trace) <= steps


@given(
    st.dictionaries(st.tuples(st.integers(0, 3), st.sampled_from("abc")), st.integers(0, 3), max_size=7),
    st.sets(st.integers(0, 7)),
)
@settings(max_examples=300, deadline=None)
def test_what_is_unseen_of_a_deterministic_specification_is_just_what_makes_the_model_equivalent(moves, left_out):
    """Each state of the model gets exactly the steps listed for it, into a copy of the specification; not one less."""
    spec = LTS(0, [(s, a, t) for (s, a), t in moves.items()])
    impl = LTS(0, [step for at, step in enumerate(spec.transitions) if at not in left_out])
    result = compare(impl, spec)
    assume(result.verdict is Verdict.INCOMPLETE)
    copy = [(f"s{s}", a, f"s{t}") for s, a, t in spec.transitions]
    added = [(state, action, f"s{target}") for state, action, target in result.explanation.unseen]
    assert bisimilar(LTS(0, [*impl.transitions, *added, *copy]), spec)
    for without in range(len(added)):
        some = [*added[:without], *added[without + 1 :]]
        assert not bisimilar(LTS(0, [*impl.transitions, *some, *copy]), spec)


@given(small_systems(4, ["a", "b", T]), small_systems(4, ["a", "b", T]), st.sampled_from(ALL))
@settings(max_examples=300, deadline=None)
def test_something_is_said_to_be_not_specified_only_where_no_run_allows_it(impl, spec, equivalence):
    """Every run of the model to the step is followed: in no class that it may end in is the action possible."""
    result = compare(impl, spec, equivalence)
    assume(result.verdict is Verdict.VIOLATION)
    found = result.explanation
    assume(found.kind is Kind.UNSPECIFIED_STEP)
    small = minimised(spec, equivalence)
    strong = equivalence is Equivalence.STRONG
    seen, todo = {(0, 0)}, [(0, 0)]
    while todo:
        state, own = todo.pop()
        ends = [
            (t, u) for s, a, t in impl.transitions if s == state for p, b, u in small.transitions if (p, b) == (own, a)
        ]
        ends += [(t, own) for s, a, t in impl.transitions if s == state and a == T and not strong]
        todo += set(ends) - seen
        seen |= set(ends)
    step = found.cause[-1]
    assert "was seen and is not specified" in found.sentence
    for state, own in seen:
        if state == step.source:
            assert not any((p, a) == (own, step.action) for p, a, _ in small.transitions)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a", "b", T]), st.integers(0, 3)), max_size=6),
    small_systems(4, ["a", "b", T]),
    st.sampled_from(ALL),
)
@settings(max_examples=300, deadline=None)
def test_the_proof_agrees_with_trying_every_assignment(steps, spec, equivalence):
    """Its own search is checked, too."""
    small = minimised(spec, equivalence)
    cause = [Transition(*step) for step in steps]
    assert irreparable(0, cause, small, equivalence) is not assignable(LTS(0, steps), spec, equivalence)


def test_beyond_the_bounds_a_cause_is_still_irreparable_though_perhaps_not_the_smallest(monkeypatch):
    """Pairs that are not all looked at, and parts that are not taken further apart."""
    spec = LTS(0, [(0, "a", 1), (0, "a", 2), (1, "b", 3), (2, "c", 4), (0, "d", 0)])
    impl = LTS(0, [(0, "d", 0), (0, "a", 1), (1, "b", 2), (1, "c", 2)])
    assert set(check(impl, spec, Equivalence.BRANCHING).cause) == {(0, "a", 1), (1, "b", 2), (1, "c", 2)}
    monkeypatch.setattr(core, "MOST_WORK", 0)
    found = compare(impl, spec).explanation
    assert not found.minimal
    assert not assignable(LTS(0, found.cause), spec, Equivalence.BRANCHING)
    monkeypatch.setattr(pairs, "MOST_PAIRS", 2)
    assert not assignable(LTS(0, compare(impl, spec).explanation.cause), spec, Equivalence.BRANCHING)


def test_a_wrong_cause_is_never_shown(monkeypatch):
    """Whatever is found is proved by other code."""
    wrong = cause_module.Cause(Kind.CONFLICT, (Transition(0, "a", 1),), ())
    monkeypatch.setattr(cause_module._Search, "cause", lambda _: wrong)
    with pytest.raises(AssertionError, match="a wrong cause was found, please report it"):
        _ = compare(LTS(0, [(0, "a", 1), (1, "b", 0)]), LTS(0, [(0, "a", 1)])).explanation


def test_a_violation_is_explained_where_not_all_pairs_of_states_and_classes_are_examined(monkeypatch):
    """What was examined need not be a violation by itself, so the cause may be all that was seen, but it is true."""
    spec = LTS(0, [(0, "a", 1), (0, "a", 2), (1, "b", 3), (2, "b", 4), (3, "c", 5), (4, "d", 5), (5, "e", 0)])
    impl = LTS(0, [(0, "a", 1), (1, "b", 3), (3, "c", 5), (3, "d", 5)])
    for most in range(1, 8):
        monkeypatch.setattr(pairs, "MOST_PAIRS", most)
        result = compare(impl, spec)
        assert result.verdict is Verdict.VIOLATION
        assert result.explanation.cause
