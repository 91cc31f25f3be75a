"""Verdicts on systems and models, compared with trying every small extension."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spex_shards.checking import checker as checker_module
from spex_shards.checking import extension
from spex_shards.checking.bisimulation import Equivalence, bisimilar
from spex_shards.checking.checker import ConformanceChecker
from spex_shards.checking.conformance import Result, Verdict, check_model, compare
from spex_shards.checking.large import Judged
from spex_shards.domain.impl_model import ImplModel
from spex_shards.domain.lts import LTS
from spex_shards.domain.transition import INITIALISATION, INTERNAL, Transition
from tests.support.extensions import assignable, small_systems, try_extensions

T = INTERNAL
BRANCHING, STRONG, PRESERVING = "branching", "strong", "divergence_preserving_branching"
EQUIVALENT, INCOMPLETE, VIOLATION = Verdict

ORDER = LTS("new", [("new", "pay", "paid"), ("paid", "ship", "shipped"), ("paid", "cancel", "cancelled")])
INIT = Transition(None, INITIALISATION, "new")
PAY, SHIP, CANCEL = (Transition(*step) for step in ORDER.transitions)


def model(*transitions):
    """Return the model of these transitions."""
    return ImplModel(specification="Order", transitions=transitions)


def verdict(*transitions, spec=ORDER, equivalence=BRANCHING):
    """Return the verdict on the model of these transitions."""
    result = check_model(model(*transitions), spec, equivalence)
    assert result.equivalent == (result.verdict is EQUIVALENT)
    assert result.decided
    assert (result.explanation is None) == result.equivalent
    return result.verdict


def test_verdicts_are_strings():
    """Lower case, as they are stored and shown."""
    assert [str(v) for v in Verdict] == ["equivalent", "incomplete", "violation"]


def test_a_model_becomes_equivalent_by_what_is_observed():
    """From no initialisation to the whole of the behaviour."""
    assert verdict() is INCOMPLETE
    assert verdict(INIT) is INCOMPLETE
    assert verdict(INIT, PAY, SHIP) is INCOMPLETE
    assert verdict(INIT, PAY, SHIP, CANCEL) is EQUIVALENT


def test_an_action_that_the_specification_does_not_allow_is_a_violation():
    """Whatever else is still to come."""
    assert verdict(INIT, ("new", "ship", "x")) is VIOLATION
    assert verdict(INIT, PAY, SHIP, CANCEL, ("shipped", "pay", "x")) is VIOLATION


def test_one_state_that_must_be_two_is_a_violation():
    """The state reached by `pay` cannot also be the one before it."""
    assert verdict(INIT, ("new", "pay", "new")) is VIOLATION


def test_two_different_initialisations_are_a_violation():
    """Also where both states behave alike."""
    assert verdict(INIT, (None, INITIALISATION, "other"), PAY, SHIP, CANCEL) is VIOLATION


def test_what_cannot_be_reached_does_not_count():
    """Neither without an initialisation nor with one."""
    assert verdict(("x", "unheard-of", "y")) is INCOMPLETE
    assert verdict(INIT, PAY, SHIP, CANCEL, ("x", "unheard-of", "y")) is EQUIVALENT


def test_states_of_model_and_specification_need_not_be_called_alike():
    """Only actions are compared."""
    steps = [(None, INITIALISATION, "1"), ("1", "pay", "2"), ("2", "ship", "new"), ("2", "cancel", "3")]
    assert verdict(*steps) is EQUIVALENT


def test_a_specification_without_transitions_allows_nothing_visible():
    """Its model is complete as soon as it is initialised."""
    assert verdict(spec=None) is INCOMPLETE
    assert verdict(INIT, spec=None) is EQUIVALENT
    assert verdict(INIT, ("new", T, "x"), spec=None) is EQUIVALENT
    assert verdict(INIT, ("new", T, "x"), spec=None, equivalence=STRONG) is VIOLATION
    assert verdict(INIT, PAY, spec=None) is VIOLATION


def test_internal_steps_of_a_model_must_stay_in_a_class_where_the_specification_has_none():
    """And are a step like any other under strong bisimilarity."""
    inside = [INIT, ("new", T, "n2"), ("n2", "pay", "paid"), SHIP, CANCEL]
    assert verdict(*inside) is EQUIVALENT
    assert verdict(*inside[:-1]) is INCOMPLETE
    assert verdict(*inside, equivalence=STRONG) is VIOLATION
    assert verdict(INIT, PAY, SHIP, CANCEL, ("paid", T, "shipped")) is VIOLATION


def test_a_silent_cycle_is_a_violation_only_where_divergence_counts_and_is_not_specified():
    """The same cycle is nothing, a violation, or wanted."""
    cycle = [INIT, PAY, SHIP, CANCEL, ("new", T, "n2"), ("n2", T, "new")]
    assert verdict(*cycle) is EQUIVALENT
    assert verdict(*cycle, equivalence=PRESERVING) is VIOLATION
    waiting = LTS("new", [*ORDER.transitions, ("new", T, "new")])
    assert verdict(*cycle, spec=waiting, equivalence=PRESERVING) is EQUIVALENT
    assert verdict(INIT, PAY, SHIP, CANCEL, spec=waiting, equivalence=PRESERVING) is INCOMPLETE


def test_a_choice_that_must_be_guessed_is_found():
    """Two `a`-steps of the specification: which one a step of the model is follows from what comes later."""
    spec = LTS(0, [(0, "a", 1), (0, "a", 2), (1, "b", 3), (2, "c", 4)])
    assert compare(LTS(0, [(0, "a", 1)]), spec) == Result(equivalent=False, verdict=INCOMPLETE)
    assert compare(LTS(0, [(0, "a", 1), (1, "c", 2)]), spec).verdict is INCOMPLETE
    assert compare(LTS(0, [(0, "a", 1), (1, "b", 2), (1, "c", 2)]), spec).verdict is VIOLATION


def test_a_question_that_is_too_hard_is_said_to_be_undecided(monkeypatch):
    """INCOMPLETE then means: not refuted."""
    monkeypatch.setattr(extension, "EFFORT", -1000)
    spec = LTS(0, [(0, "a", 1), (0, "a", 2), (1, "b", 3), (2, "c", 4)])
    assert compare(LTS(0, [(0, "a", 1)]), spec) == Result(equivalent=False, verdict=INCOMPLETE, decided=False)


@pytest.mark.parametrize(
    "question",
    [
        lambda e: compare(ORDER, ORDER, e),
        lambda e: check_model(model(), None, e),
        lambda e: ConformanceChecker(None, e),
    ],
)
def test_an_unknown_equivalence_is_an_error(question):
    """Also where the answer does not depend on it."""
    with pytest.raises(ValueError, match="the equivalence must be one of"):
        question("trace")


@given(small_systems(2, ["a", T]), small_systems(3, ["a", T]), st.sampled_from(list(Equivalence)))
@settings(max_examples=150, deadline=None)
def test_verdicts_agree_with_trying_every_small_extension(impl, spec, equivalence):
    """One state for each class of the specification is enough for an extension, if there is one at all."""
    result = compare(impl, spec, equivalence)
    assert result.decided
    assert result.equivalent == bisimilar(impl, spec, equivalence)
    if not result.equivalent:
        assert result.verdict is try_extensions(impl, spec, equivalence, most=13)


@given(small_systems(2, ["a", "b"]), small_systems(2, ["a", "b"]), st.sampled_from([BRANCHING, PRESERVING]))
@settings(max_examples=60, deadline=None)
def test_verdicts_on_visible_behaviour_agree_with_trying_every_small_extension(impl, spec, equivalence):
    """Two visible actions and the silent one."""
    result = compare(impl, spec, equivalence)
    if not result.equivalent:
        assert result.verdict is try_extensions(impl, spec, equivalence, most=12)


@given(small_systems(5, ["a", T, "b"]), small_systems(4, ["a", T, "b"]), st.sampled_from(list(Equivalence)))
@settings(max_examples=300, deadline=None)
def test_verdicts_agree_with_trying_every_assignment_of_classes(impl, spec, equivalence):
    """For systems whose extensions are too many to be tried."""
    result = compare(impl, spec, equivalence)
    assert result.decided
    assert (result.verdict is not VIOLATION) == assignable(impl, spec, equivalence)


names = st.sampled_from("pqrs")
model_steps = st.builds(Transition, names, st.sampled_from(["a", "b", T]), names)
extras = model_steps | st.builds(Transition, st.none(), st.just(INITIALISATION), names)


@given(
    small_systems(3, ["a", "b", T]) | small_systems(3, ["a", "b"]),
    st.frozensets(extras, max_size=6),
    st.lists(extras, min_size=1, max_size=6),
    st.booleans(),
    st.sampled_from(list(Equivalence)),
)
@settings(max_examples=500, deadline=None)
def test_the_checker_gives_the_verdict_of_the_whole_model_each_time(spec, steps, asked, mirrors, equivalence):
    """Over equivalent models too, where it answers from the classes of the states alone."""
    if mirrors:
        steps = {Transition("pqr"[s], a, "pqr"[t]) for s, a, t in spec.transitions}
        steps = frozenset({*steps, Transition(None, INITIALISATION, "p")})
    checker = ConformanceChecker(spec, equivalence)
    assert checker.check(steps) == check_model(model(*steps), spec, equivalence)
    for extra in asked * 2:
        assert checker.judge(steps, extra) is check_model(model(*steps, extra), spec, equivalence).verdict


def test_a_question_asked_before_is_not_worked_out_again(monkeypatch):
    """Nor is a new one where the classes of the model's states are known."""
    checker = ConformanceChecker(ORDER)
    partial, whole = frozenset([INIT, PAY]), frozenset([INIT, PAY, SHIP, CANCEL])
    assert checker.judge(partial, SHIP) is INCOMPLETE
    assert checker.judge(whole, Transition("paid", "ship", "gone")) is EQUIVALENT
    monkeypatch.setattr(ConformanceChecker, "check", None)
    assert checker.judge(partial, SHIP) is INCOMPLETE
    assert checker.judge(whole, Transition("paid", "ship", "gone")) is EQUIVALENT
    assert checker.judge(whole, Transition("paid", "ship", "new")) is VIOLATION
    assert checker.judge(whole, Transition("new", "pay", "half paid")) is INCOMPLETE
    assert checker.judge(whole, Transition("new", "refund", "x")) is VIOLATION
    assert checker.judge(whole, Transition("elsewhere", "refund", "x")) is EQUIVALENT


def test_a_new_question_about_an_incomplete_model_is_not_worked_out_either(monkeypatch):
    """Where classes are forced it is counted what is missing, and the model becomes equivalent when nothing is."""
    checker = ConformanceChecker(ORDER)
    partial = frozenset([INIT, PAY, SHIP])
    assert checker.judge(partial, PAY) is INCOMPLETE
    monkeypatch.setattr(ConformanceChecker, "check", None)
    assert checker.judge(partial, CANCEL) is EQUIVALENT
    assert checker.judge(partial, SHIP) is INCOMPLETE
    assert checker.judge(partial, Transition("paid", "cancel", "shipped")) is EQUIVALENT
    assert checker.judge(partial, Transition("paid", "cancel", "new")) is VIOLATION
    assert checker.judge(partial, Transition("new", "pay", "half paid")) is INCOMPLETE
    assert checker.judge(partial, Transition("elsewhere", "refund", "x")) is INCOMPLETE
    assert checker.judge(partial, Transition("shipped", "cancel", "x")) is VIOLATION


def test_what_a_checker_remembers_is_bounded(monkeypatch):
    """The models, and the verdicts for each, that were not asked about for the longest time go."""
    monkeypatch.setattr(checker_module, "MOST_MODELS", 2)
    monkeypatch.setattr(checker_module, "MOST_VERDICTS", 3)
    checker = ConformanceChecker(ORDER)
    for number in range(20):
        for steps in (frozenset([INIT, PAY, SHIP, CANCEL]), frozenset([INIT, PAY]), frozenset([INIT])):
            checker.judge(steps, Transition("paid", "ship", str(number)))
    assert len(checker._known) == 2
    assert {len(known.verdicts) for known in checker._known.values()} == {1}
    for number in range(20):
        checker.judge(frozenset([INIT]), Transition("paid", "ship", str(number)))
    assert len(checker._known[frozenset([INIT])].verdicts) == 3


def test_what_a_state_does_after_a_silent_step_is_not_missing_when_the_model_grows():
    """So doing it at once makes up for nothing that another state lacks."""
    checker = ConformanceChecker(LTS("p", [("p", "a", "p")]))
    before = frozenset([Transition(None, INITIALISATION, "p"), Transition("p", T, "q"), Transition("q", "a", "p")])
    step = Transition("q", "a", "r")
    assert checker.judge(before, step) is INCOMPLETE
    after = before | {step}
    checker.grow(before, step, after)
    assert checker.judge(after, Transition("p", "a", "p")) is INCOMPLETE
    assert checker.judge(after, Transition("r", "a", "p")) is EQUIVALENT


STEPS = [Transition(source, action, target) for source in "pqr" for action in ("a", "b", T) for target in "pqr"]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([step for step in STEPS if step.action != T]), max_size=7, unique=True),
    st.lists(st.sampled_from(STEPS), min_size=1, max_size=12, unique=True),
    st.sampled_from([BRANCHING, STRONG]),
)
def test_a_model_that_grows_is_judged_as_one_that_was_looked_at_anew(specified, observed, equivalence):
    """Each step is asked of a checker that has seen the model grow, and of a fresh one."""
    spec = LTS("p", specified)
    growing = ConformanceChecker(spec, equivalence)
    known = frozenset([Transition(None, INITIALISATION, "p")])
    growing.judge(known, observed[0])
    for step in observed:
        after = known | {step}
        growing.grow(known, step, after)
        known = after
        fresh = ConformanceChecker(spec, equivalence)
        for extra in STEPS:
            assert growing.judge(known, extra) is fresh.judge(known, extra), (known, extra)


def test_a_model_that_has_grown_is_not_looked_at_as_a_whole(monkeypatch):
    """Where everything follows from what was known before."""
    checker = ConformanceChecker(ORDER)
    before = frozenset([INIT, PAY])
    assert checker.judge(before, SHIP) is INCOMPLETE
    monkeypatch.setattr(ConformanceChecker, "check", None)
    after = before | {SHIP}
    checker.grow(before, SHIP, after)
    assert checker.judge(after, CANCEL) is EQUIVALENT
    assert checker.judge(after, Transition("paid", "refund", "new")) is VIOLATION


@settings(max_examples=1500, deadline=None)
@given(
    st.lists(st.sampled_from(STEPS), max_size=8, unique=True),
    st.lists(st.sampled_from(STEPS), max_size=8, unique=True),
    st.sampled_from([BRANCHING, STRONG, PRESERVING]),
)
def test_large_systems_are_judged_as_small_ones_are(observed, specified, equivalence):
    """The way on arrays gives the same verdict."""
    impl, spec = LTS("p", observed), LTS("p", specified)
    judged = Judged(impl, spec, Equivalence(equivalence))
    expected = compare(impl, spec, equivalence)
    assert judged.equivalent is expected.equivalent
    assert judged.extensible() is (expected.verdict is not VIOLATION)


def test_a_large_violation_and_a_large_incomplete_model_are_told_apart():
    """Thousands of steps, over a deterministic specification that is not minimal."""
    ring = [(str(n), action, str((n + 1) % 2000)) for n in range(2000) for action in "ab"]
    spec = LTS("0", ring)
    assert compare(LTS("0", ring[:-1]), spec).verdict is INCOMPLETE
    assert compare(LTS("0", [*ring, ("7", "c", "8")]), spec).verdict is VIOLATION
    assert compare(LTS("x", [("x", "a", "x"), ("x", "b", "x")] * 3000), spec).verdict is EQUIVALENT
    alternating = LTS("0", [(str(n), "ab"[n % 2], str((n + 1) % 4000)) for n in range(4000)])
    assert compare(LTS("x", [("x", "a", "y")]), alternating).verdict is INCOMPLETE
    assert compare(LTS("x", [("x", "a", "x")]), alternating).verdict is VIOLATION


def test_what_a_large_result_is_beyond_not_equivalent_is_worked_out_when_it_is_asked_for(monkeypatch):
    """A specification with a choice of targets needs a search, which nobody pays for who only asks for equivalence."""
    ring = [(str(n), "a", str((n + 1) % 2000)) for n in range(2000)] + [("0", "b", "1"), ("0", "b", "2")]
    spec, impl = LTS("0", ring), LTS("0", [*ring, ("7", "c", "8")])
    search = Judged.extensible
    monkeypatch.setattr(Judged, "extensible", None)
    result = compare(impl, spec)
    assert result.equivalent is False
    monkeypatch.setattr(Judged, "extensible", search)
    assert (result.verdict, result.decided) == (VIOLATION, True)
    assert result == Result(equivalent=False, verdict=VIOLATION)
    assert hash(result) == hash(Result(equivalent=False, verdict=VIOLATION))
    assert "c" in result.explanation.text
    assert result != compare(LTS("0", ring[:-1]), spec)
