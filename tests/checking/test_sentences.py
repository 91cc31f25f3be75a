"""The sentences of explanations: each names what is responsible, and is true of where it is said."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spex_shards.checking import extension
from spex_shards.checking.bisimulation import Equivalence
from spex_shards.checking.cause import Kind
from spex_shards.checking.conformance import Verdict, compare
from spex_shards.domain.lts import LTS
from spex_shards.domain.transition import INTERNAL
from tests.support.extensions import small_systems

T = INTERNAL
ALL = list(Equivalence)

PAYMENT = LTS(
    "new",
    [
        ("new", "authorise", "authorised"),
        ("authorised", "capture", "captured"),
        ("authorised", "void", "voided"),
        ("authorised", "expire", "expired"),
        ("captured", "refund", "refunded"),
    ],
)
AUTHORISE, CAPTURE, VOID, EXPIRE, REFUND = PAYMENT.transitions


def told(*steps, spec=PAYMENT, equivalence="branching", start="new"):
    """Return the explanation of the model of these steps."""
    return compare(LTS(start, steps), spec, equivalence).explanation


def test_a_violation_is_explained_by_what_makes_it_one_and_not_by_what_is_missing():
    """A captured payment was voided; that two specified steps were not tested yet comes last."""
    found = told(AUTHORISE, CAPTURE, ("captured", "void", "voided"))
    assert found.sentence == (
        "captured --[void]-> voided was seen and is not specified: after new --authorise--> authorised --capture--> "
        "captured the specification allows only refund."
    )
    assert found.text.splitlines()[1].startswith("The specification has void in authorised only.")
    assert found.text.splitlines()[-1].startswith("Not seen yet: authorised --[void]-> voided; ")
    assert "expire" not in found.text.partition("Not seen yet")[0]
    assert found.kind is Kind.UNSPECIFIED_STEP
    assert found.step == ("captured", "void", "voided")
    assert found.cause == (AUTHORISE, CAPTURE, found.step)
    assert found.specified == CAPTURE


def test_what_is_incomplete_was_not_seen_and_it_is_said_what_to_do():
    """Not "cannot", and nothing of what the specification can."""
    found = told(AUTHORISE, CAPTURE, REFUND, VOID)
    assert found.sentence == "After new --authorise--> authorised your implementation has not been seen to do expire."
    assert "Let a test do it, or wait until it happens" in found.text
    assert found.unseen == (("authorised", "expire", "expired"),)


def test_what_another_state_was_seen_to_do_is_listed_by_state_and_action():
    """No transition of the specification is missing then."""
    found = told(AUTHORISE, CAPTURE, VOID, EXPIRE, REFUND, ("authorised", "capture", "taken"))
    assert found.missing == ()
    assert found.unseen == (("taken", "refund", "refunded"),)
    assert found.text.splitlines()[-1] == "Not seen yet: refund in taken."


def test_one_name_for_two_states_is_told_with_both_names_and_the_two_runs():
    """Nothing is said to be not specified: every step of the model is."""
    spec = LTS("new", [("new", "pay", "paid"), ("new", "bill", "owed"), ("paid", "ship", "x"), ("owed", "ask", "owed")])
    found = told(("new", "pay", "open"), ("new", "bill", "open"), ("open", "ship", "x"), spec=spec)
    assert found.sentence == "open stands for both paid and owed; report two names."
    assert found.text.splitlines()[1] == "It is paid after new --pay--> open. It is owed after new --bill--> open."
    assert found.runs == ((("new", "pay", "open"),), (("new", "bill", "open"),))
    assert found.kind is Kind.SHARED_NAME
    assert "not specified" not in found.text


def test_a_choice_that_was_made_later_than_specified_is_one_name_for_two_states_as_well():
    """The two sets of classes that cannot be reconciled come from what was seen afterwards."""
    spec = LTS("s", [("s", "go", "left"), ("s", "go", "right"), ("left", "l", "end"), ("right", "r", "end")])
    found = told(("s", "go", "x"), ("x", "l", "end"), ("x", "r", "end"), spec=spec, start="s")
    both = {f"x stands for both {one}; report two names." for one in ("left and right", "right and left")}
    assert found.sentence in both
    assert "where l was seen" in found.text
    assert "where r was seen" in found.text


@given(st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_of_models_learned_from_correct_runs_in_which_one_name_stands_for_two_nothing_is_called_unspecified(random):
    """Specified runs only, two states under one name: the sentence is about a name, or about a target."""
    states = "pqrstu"
    moves = {(random.choice(states), random.choice("abcd")): random.choice(states) for _ in range(12)}
    spec = LTS("p", [(s, a, t) for (s, a), t in moves.items()])
    one, other = random.sample(states[1:], 2)

    def name(state):
        return "open" if state in (one, other) else state

    steps = set()
    for _ in range(5):
        state = "p"
        for _ in range(6):
            ways = [(a, t) for (s, a), t in moves.items() if s == state]
            if ways:
                action, target = random.choice(ways)
                steps.add((name(state), action, name(target)))
                state = target
    result = compare(LTS("p", sorted(steps)), spec)
    assume(result.verdict is Verdict.VIOLATION)
    found = result.explanation
    assert found.kind in (Kind.SHARED_NAME, Kind.WRONG_TARGET)
    assert "is not specified" not in found.sentence
    assert len(found.runs) == 2
    if found.kind is Kind.SHARED_NAME:
        assert "stands for both" in found.sentence
        assert "report two names" in found.sentence


def test_a_renamed_action_is_recognised_by_what_happens_afterwards():
    """By the name of the state after it, or by the steps from there; not if neither shows it."""
    found = told(AUTHORISE, ("authorised", "charge", "captured"), REFUND)
    assert found.sentence == (
        "authorised --[charge]-> captured was seen: the specification calls this step capture, the model charge."
    )
    assert found.kind is Kind.RENAMED_ACTION
    assert found.specified == CAPTURE
    by_deeds = told(AUTHORISE, ("authorised", "charge", "x"), ("x", "refund", "y"))
    assert "the specification calls this step capture, the model charge" in by_deeds.sentence
    assert told(AUTHORISE, ("authorised", "charge", "x")).kind is Kind.UNSPECIFIED_STEP
    assert told(AUTHORISE, CAPTURE, ("authorised", "charge", "captured")).kind is Kind.UNSPECIFIED_STEP


def test_a_wrong_target_is_told_by_the_right_one():
    """Where the other states are called as the specification calls them."""
    found = told(AUTHORISE, ("authorised", "capture", "authorised"))
    right = "but in the specification capture leads from authorised to captured."
    assert found.sentence == f"authorised --[capture]-> authorised was seen, {right}"
    assert found.specified == CAPTURE
    assert told(AUTHORISE, VOID, ("authorised", "capture", "voided")).sentence.endswith(right)


def test_a_wrong_target_is_told_also_where_only_what_follows_shows_it():
    """The step is named, and not the one after it that is right by the name of its state."""
    found = told(("new", "authorise", "captured"), REFUND)
    assert found.sentence == (
        "new --[authorise]-> captured was seen, but in the specification authorise leads from new to authorised."
    )
    assert "not specified there, captured --[refund]-> refunded" in found.text


def test_a_state_of_another_name_that_lacks_something_is_told_by_the_specifications_name():
    """The model is incomplete then, and what it lacks may never come."""
    spec = LTS("new", [*PAYMENT.transitions, ("voided", "log", "voided")])
    found = told(AUTHORISE, ("authorised", "void", "captured"), spec=spec)
    assert found.kind is Kind.NOT_SEEN
    assert found.sentence == (
        "authorised --[void]-> captured was seen: the specification calls this state voided, and it has not been seen "
        "to do log there."
    )


names = st.sampled_from("pqrs")
named_systems = st.builds(
    LTS, st.just("p"), st.lists(st.tuples(names, st.sampled_from(["a", "b", T]), names), max_size=7)
)


@given(named_systems, named_systems, st.sampled_from(ALL))
@settings(max_examples=500, deadline=None)
def test_a_target_is_called_wrong_only_where_the_specification_does_not_have_the_step(impl, spec, equivalence):
    """Also where actions lead to several states, and the one of the name is possible."""
    found = compare(impl, spec, equivalence).explanation
    assume(found is not None)
    if found.kind is Kind.WRONG_TARGET:
        assert found.step not in spec.transitions
    if "calls this state" in found.sentence:
        assert not any(found.sentence.startswith(f"{s} --[{a}]-> {t} was seen") for s, a, t in spec.transitions)


def test_a_step_that_is_possible_after_something_was_given_up_is_not_said_to_be_impossible():
    """A silent choice: the specification ships only when nobody can cancel any more."""
    spec = LTS("new", [("new", "pay", "paid"), ("paid", T, "ready"), ("ready", "ship", "x"), ("paid", "cancel", "x")])
    found = told(("new", "pay", "paid"), ("paid", "ship", "x"), ("paid", "cancel", "x"), spec=spec)
    once = "it can ship there only once cancel is no longer possible."
    assert found.sentence == f"paid --[ship]-> x was seen, but in the specification {once}"
    assert "cannot" not in found.text
    assert found.kind is Kind.SILENT_CHOICE


def test_a_silent_choice_that_gives_up_no_action_is_told_by_the_silent_step():
    """What differs is further on."""
    spec = LTS(
        "s", [("s", T, "u"), ("s", "a", "w"), ("u", "a", "v"), ("u", "b", "v"), ("w", "b", "v"), ("s", "c", "s")]
    )
    found = told(("s", "b", "v"), spec=LTS("s", [*spec.transitions, ("u", "c", "s")]), start="s")
    assert found.sentence == (
        "s --[b]-> v was seen, but in the specification it can b there only after a silent step from s to u."
    )


def test_a_silent_step_that_changes_what_is_possible_is_told_where_the_specification_has_none():
    """It is told which two states that makes one."""
    found = told(AUTHORISE, CAPTURE, REFUND, VOID, ("authorised", T, "captured"))
    assert found.sentence == (
        "authorised --[__internal__]-> captured was seen, a silent step, and the specification has none there."
    )
    assert found.kind is Kind.SILENT_STEP


@given(small_systems(5, ["a", "b", "c"]), small_systems(4, ["a", "b", "c"]), st.sampled_from(ALL))
@settings(max_examples=200, deadline=None)
def test_without_silent_steps_nothing_silent_is_spoken_of(impl, spec, equivalence):
    """Neither in the text nor in the formula."""
    found = compare(impl, spec, equivalence).explanation
    assume(found is not None)
    assert not any(word in f"{found.text} {found.formula}" for word in ("tau", T, "silent"))


def test_what_is_not_decided_is_told_as_such(monkeypatch):
    """With what every reading of the model lacks, where there is something."""
    monkeypatch.setattr(extension, "EFFORT", -1000)
    spec = LTS(0, [(0, "a", 1), (0, "a", 2), (1, "b", 3), (2, "c", 4), (0, "d", 0)])
    result = compare(LTS(0, [(0, "a", 1)]), spec)
    assert not result.decided
    assert result.explanation.sentence == "At the start, in 0, your implementation has not been seen to do d."
    assert "was not found out with bounded effort" in result.explanation.text
    unclear = compare(LTS(0, [(0, "a", 1), (0, "d", 0)]), spec).explanation
    assert unclear.sentence == "1 --[b]-> 3 has not been seen."
    assert "cannot" not in unclear.text
