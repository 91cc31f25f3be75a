"""A transition does not become dearer unnoticed: its instructions and system calls are counted."""

from __future__ import annotations

import pytest

from .costs.counting import grown, instructions, platform_key, recorded, system_calls
from .costs.driven import WORK

BEFORE = recorded()


def counts_of(kind: str) -> dict[str, float]:
    """Return the recorded counts of one kind; skip the test where there are none."""
    if BEFORE is None:
        pytest.skip(f"no counts are recorded for {platform_key()}: python -m tests.programs.costs --record")
    return {name.removeprefix(f"{kind}, "): count for name, count in BEFORE.items() if name.startswith(kind)}


@pytest.mark.long
@pytest.mark.tool("valgrind")
def test_transitions_take_no_more_instructions_than_recorded() -> None:
    """Neither blocking ones nor pipelined ones, on neither side."""
    before = counts_of("instructions")

    assert before.keys() == WORK.keys()
    assert grown(instructions(), before) == []


@pytest.mark.long
@pytest.mark.process
@pytest.mark.tool("strace")
def test_transitions_make_no_more_system_calls_than_recorded() -> None:
    """Neither blocking ones nor 1,000 posted ones, on neither side."""
    before = counts_of("system calls")

    assert len(before) == 4
    assert grown(system_calls(), before) == []


@pytest.mark.long
@pytest.mark.pure
@pytest.mark.tool("valgrind")
def test_a_dearer_way_is_found() -> None:
    """Rows that are read again and again at each commit are in the count."""
    before = counts_of("instructions")
    only = "worker, blocking"

    [line] = grown(instructions([only], slowed=True), before)

    assert line.startswith(f"{only}: ")


def test_growth_is_said_with_both_counts() -> None:
    """Up to five per cent are allowed, and a few system calls in a thousand transitions."""
    before = {"a": 1000.0, "b": 1000.0, "c": 0.007}

    assert grown({"a": 1050.0, "b": 1051.0, "c": 0.012}, before) == ["b: 1,051, where 1,000 was recorded (+5.1%)"]
