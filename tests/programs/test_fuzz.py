"""The short form of `make fuzz`: some thousand mutations of each reader of bytes, and all that was ever found."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.programs.fuzz.__main__ import table
from tests.programs.fuzz.engine import Counter, Result, run_mutations
from tests.programs.fuzz.mutate import Mutator
from tests.programs.fuzz.targets import TARGETS, Target


@pytest.fixture(autouse=True)
def logger_as_before() -> Iterator[None]:
    """Give the library's logger back: the shard target takes it for itself, as a worker does."""
    logger = logging.getLogger("spex_shards")
    handlers, propagate = list(logger.handlers), logger.propagate
    yield
    logger.handlers[:], logger.propagate = handlers, propagate


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_accepted_or_refused_cleanly(name: str) -> None:
    """Four thousand mutations each; what fails is shown with the bytes that do it."""
    result = run_mutations(name, 4000, seed=7)
    assert result.failures == {}
    assert result.accepted + result.refused == 4000


@pytest.mark.parametrize("name", TARGETS)
def test_both_answers_are_met(name: str) -> None:
    """A target that accepted nothing, or refused nothing, would not test what it says."""
    run = TARGETS[name].make()
    answers = {run(data) for data in TARGETS[name].corpus()}
    assert True in answers
    result = run_mutations(name, 500, seed=8)
    assert result.refused


@given(data=st.binary(max_size=300), name=st.sampled_from(sorted(TARGETS)))
def test_bytes_without_any_form_are_accepted_or_refused_cleanly(data: bytes, name: str) -> None:
    """What hypothesis makes up, without a corpus."""
    assert TARGETS[name].make()(data) in (True, False)


def test_the_same_seed_gives_the_same_inputs() -> None:
    """So that a run can be repeated."""
    one, same, other = (Mutator([b"corpus", b"of two"], seed) for seed in (1, 1, 2))
    inputs = [one.next() for _ in range(200)]
    assert inputs == [same.next() for _ in range(200)]
    assert inputs != [other.next() for _ in range(200)]


def test_a_failure_is_counted_with_the_input_that_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness itself can fail: an input that raises is reported, and the run goes on."""

    def fragile(data: bytes) -> bool:
        if data == b"bad":
            raise ZeroDivisionError("by the target")
        return data == b"good"

    monkeypatch.setitem(TARGETS, "fragile", Target("fragile", lambda: fragile, lambda: [b"good"]))
    results: list[Result] = []
    counter = Counter("fragile", 3, results.append)
    for data in (b"good", b"bad", b"neither"):
        counter(data)
    [result] = results
    [(place, data)] = result.failures.items()
    assert (result.accepted, result.refused, data) == (1, 1, b"bad")
    assert "ZeroDivisionError: by the target" in place
    assert "| fragile | 3 | 1 | 1 | 1 |" in table([result])


def test_the_corpus_is_small() -> None:
    """What was found is kept as a few small files."""
    files = [path for path in (Path(__file__).parent / "fuzz" / "corpus").rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} <= set(TARGETS)
    assert sum(path.stat().st_size for path in files) < 200_000
