"""Explanations: formulas of least depth that hold on one side only, runs that can be run, and sentences."""

from __future__ import annotations

import pickle
import tracemalloc

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spex_shards.checking import explanation, rounds
from spex_shards.checking import unmatched as unmatched_module
from spex_shards.checking.bisimulation import Equivalence, bisimilar
from spex_shards.checking.cause import Kind
from spex_shards.checking.checker import ConformanceChecker
from spex_shards.checking.conformance import Verdict, check_model, compare
from spex_shards.checking.formula import TRUE, Not
from spex_shards.checking.model_checker import ModelChecker, suits
from spex_shards.domain.impl_model import ImplModel
from spex_shards.domain.lts import LTS
from spex_shards.domain.transition import INITIALISATION, INTERNAL, Transition
from tests.support.places import LONG
from tests.support.reference_bisimulation import separating_round
from tests.support.reference_formula import holds

T = INTERNAL
ALL = list(Equivalence)
BRANCHING, STRONG, PRESERVING = "branching", "strong", "divergence_preserving_branching"

STEPS = [("new", "pay", "paid"), ("paid", "ship", "shipped"), ("paid", "cancel", "cancelled")]
ORDER = LTS("new", STEPS)
INIT = Transition(None, INITIALISATION, "new")

NOTHING_WRONG = (
    "Nothing wrong was seen. Let a test do it, or wait until it happens; if the implementation never does it, the "
    "specification allows too much."
)
CORRECT = "Correct the implementation and delete the step from the model; or add the step to the specification."

states = st.integers(0, 5)
systems = st.builds(
    LTS, st.just(0), st.lists(st.tuples(states, st.sampled_from([T, T, "a", "b"]), states), max_size=12)
)


def explained(impl, spec=ORDER, equivalence=BRANCHING):
    """Return the explanation of the difference."""
    return compare(impl, spec, equivalence).explanation


def runs(trace, lts):
    """Whether a trace can be run on a system from its initial state."""
    state = lts.initial_state
    for source, action, target in trace:
        if source != state or (source, action, target) not in set(lts.transitions):
            return False
        state = target
    return True


def check(impl, spec, equivalence):
    """Assert everything that is promised of an explanation, and return it."""
    found = explained(impl, spec, equivalence)
    own, other = (impl, spec) if found.side == "impl" else (spec, impl)
    assert holds(found.formula, own)
    assert not holds(found.formula, other)
    silent = any(action == T for lts in (impl, spec) for _, action, _ in lts.transitions)
    assert suits(found.formula, Equivalence(equivalence) if silent else Equivalence.STRONG)
    assert "tau" not in str(found.formula) or silent
    assert not isinstance(found.formula, Not)
    assert runs(found.trace, impl if found.violation else spec)
    assert found.text
    assert set(found.missing) <= {Transition(*step) for step in spec.transitions}
    assert set(found.extra) <= {Transition(*step) for step in impl.transitions}
    return found


@given(systems, systems, st.sampled_from(ALL))
@settings(max_examples=400, deadline=None)
def test_an_explanation_of_random_systems_is_true_and_of_least_depth(impl, spec, equivalence):
    """The formula holds on the side that is said and not on the other, and a naive reference finds no smaller depth."""
    assume(not bisimilar(impl, spec, equivalence))
    assert check(impl, spec, equivalence).formula.depth == separating_round(impl, spec, equivalence)


@given(systems, st.integers(0, 20), st.sampled_from(ALL))
@settings(max_examples=400, deadline=None)
def test_an_explanation_of_near_misses_is_true_and_of_least_depth(impl, position, equivalence):
    """A system and itself with one step more or less, where deep formulas are frequent."""
    own = list(impl.transitions)
    spec = LTS(0, [*own[:position], *own[position + 1 :]] if position < len(own) else [*own, (0, T, position % 6)])
    assume(not bisimilar(impl, spec, equivalence))
    assert check(impl, spec, equivalence).formula.depth == separating_round(impl, spec, equivalence)


@given(systems, systems, st.sampled_from(ALL))
@settings(max_examples=200, deadline=None)
def test_the_model_checker_agrees_with_the_meaning_of_formulas(impl, spec, equivalence):
    """In every state, for every formula found and all its parts, against sets of states worked out naively."""
    assume(not bisimilar(impl, spec, equivalence))
    formula = explained(impl, spec, equivalence).formula
    todo = [formula]
    while todo:
        part = todo.pop()
        todo += part.parts
        for lts in (impl, spec):
            checker = ModelChecker(lts)
            for state in {lts.initial_state, *(s for s, _, _ in lts.transitions)}:
                assert checker.holds(part, state) == holds(part, LTS(state, lts.transitions))


def test_equivalent_systems_have_nothing_to_explain():
    """None, as the contract has it."""
    assert explained(ORDER) is None
    assert compare(ORDER, ORDER) == compare(LTS(0, []), LTS(0, []))


def test_what_the_specification_allows_and_the_model_lacks_is_told():
    """Formula, run, sentence and the transitions that are missing."""
    found = explained(LTS("new", [("new", "pay", "paid_review"), ("paid_review", "cancel", "gone")]))
    assert str(found.formula) == "<pay><ship>true"
    assert found.side == "spec"
    assert found.trace == (Transition("new", "pay", "paid"), Transition("paid", "ship", "shipped"))
    assert str(found) == found.text
    assert found.text.splitlines() == [
        "After new --pay--> paid_review your implementation has not been seen to do ship.",
        NOTHING_WRONG,
        "Not seen yet: paid --[ship]-> shipped.",
    ]
    assert found.unseen == (("paid_review", "ship", "shipped"),)
    assert found.specified == Transition("paid", "ship", "shipped")
    assert found.missing == (Transition("paid", "ship", "shipped"),)
    assert found.extra == ()


def test_what_the_model_does_and_the_specification_forbids_is_told():
    """The formula holds in the model then."""
    found = explained(LTS("new", [*STEPS, ("paid", "refund", "refunded")]))
    assert str(found.formula) == "<pay><refund>true"
    assert found.side == "impl"
    assert found.sentence == (
        "paid --[refund]-> refunded was seen and is not specified: after new --pay--> paid the specification allows "
        "only ship and cancel."
    )
    assert found.text.splitlines()[1:] == ["The specification has no action refund.", CORRECT]
    assert found.cause == found.trace == (Transition("new", "pay", "paid"), Transition("paid", "refund", "refunded"))
    assert found.specified == Transition("new", "pay", "paid")
    assert found.extra == (Transition("paid", "refund", "refunded"),)
    assert found.missing == ()


def test_a_choice_made_too_early_is_told():
    """Nothing is missing and nothing too much, but one state has less choice than it should."""
    found = explained(LTS("new", [*STEPS, ("new", "pay", "stuck")]))
    assert str(found.formula) == "<pay>!<ship>true"
    assert found.side == "impl"
    assert found.trace == tuple(Transition(*step) for step in STEPS[:2])
    assert found.sentence == "After new --pay--> stuck your implementation has not been seen to do ship."
    assert found.text.endswith("Not seen yet: ship in stuck; cancel in stuck.")
    assert found.unseen == (("stuck", "ship", "shipped"), ("stuck", "cancel", "cancelled"))
    assert found.missing == found.extra == ()


def test_a_silent_step_past_another_is_told_apart_from_one_by_way_of_it():
    """Equal sets of states behind silent steps do not suffice: which step leads where counts."""
    base = [("d", "a", "z"), ("e", T, "d"), ("e", "b", "z"), ("s", "c", "z"), ("s", T, "e")]
    found = check(LTS("s", [*base, ("s", T, "d")]), LTS("s", base), BRANCHING)
    assert str(found.formula) == "<tau*>(<tau?>!<tau*><b>true && <tau*><c>true)"


def test_endless_silence_is_told_where_it_counts():
    """With the steps of the cycle as the run's end."""
    found = explained(LTS("new", [*STEPS, ("new", T, "n2"), ("n2", T, "new")]), equivalence=PRESERVING)
    assert str(found.formula) == "<tau^inf>true"
    assert found.trace == (Transition("new", T, "n2"), Transition("n2", T, "new"))
    assert found.sentence == (
        "new --[__internal__]-> n2 was seen, and with it silent steps can go on for ever; "
        "the specification does not allow that in new."
    )
    assert found.kind is Kind.ENDLESS_SILENCE
    waiting = LTS("new", [*STEPS, ("new", T, "new")])
    lacking = explained(ORDER, waiting, PRESERVING)
    assert lacking.sentence == "At the start, in new, your implementation has not been seen to go on silently for ever."


def test_under_strong_bisimilarity_formulas_are_those_of_hennessy_and_milner():
    """The internal action is one like the others."""
    found = explained(LTS("new", [*STEPS, ("paid", T, "late")]), equivalence=STRONG)
    assert str(found.formula) == "<pay><tau>true"
    assert found.extra == (Transition("paid", T, "late"),)


@pytest.mark.parametrize("action", ["tau", "tau?", "", "<a>", "a b", "line\nbreak", "\ud800", "true && x"])
def test_a_formula_cannot_be_misread_whatever_actions_are_called(action):
    """Other than plain names stand between double quotes, so an action called tau is seen to be none of the silent."""
    found = explained(LTS(0, [(0, action, 1)]), LTS(0, []))
    assert str(found.formula).startswith('<"')
    assert str(found.formula).endswith('">true')
    assert len(found.text.splitlines()) == 2
    assert "".join(found.text.splitlines()).isprintable()


def test_names_of_states_may_be_numbers():
    """They stay numbers in transitions."""
    found = explained(LTS(1, [(1, "a", 2)]), LTS(7, [(7, "a", 8), (8, "b", 9)]))
    assert found.missing == ((8, "b", 9),)
    assert found.trace == ((7, "a", 8), (8, "b", 9))


def test_a_model_without_initialisation_is_told_what_is_missing():
    """The initialisation first, then all of the behaviour; no formula can say it."""
    found = check_model(ImplModel(specification="Order"), ORDER).explanation
    assert found.formula is None
    assert found.text.startswith("The model has no initialisation")
    assert found.missing == (INIT, *(Transition(*step) for step in STEPS))
    assert (found.side, found.trace, found.extra) == ("spec", (), ())


def test_two_initialisations_are_told_by_name():
    """The one that the specification has not is too much."""
    other = Transition(None, INITIALISATION, "other")
    found = check_model(ImplModel(specification="Order", transitions=[INIT, other]), ORDER).explanation
    assert "2 different initialisations, in new, other" in found.text
    assert (found.formula, found.side, found.extra) == (None, "impl", (other,))


def test_a_specification_without_transitions_is_told_to_have_none():
    """Its one state has no name to be shown."""
    model = ImplModel(specification="Order", transitions=[INIT, ("new", "go", "x")])
    found = check_model(model, None).explanation
    assert found.sentence == "new --[go]-> x was seen and is not specified: the specification has no transitions."
    empty = check_model(ImplModel(specification="Order"), None).explanation
    assert empty.text
    assert empty.missing == ()


def test_a_checker_explains_by_the_specification_that_it_was_given():
    """Not by the smaller one that it works with."""
    wide = LTS("new", [*STEPS, ("shipped", T, "rest")])
    model = frozenset([INIT, *(Transition(*step) for step in STEPS[:2])])
    assert ConformanceChecker(wide).check(model).explanation.missing == (Transition("paid", "cancel", "cancelled"),)


def test_nothing_is_worked_out_before_it_is_looked_at_and_then_once(monkeypatch):
    """Results are equal, and can be sent elsewhere, with or without it."""
    calls = []
    real = explanation.explain
    monkeypatch.setattr(explanation, "explain", lambda *given, **more: calls.append(1) or real(*given, **more))
    result, same = compare(LTS("new", []), ORDER), compare(LTS("new", []), ORDER)
    assert calls == []
    assert result.explanation is result.explanation
    assert calls == [1]
    assert result == same
    assert hash(result) == hash(same)
    assert pickle.loads(pickle.dumps(same)).explanation == result.explanation
    with pytest.raises(AttributeError):
        result.verdict = Verdict.EQUIVALENT


def test_a_wrong_formula_is_never_shown(monkeypatch):
    """Whatever the search finds is checked on both systems by other code."""
    for wrong in (TRUE, Not(TRUE)):
        monkeypatch.setattr(explanation, "distinguish", lambda *_, wrong=wrong: (wrong, True))
        with pytest.raises(AssertionError, match="a wrong explanation was found, please report it"):
            _ = explained(LTS("new", [])).formula


@pytest.mark.long
def test_deep_formulas_need_no_recursion():
    """Two thousand modalities: written, compared, hashed, and checked."""
    chain = [(n, "a", n + 1) for n in range(2_000)]
    for equivalence in ALL if LONG else ALL[:1]:
        found, again = (explained(LTS(0, chain[:-1]), LTS(0, chain), equivalence) for _ in range(2))
        assert found.formula.depth == found.formula.size == 2_000
        assert found.formula == again.formula
        assert len({found.formula, again.formula, found.formula.then}) == 2
        assert str(found.formula).count("<a>") == 2_000
        assert len(found.trace) == 2_000
        assert "1,991 more steps" in found.text


def test_beyond_the_bounds_there_is_no_formula_but_the_cause_and_what_is_missing(monkeypatch):
    """The text does not depend on the formula."""
    monkeypatch.setattr(rounds, "MOST_EFFORT", 0)
    found = explained(LTS("new", [*STEPS[:2], ("new", "refund", "x")]))
    assert found.formula is None
    assert found.sentence.startswith("new --[refund]-> x was seen and is not specified")
    assert found.missing == (Transition("paid", "cancel", "cancelled"),)
    monkeypatch.setattr(rounds, "MOST_EFFORT", 1000)
    monkeypatch.setattr(rounds, "MOST_KEPT", 0)
    assert explained(LTS("new", STEPS[:2])).formula is None


def test_what_too_many_pairs_could_match_is_judged_by_actions_alone(monkeypatch):
    """Only transitions of actions that the other side does not have are listed then."""
    monkeypatch.setattr(unmatched_module, "MOST_EFFORT", 0)
    found = explained(LTS("new", [STEPS[0], ("paid", "ship", "x"), ("new", "ship", "x")]))
    assert found.missing == (Transition("paid", "cancel", "cancelled"),)
    assert found.extra == ()


@given(systems, systems, st.sampled_from(ALL))
@settings(max_examples=200, deadline=None)
def test_what_is_listed_as_unmatched_has_no_counterpart(impl, spec, equivalence):
    """No run of the other side with the same visible actions can end with the action."""
    found = compare(impl, spec, equivalence).explanation
    assume(found is not None)
    for listed, own, other in ((found.extra, impl, spec), (found.missing, spec, impl)):
        for source, action, _ in listed:
            assert not shared(own, other, source, action, strong=equivalence is Equivalence.STRONG)


def shared(own, other, state, action, *, strong):
    """Whether some visible actions lead one system to `state`, and the other to where `action` is possible."""
    silent = None if strong else T
    seen = {(own.initial_state, other.initial_state)}
    while True:
        new = {(t, o) for s, o in seen for p, a, t in own.transitions if p == s and a == silent}
        new |= {(s, t) for s, o in seen for p, a, t in other.transitions if p == o and a == silent}
        new |= {
            (t, u)
            for s, o in seen
            for p, a, t in own.transitions
            if p == s and a != silent
            for q, b, u in other.transitions
            if q == o and b == a
        }
        if new <= seen:
            return any(s == state and any(p == o and a == action for p, a, _ in other.transitions) for s, o in seen)
        seen |= new


def test_two_hubs_with_very_many_steps_are_not_paired_step_by_step():
    """Two thousand steps a side are four million pairs, which would take hundreds of megabytes."""
    hub = [(0, "a", n) for n in range(1, 2_001)]
    result = compare(LTS(0, hub), LTS(0, [*hub, (1, "b", 2)]))
    tracemalloc.start()
    try:
        assert result.explanation.missing == ((1, "b", 2),)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
