"""Parallel composition, held against its definition and its laws."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import pytest

import spex_shards as spex
from spex_shards.checking import composition
from spex_shards.checking.bisimulation import bisimilar
from tests.support.places import LONG

TILL = spex.LTS("open", [("open", "scan", "open"), ("open", "pay", "closed")])
DOOR = spex.LTS("shut", [("shut", "pay", "ajar"), ("ajar", "leave", "shut")])
PAIRS = 5_000 if LONG else 300


def drawn(source: random.Random) -> spex.LTS:
    """Return a small system drawn at random, sometimes with silent steps."""
    actions = ["a", "b", "c", spex.INTERNAL]
    steps = [(source.randrange(3), source.choice(actions), source.randrange(3)) for _ in range(source.randrange(6))]
    return spex.LTS(0, steps)


def by_definition(one: spex.LTS, other: spex.LTS, sync: set[str]) -> spex.LTS:
    """Return the whole product by its three rules, what cannot be reached included."""
    ours, theirs = ({lts.initial_state, *(s for p, _, q in lts.transitions for s in (p, q))} for lts in (one, other))
    steps = [(f"{p}|{q}", a, f"{t}|{q}") for p, a, t in one.transitions if a not in sync for q in theirs]
    steps += [(f"{p}|{q}", a, f"{p}|{t}") for q, a, t in other.transitions if a not in sync for p in ours]
    both = product(one.transitions, other.transitions)
    steps += [(f"{p}|{q}", a, f"{t}|{u}") for (p, a, t), (q, b, u) in both if a == b and a in sync]
    return spex.LTS(f"{one.initial_state}|{other.initial_state}", steps)


def test_parts_do_what_both_know_together_and_the_rest_alone() -> None:
    """A till and a door: it opens when somebody pays."""
    shop = spex.parallel(TILL, DOOR)
    assert shop.initial_state == "open|shut"
    assert shop.transitions == (
        ("open|shut", "scan", "open|shut"),
        ("open|shut", "pay", "closed|ajar"),
        ("closed|ajar", "leave", "closed|shut"),
    )


def test_a_composition_is_what_its_rules_say() -> None:
    """The part of the product that can be reached, for any choice of what is done together."""
    source = random.Random(2)
    for _ in range(PAIRS):
        one, other = drawn(source), drawn(source)
        shared = ({a for _, a, _ in one.transitions} & {a for _, a, _ in other.transitions}) - {spex.INTERNAL}
        chosen = {action for action in sorted(shared) if source.random() < 0.6}
        made, whole = spex.parallel(one, other, sync=chosen), by_definition(one, other, chosen)
        inside = {whole.initial_state}
        while new := {t for s, _, t in whole.transitions if s in inside} - inside:
            inside |= new
        assert set(made.transitions) == {step for step in whole.transitions if step[0] in inside}
        assert bisimilar(spex.parallel(one, other), by_definition(one, other, shared), "strong")


def test_a_composition_does_not_depend_on_order_or_grouping() -> None:
    """Commutative and associative, by strong bisimilarity; a part that does nothing changes nothing."""
    source = random.Random(3)
    for _ in range(PAIRS // 3):
        a, b, c = drawn(source), drawn(source), drawn(source)
        assert bisimilar(spex.parallel(a, b), spex.parallel(b, a), "strong")
        assert bisimilar(spex.parallel(a, b, c), spex.parallel(c, a, b), "strong")
        known = [{action for _, action, _ in lts.transitions} for lts in (a, b, c)]
        nested = spex.parallel(a, b)
        if {action for _, action, _ in nested.transitions} >= known[0] | known[1]:
            assert bisimilar(spex.parallel(nested, c), spex.parallel(a, b, c), "strong")
        assert bisimilar(spex.parallel(a, spex.LTS(0, [])), a, "strong")


def test_a_specification_can_be_made_of_parts() -> None:
    """Specifications compose as systems do, and the result is a specification's list of transitions."""

    class Till(spex.Specification):
        transitions = TILL.transitions

    class Door(spex.Specification):
        transitions = DOOR.transitions

    class Shop(spex.Specification):
        transitions = spex.parallel(Till, Door).transitions

    assert Shop.initial_state == "open|shut"
    assert Shop.lts == spex.parallel(TILL, DOOR)


def test_states_of_parts_stay_apart_whatever_they_are_called() -> None:
    """A name with a bar in it, and the state 1 beside the state "1"."""
    one = spex.LTS("a|b", [("a|b", "go", "a")])
    other = spex.LTS(1, [(1, "go", "1"), ("1", "stop", "b|c")])
    made = spex.parallel(one, other, sync=[])
    states = {state for source, _, target in made.transitions for state in (source, target)}
    assert len(states) == 6
    assert made.initial_state == "a\\|b|1 (int)"


@pytest.mark.parametrize(
    ("parts", "sync", "error", "text"),
    [
        ([TILL], None, ValueError, "a composition must have two parts or more, got: 1"),
        ([TILL, DOOR], "pay", TypeError, "sync must be a collection of actions, got: 'pay'"),
        ([TILL, DOOR], [1], TypeError, "sync must name actions by str or str-valued Enum members, got: 1"),
        ([TILL, DOOR], ["scan"], ValueError, "sync must name actions that two parts know, or more, got: 'scan'"),
        ([TILL, DOOR], ["__internal__"], ValueError, "silent steps are never synchronised"),
        ([TILL, "door"], None, TypeError, "a system must be an LTS or a Specification class, got: 'door'"),
    ],
)
def test_what_cannot_be_composed_is_refused(parts: Any, sync: Any, error: type[Exception], text: str) -> None:
    """The text names the rule and what was given."""
    with pytest.raises(error, match=text):
        spex.parallel(*parts, sync=sync)


def test_a_composition_that_grows_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """States multiply; the bound is told."""
    monkeypatch.setattr(composition, "MOST_TRANSITIONS", 100)
    ring = [spex.LTS(0, [(n, f"{name}{n}", (n + 1) % 5) for n in range(5)]) for name in "abc"]
    with pytest.raises(ValueError, match="a composition must have at most 100 transitions"):
        spex.parallel(*ring)
