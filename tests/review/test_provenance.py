"""Provenance: which tests showed a step, united over runs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spex_shards.domain.transition import Transition
from spex_shards.review.provenance import MOST_TESTS, are_tests, named_in, plain_tests, united_tests

NAMES = st.text("ab", min_size=1, max_size=2)
STEPS = st.builds(Transition, st.none() | NAMES, NAMES, NAMES)
TESTS = st.lists(NAMES, unique=True, max_size=4)
SHOWN = st.dictionaries(STEPS, TESTS, max_size=4)


@given(SHOWN, SHOWN)
def test_what_was_known_stays_and_each_step_has_few_tests(before: dict, found: dict) -> None:  # type: ignore[type-arg]
    """A later run adds tests where there is room; the order of tests in data does not matter."""
    united = united_tests(before, found)
    for step in before | found:
        known, new = before.get(step, []), found.get(step, [])
        wanted = [*known, *(test for test in new if test not in known)][:MOST_TESTS]
        assert sorted(united.get(step, ())) == sorted(wanted)
    assert united_tests(united, found) == united_tests(united, {step: found[step] for step in found if step in united})
    plain = plain_tests(united)
    assert are_tests(plain)
    assert named_in(plain) == united


def test_a_complete_run_replaces_tests_that_are_gone() -> None:
    """Only where it found others: a step that it did not show keeps what was known."""
    step, other = Transition("a", "b", "c"), Transition("a", "d", "e")
    before = {step: ("gone", "kept"), other: ("gone",)}
    united = united_tests(before, {step: ["kept", "new"]}, ran={"kept", "new"})
    assert united == {step: ("kept", "new"), other: ("gone",)}
