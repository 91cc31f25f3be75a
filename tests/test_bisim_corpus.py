"""The verdicts of independent tools on more than two thousand pairs of systems, which lie beside the project."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from spex_shards.domain.bisimulation import bisimilar
from spex_shards.domain.lts import LTS

FOLDER = Path(__file__).resolve().parent.parent.parent / "shared" / "bisim"
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


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("name", ["small", "medium", "real"])
def test_verdicts_are_those_of_the_independent_tools(name, field):
    """Every verdict of the corpus that is known (null: not decided there)."""
    wrong, decided = [], 0
    with gzip.open(FOLDER / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for case in map(json.loads, lines):
            if case[field] is None:
                continue
            decided += 1
            if bisimilar(read_system(case["impl"]), read_system(case["spec"]), FIELDS[field]) != case[field]:
                wrong.append(case["id"])
    assert wrong == []
    assert decided > 0
