"""Hiding and renaming actions, in systems, models and comparisons."""

from __future__ import annotations

import random
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.checking.bisimulation import bisimilar

ORDER = spex.LTS("new", [("new", "pay", "paid"), ("paid", "log", "noted"), ("noted", "deliver", "sent")])
WANTED = spex.LTS("new", [("new", "pay", "paid"), ("paid", "ship", "sent")])


def test_a_hidden_action_is_silent_and_a_renamed_one_has_its_new_name() -> None:
    """Nothing else changes; what does not occur does no harm."""
    seen = spex.relabelled(ORDER, hide={"log", "unheard-of"}, rename={"deliver": "ship"})
    steps = [("new", "pay", "paid"), ("paid", spex.INTERNAL, "noted"), ("noted", "ship", "sent")]
    assert seen == spex.LTS("new", steps)
    assert spex.relabelled(ORDER) is ORDER


def test_a_comparison_hides_and_renames_on_both_sides() -> None:
    """An equivalence and a relation alike; two names can be exchanged, or become one."""
    options: dict[str, Any] = {"hide": ["log"], "rename": {"deliver": "ship"}}
    assert not spex.compare(ORDER, WANTED).equivalent
    assert spex.compare(ORDER, WANTED, **options).equivalent
    assert spex.compare(ORDER, WANTED, relation="trace_inclusion", **options).holds
    exchanged = spex.relabelled(WANTED, rename={"pay": "ship", "ship": "pay"})
    assert exchanged == spex.LTS("new", [("new", "ship", "paid"), ("paid", "pay", "sent")])
    assert spex.compare(exchanged, WANTED, rename={"pay": "step", "ship": "step"}).equivalent


def test_a_check_hides_and_renames_in_model_and_specification() -> None:
    """The model, the specification and their names stay what they are."""

    class Sale(spex.Specification):
        transitions = [("new", "pay", "paid"), ("paid", "ship", "sent")]

    starts = spex.Transition(None, spex.INITIALISATION, "new")
    steps = [spex.Transition(str(s), a, str(t)) for s, a, t in ORDER.transitions]
    model = spex.ImplModel(specification=Sale.name, transitions=[starts, *steps])  # type: ignore[arg-type]
    assert spex.check(model).verdict is spex.Verdict.VIOLATION
    assert spex.check(model, hide=["log"], rename={"deliver": "ship"}).equivalent
    assert spex.check(model, Sale, relation="simulation", hide=["log"], rename={"deliver": "ship"}).holds
    seen = spex.relabelled(model, hide=["log"])
    assert (seen.specification, len(seen.transitions)) == (Sale.name, 4)
    assert spex.relabelled(Sale, rename={"ship": "deliver"}).transitions[1] == ("paid", "deliver", "sent")


def test_hiding_everything_leaves_nothing_to_tell_apart() -> None:
    """Branching bisimilarity is blind to all that is silent, endless or not."""
    source = random.Random(1)
    for _ in range(50):
        steps = [(source.randrange(3), source.choice("ab"), source.randrange(3)) for _ in range(5)]
        assert bisimilar(spex.relabelled(spex.LTS(0, steps), hide=["a", "b"]), spex.LTS(0, []))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"hide": "log"}, TypeError, "hide must be a collection of actions, got: 'log'"),
        ({"hide": [3]}, TypeError, "hide must name actions by str or str-valued Enum members, got: 3"),
        ({"hide": ["__internal__"]}, ValueError, "hide must not name the reserved action '__internal__'"),
        (
            {"rename": ["log"]},
            TypeError,
            "rename must be a mapping of old names of actions to new ones",
        ),
        ({"rename": {"log": "__internal__"}}, ValueError, "rename must not name the reserved action '__internal__'"),
        ({"rename": {"__initialisation__": "a"}}, ValueError, "must not name the reserved action"),
        ({"hide": ["log"], "rename": {"log": "x"}}, ValueError, "must be hidden or renamed, not both, got: 'log'"),
    ],
)
def test_what_cannot_be_hidden_or_renamed_is_refused(options: Any, error: type[Exception], text: str) -> None:
    """The text names the option and what was given."""
    for asked in (lambda: spex.relabelled(ORDER, **options), lambda: spex.compare(ORDER, WANTED, **options)):
        with pytest.raises(error, match=text):
            asked()


def test_only_systems_are_relabelled() -> None:
    """Not a list of transitions."""
    with pytest.raises(TypeError, match="a system must be an LTS or a Specification class, got: \\[\\]"):
        spex.relabelled([])  # type: ignore[call-overload]
