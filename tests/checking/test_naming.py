"""Models whose states must be called as the specification calls them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards.checking.cause import Kind
from spex_shards.checking.conformance import Verdict, check_model
from spex_shards.domain.lts import LTS
from spex_shards.domain.transition import INITIALISATION, INTERNAL, Transition

ORDER = LTS("new", [("new", "pay", "paid"), ("paid", "ship", "shipped"), ("paid", "cancel", "cancelled")])
PAY, SHIP, CANCEL = (Transition(*step) for step in ORDER.transitions)


def judged(*steps, spec=ORDER, start="new", equivalence="branching", names_must_agree=True):
    """Judge the model of these steps."""
    transitions = [(None, INITIALISATION, start), *steps]
    model = spex.ImplModel(specification="Order", transitions=transitions)
    return check_model(model, spec, equivalence, names_must_agree=names_must_agree)


def test_a_wrong_target_that_is_equivalent_is_a_violation_only_where_names_must_agree():
    """And it is told what the specification calls the state."""
    steps = PAY, ("paid", "ship", "cancelled"), CANCEL
    assert judged(*steps, names_must_agree=False).equivalent
    found = judged(*steps)
    assert found.verdict is Verdict.VIOLATION
    assert found.explanation.sentence == (
        "paid --[ship]-> cancelled was seen: the specification calls this state shipped, and names must agree."
    )
    assert found.explanation.kind is Kind.OTHER_NAME
    assert found.explanation.step == ("paid", "ship", "cancelled")
    assert found.explanation.cause == (PAY, ("paid", "ship", "cancelled"))
    assert found.explanation.specified == SHIP
    assert found.explanation.text.splitlines()[-1] == "Not seen yet: paid --[ship]-> shipped."
    assert found.explanation.formula is not None


def test_a_model_with_the_specifications_names_is_judged_as_ever():
    """Equivalent, incomplete, or a violation for the reason that it is one anyway."""
    assert judged(PAY, SHIP, CANCEL).equivalent
    lacking = judged(PAY, SHIP)
    assert lacking.verdict is Verdict.INCOMPLETE
    assert lacking.explanation.missing == (CANCEL,)
    assert lacking.explanation.unseen == (("paid", "cancel", "cancelled"),)
    assert (
        "--pay--> paid your implementation has not been seen to do cancel to cancelled" in lacking.explanation.sentence
    )
    wrong = judged(PAY, ("paid", "refund", "x"))
    assert wrong == judged(PAY, ("paid", "refund", "x"), names_must_agree=False)
    assert wrong.explanation.kind is Kind.UNSPECIFIED_STEP


def test_what_has_no_names_to_agree_is_judged_by_what_it_does():
    """A specification without transitions, and a model without initialisation."""
    assert judged(spec=None, start="x").equivalent
    model = spex.ImplModel(specification="Order")
    assert check_model(model, ORDER, names_must_agree=True).verdict is Verdict.INCOMPLETE


def test_the_initial_state_has_a_name_as_well():
    """The initialisation is the cause then."""
    found = judged(("start", "pay", "paid"), start="start").explanation
    assert found.sentence == "The model starts in start: the specification calls this state new, and names must agree."
    assert found.cause == ((None, INITIALISATION, "start"),)
    assert found.formula is None


def test_silent_steps_have_no_names_but_under_strong_bisimilarity():
    """A program may have states of its own behind them."""
    steps = ("new", INTERNAL, "n2"), ("n2", "pay", "paid"), SHIP, CANCEL
    assert judged(*steps).equivalent
    spec = LTS("new", [("new", INTERNAL, "n2"), *ORDER.transitions, ("n2", "pay", "paid")])
    wrong = ("new", INTERNAL, "n3"), ("n3", "pay", "paid"), PAY, SHIP, CANCEL
    assert judged(*wrong, spec=spec, equivalence="strong", names_must_agree=False).equivalent
    assert judged(*wrong, spec=spec, equivalence="strong").verdict is Verdict.VIOLATION


def test_labels_are_told_apart_however_actions_and_states_are_called():
    """An action ``a to b`` into c, and ``a`` into ``b to c``."""
    spec = LTS("s", [("s", "a to b", "c"), ("s", "a", "b to c"), ("c", "x", "s"), ("b to c", "x", "s")])
    assert judged(*spec.transitions, spec=spec, start="s").equivalent
    swapped = [("s", "a", "c"), ("s", "a to b", "b to c"), *spec.transitions[2:]]
    assert judged(*swapped, spec=spec, start="s", names_must_agree=False).equivalent
    assert judged(*swapped, spec=spec, start="s").verdict is Verdict.VIOLATION


names = st.sampled_from("pqr")


@given(
    st.dictionaries(st.tuples(names, st.sampled_from("ab")), names, max_size=6),
    st.lists(st.tuples(names, st.sampled_from("ab"), names), max_size=5),
)
@settings(max_examples=400, deadline=None)
def test_names_agree_exactly_where_every_run_of_the_model_goes_through_the_states_of_its_names(moves, steps):
    """With a deterministic specification: the run of the specification is forced, state by state."""
    spec = LTS("p", [(s, a, t) for (s, a), t in moves.items()])
    result = judged(*steps, spec=spec, start="p")
    reached, todo = {"p"}, ["p"]
    agree = True
    while todo:
        state = todo.pop()
        for source, action, target in steps:
            if source == state:
                agree &= moves.get((state, action)) == target
                if target not in reached:
                    reached.add(target)
                    todo.append(target)
    assert (result.verdict is not Verdict.VIOLATION) == agree


def test_check_takes_the_option():
    """The module-level call, by keyword only."""
    cls = spex.Specification.define("naming.Order", list(ORDER.transitions))
    steps = [(None, INITIALISATION, "new"), PAY, ("paid", "ship", "cancelled"), CANCEL]
    model = spex.ImplModel(specification="naming.Order", transitions=steps)
    assert spex.check(model, cls).equivalent
    assert spex.check(model, cls, names_must_agree=True).verdict is Verdict.VIOLATION
    with pytest.raises(TypeError):
        spex.check(model, cls, None, True)
