"""Verdicts and explanations on more than two thousand pairs of systems, which lie beside the project."""

from __future__ import annotations

import gzip
import json
from itertools import islice

import pytest

from spex_shards.checking.bisimulation import Equivalence, bisimilar
from spex_shards.checking.conformance import compare
from spex_shards.checking.large import bisimilar_at_scale
from spex_shards.checking.model_checker import ModelChecker
from spex_shards.domain.lts import LTS
from tests.checking.test_explanation import check, runs
from tests.support.places import LONG, SHARED, WHOLE, of_length
from tests.support.reference_bisimulation import separating_round
from tests.support.reference_formula import holds

FOLDER = SHARED / "bisim"
FIELDS = {
    "branching": "branching",
    "strong": "strong",
    "branching_divergence": "divergence_preserving_branching",
}

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the labelled transition systems are not there: {FOLDER}"),
]


def read_system(raw):
    """Return a system of the corpus as a value."""
    return LTS(raw["init"], (tuple(step) for step in raw["trans"]))


def cases(name, field, step):
    """Yield each `step`-th of the pairs of systems with a known verdict, with that verdict."""
    with gzip.open(FOLDER / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for case in map(json.loads, islice(lines, 0, None, step)):
            if case[field] is not None:
                yield case["id"], read_system(case["impl"]), read_system(case["spec"]), case[field]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", ["small", "medium", "real"])
def test_verdicts_are_those_of_the_independent_tools(name, field):
    """Every verdict of the corpus that is known (null: not decided there), by both ways of comparing."""
    wrong, decided = [], 0
    for number, impl, spec, expected in cases(name, field, 1 if LONG or name == "small" else 10):
        decided += 1
        answers = bisimilar(impl, spec, FIELDS[field]), bisimilar_at_scale(impl, spec, Equivalence(FIELDS[field]))
        if answers != (expected, expected):
            wrong.append(number)
    assert wrong == []
    assert decided > 0


@pytest.mark.parametrize("field", FIELDS)
def test_every_difference_of_small_systems_is_explained_with_least_depth(field):
    """The naive meaning of formulas and the naive rounds are the judges."""
    count = 0
    for _, impl, spec, equivalent in cases("small", field, of_length(5, 2, 1)):
        if not equivalent:
            count += 1
            found = check(impl, spec, FIELDS[field])
            assert found.formula.depth == separating_round(impl, spec, FIELDS[field])
    assert count > of_length(100, 250, 500)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", ["medium", pytest.param("real", marks=pytest.mark.long)])
def test_every_difference_of_larger_systems_is_explained(name, field):
    """The formula holds on the side that is said only, and the run can be run."""
    count = 0
    for _, impl, spec, equivalent in cases(name, field, 1 if WHOLE else 4 if name == "medium" else 8):
        if equivalent:
            continue
        count += 1
        found = compare(impl, spec, FIELDS[field]).explanation
        own, other = (impl, spec) if found.side == "impl" else (spec, impl)
        assert ModelChecker(own).holds(found.formula)
        assert not ModelChecker(other).holds(found.formula)
        assert runs(found.trace, impl if found.violation else spec)
        assert found.text
        assert "cannot" not in found.text or found.violation
        if found.formula.depth < 50 and len(own.transitions) + len(other.transitions) < 100:
            assert holds(found.formula, own)
            assert not holds(found.formula, other)
    assert count > 0
