"""Provenance: which tests showed a model's transitions first, as values and as data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from ..domain.transition import Transition

MOST_TESTS: Final = 3
"""So many tests are remembered for each transition."""
Tests = dict[Transition, tuple[str, ...]]
"""Transition → the names of the tests (pytest's node ids) that showed it first, sorted."""


def united_tests(
    before: Mapping[Transition, Collection[str]],
    found: Mapping[Transition, Collection[str]],
    *,
    ran: Collection[str] | None = None,
) -> Tests:
    """Return the tests that showed each transition, of what was known and what was found now.

    What was known stays, so that the order in which tests happen to run changes nothing.

    Args:
        before: What was known.
        found: What a run found, in the order in which tests showed it.
        ran: The tests of a complete run: a known test that is not among them is replaced by those found, if there are
            any. None: the run was partial.
    """
    tests: Tests = {}
    for transition in {**before, **found}:
        known, new = before.get(transition, ()), found.get(transition, ())
        if ran is not None and new:
            known = [test for test in known if test in ran]
        added = [test for test in new if test not in known]
        kept = [*known, *added][:MOST_TESTS]
        if kept:
            tests[transition] = tuple(sorted(kept))
    return tests


def plain_tests(tests: Mapping[Transition, Collection[str]]) -> list[list[Any]]:
    """Return provenance as data, in an order that depends on nothing else."""
    listed = sorted(tests.items(), key=lambda entry: tuple(name or "" for name in entry[0]))
    return [[*transition, list(names)] for transition, names in listed]


def named_in(plain: list[list[Any]]) -> Tests:
    """Return provenance from data that `are_tests` accepts."""
    return {Transition(*entry[:3]): tuple(entry[3]) for entry in plain}


def are_tests(plain: Any) -> bool:
    """Return whether data is provenance."""

    def is_entry(entry: Any) -> bool:
        if not isinstance(entry, list) or len(entry) != 4 or not isinstance(entry[3], list):
            return False
        source, *rest, tests = entry
        return (source is None or isinstance(source, str)) and all(isinstance(part, str) for part in (*rest, *tests))

    return isinstance(plain, list) and all(map(is_entry, plain))
