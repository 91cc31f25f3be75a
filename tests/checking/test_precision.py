"""Precision: the share of allowed actions that runs take, counted by hand and by going through all beginnings."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards.checking.precision import Precision, precision
from spex_shards.checking.runs import RunChecker

ORDER = RunChecker(
    spex.LTS(
        "new",
        [("new", "pay", "paid"), ("paid", "ship", "end"), ("paid", "cancel", "end"), ("paid", "refund", "end")],
    )
)


@pytest.mark.parametrize(
    ("runs", "allowed", "escaping"),
    [
        ([], 0, 0),
        ([("", 5)], 0, 0),
        ([("pay", 5)], 5, 0),
        ([("pay ship", 6), ("pay cancel", 3)], 9 + 9 * 3, 9),
        ([("pay ship", 1), ("pay cancel", 1), ("pay refund", 1)], 3 + 3 * 3, 0),
        ([("pay ship", 1), ("pay ship", 1)], 2 + 2 * 3, 2 * 2),
        ([("ship pay", 1)], 1, 1),
        ([("pay lose ship", 1)], 1 + 3, 3),
    ],
)
def test_precision_is_what_one_counts_by_hand(runs: list[tuple[str, int]], allowed: int, escaping: int) -> None:
    """One action is allowed at first, three after pay; where all runs end, nothing is counted."""
    found = precision(ORDER, [(run.split(), count) for run, count in runs])
    assert found == Precision(allowed, escaping)
    assert found.ratio == (1 - escaping / allowed if allowed else 1)


def test_what_silent_steps_lead_to_is_allowed() -> None:
    """Both the action before the silent step and the one after it."""
    checker = RunChecker(spex.LTS("p", [("p", "a", "q"), ("p", spex.INTERNAL, "r"), ("r", "b", "q")]))
    assert precision(checker, [("a", 1)]) == Precision(2, 1)
    assert precision(checker, [("a", 1), ("b", 1)]) == Precision(4, 0)


STEPS = st.lists(
    st.tuples(st.sampled_from("pqr"), st.sampled_from(["a", "b", "c", spex.INTERNAL]), st.sampled_from("pqr")),
    max_size=8,
)
LOG = st.lists(st.tuples(st.text("abcd", max_size=6), st.integers(1, 3)), max_size=6)


@settings(max_examples=1000, deadline=None)
@given(STEPS, LOG)
def test_the_tree_counts_what_the_definition_says(
    steps: list[tuple[str, str, str]], log: list[tuple[str, int]]
) -> None:
    """For each beginning that goes on: what a checker of runs allows next, and which of that no run does next."""
    lts = spex.LTS("p", steps)
    weights, following = Counter[str](), dict[str, set[str]]()
    for run, count in log:
        for place, action in enumerate(run):
            weights[run[:place]] += count
            following.setdefault(run[:place], set()).add(action)
    allowed = escaping = 0
    for beginning, weight in weights.items():
        if RunChecker(lts).parting(beginning) is None:
            after = {a for a in "abcd" if RunChecker(lts).parting(beginning + a) is None}
            allowed += weight * len(after)
            escaping += weight * len(after - following[beginning])
    assert precision(RunChecker(lts), log) == Precision(allowed, escaping)
