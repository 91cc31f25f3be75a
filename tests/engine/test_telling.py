"""What a deviation is told as: what was observed, whether it is specified, what the verdict means, and what to do."""

from __future__ import annotations

import pytest

from spex_shards import INITIALISATION, INTERNAL, Specification
from spex_shards.checking.conformance import Verdict
from spex_shards.domain.transition import Transition
from spex_shards.engine.telling import Outline, told

EQUIVALENT, INCOMPLETE, VIOLATION = Verdict

ORDER = Specification.define(
    "shop.Order", [("new", "pay", "paid"), ("paid", "ship", "shipped"), ("paid", "cancel", "cancelled")]
).declaration


def sentences(transition, verdict=VIOLATION, before=INCOMPLETE, declaration=ORDER):
    """Return the text of a deviation of instance 7."""
    return told("7", Outline(declaration), Transition(*transition), verdict, before)


def test_a_step_that_is_not_specified_is_told_with_what_would_be_allowed():
    """The whole of it, once."""
    assert sentences(("paid", "refund", "refunded")) == (
        "instance 7 of shop.Order made the step paid --[refund]-> refunded, which its model does not know. "
        "The specification does not allow refund in paid, only ship and cancel. "
        "With this step the model is a violation: no later observation can repair it. "
        "Correct the program or the specification; spex.explain(error) names the cause."
    )


def test_a_specified_step_that_the_model_lacks_is_told_to_be_specified():
    """Nothing is wrong then, and it is said how the model learns it."""
    text = sentences(("paid", "ship", "shipped"), INCOMPLETE)
    assert "The step is specified. With this step the model is incomplete: nothing wrong was seen" in text
    assert text.endswith("Let the model learn it, and what else is missing, by learning mode or a test suite.")


@pytest.mark.parametrize(
    ("transition", "verdict", "before", "words"),
    [
        (("paid", "ship", "paid"), VIOLATION, INCOMPLETE, "In the specification ship leads from paid to shipped."),
        (
            ("shipped", "pay", "x"),
            VIOLATION,
            INCOMPLETE,
            "In shipped the specification allows nothing, so pay is not allowed.",
        ),
        (("new", INTERNAL, "x"), VIOLATION, INCOMPLETE, "does not allow a silent step in new, only pay."),
        (("p", "refund", "x"), VIOLATION, INCOMPLETE, "The specification has no action refund."),
        (("p", "ship", "x"), VIOLATION, INCOMPLETE, "The specification does not allow the step there."),
        (("p", "ship", "x"), VIOLATION, None, "Whether the step is specified does not show"),
        (("p", "ship", "x"), EQUIVALENT, EQUIVALENT, "but allows the step in what that stands for."),
        ((None, INITIALISATION, "x"), VIOLATION, INCOMPLETE, "started in x (__initialisation__)"),
        ((None, INITIALISATION, "x"), VIOLATION, INCOMPLETE, "The specification starts in new."),
        ((None, INITIALISATION, "new"), INCOMPLETE, INCOMPLETE, "That is the specification's initial state."),
        (("paid", "ship", "shipped"), VIOLATION, VIOLATION, "The model is a violation already without this step."),
        (("paid", "ship", "shipped"), EQUIVALENT, EQUIVALENT, "With this step the model stays equivalent"),
    ],
)
def test_each_case_has_its_sentence(transition, verdict, before, words):
    """By the names of states where the specification has them, by the verdict where not."""
    text = sentences(transition, verdict, before)
    assert words in text
    assert "with it the model is not" not in text
    assert text.startswith("instance 7 of shop.Order ")


def test_silent_steps_before_an_action_are_looked_through():
    """What is allowed after them is allowed; under strong bisimilarity the silent step itself is named."""
    steps = [("paid", INTERNAL, "ready"), ("ready", INTERNAL, "paid"), ("ready", "ship", "shipped")]
    for equivalence, words in (("branching", "only ship."), ("strong", f"only {INTERNAL}.")):
        declaration = Specification.define(f"o.{equivalence}", steps, equivalence=equivalence).declaration
        assert words in sentences(("paid", "refund", "x"), declaration=declaration)


def test_a_specification_without_transitions_and_one_with_very_many_actions_are_told():
    """Neither breaks the sentence."""
    empty = Specification.define("o.Empty", []).declaration
    assert "The specification has no transitions." in sentences((None, INITIALISATION, "x"), declaration=empty)
    wide = Specification.define("o.Wide", [("a", f"go{n}", "b") for n in range(20)]).declaration
    assert "go6 and 13 others" in sentences(("a", "stop", "b"), declaration=wide)


def test_a_timeout_is_told_with_what_could_have_happened():
    """Where the specification has a state of that name."""
    outline = Outline(ORDER)
    assert outline.ways_on("paid") == "; the specification allows ship or cancel there"
    assert outline.ways_on("shipped") == "; the specification allows nothing there"
    assert outline.ways_on("elsewhere") == outline.ways_on(None) == ""
