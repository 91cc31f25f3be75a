"""Drawings as SVG, and their most frequent share."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards.drawing.share import FEWEST, shares
from spex_shards.drawing.svg import Shown, Style, drawn, is_followed

T = spex.Transition
TAU = spex.INTERNAL
START = T(None, spex.INITIALISATION, "a")


def test_a_drawing_has_each_state_once_and_escapes_names() -> None:
    """Also loops, long names and states that nothing reaches."""
    names = ['<img src=x onerror="alert(1)">', "x" * 100, "", "]]>", "lost"]
    steps = [T(None, spex.INITIALISATION, names[0]), T(names[0], "</svg>", names[1]), T(names[1], TAU, names[1]),
             T(names[1], "a", names[2]), T(names[1], "b", names[2]), T(names[4], "c", names[3])]  # fmt: skip
    svg = drawn("a & b", [Shown(n, t, "shown") for n, t in enumerate(steps)], Style({names[0]: 1}, {1: 0}))
    ET.fromstring(svg)
    assert svg.count("<rect") == 5
    assert svg.count('class="edge') == 5
    assert "<img" not in svg
    assert svg.count("</svg>") == 1
    assert ">τ</text>" in svg
    assert "x" * 31 + "…" in svg


def test_lines_are_as_wide_as_they_are_taken() -> None:
    """The number stands beside the action; what deviates is never thin."""
    steps = [Shown(0, START, "shown", 100), Shown(1, T("a", "often", "b"), "shown", 100),
             Shown(2, T("a", "seldom", "c"), "shown", 1), Shown(3, T("b", "wrong", "c"), "extra", 1)]  # fmt: skip
    svg = drawn("t", steps, Style({}, {}, most=100))
    width = {
        target: float(value)
        for target, value in re.findall(r'data-target="(\w)"><path d="[^"]*" stroke-width="([\d.]+)"', svg)
    }
    assert 'often<tspan class="count"> 100</tspan>' in svg
    assert width == {"a": 7.0, "b": 7.0, "c": 3.0}
    assert "a --[seldom]-&gt; c: 1 instances" in svg


def test_names_are_left_out_where_they_say_the_same_twice() -> None:
    """Only if that is so for all steps."""
    log = [START, T("a", "b", "b"), T("b", "c", "c")]
    assert is_followed(log)
    assert not is_followed([*log, T("c", "go", "a")])
    assert not is_followed([START])
    svg = drawn("t", [Shown(n, t, "plain", 5) for n, t in enumerate(log)], Style({}, {}, most=5, named=False))
    assert '"action' in svg
    assert not re.search(r"</title>[bc]<", svg)


chains = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 50)), min_size=FEWEST, max_size=40)


@given(chains)
def test_a_share_has_enough_and_a_way_to_all_of_it(found: list[tuple[int, int, int]]) -> None:
    """Each is at least so many per cent of all steps, grows, and leads from the start wherever the whole does."""
    counts = {T(f"s{a}", f"x{n}", f"s{b}"): count for n, (a, b, count) in enumerate(found)}
    listed = [Shown(0, T(None, spex.INITIALISATION, "s0"), "plain", 9)]
    listed += [Shown(n, t, "extra" if n == 3 else "plain", count) for n, (t, count) in enumerate(counts.items(), 1)]
    result = shares(listed)
    assert result[-1] == (100, listed)
    assert [percent for percent, _ in result] == sorted(percent for percent, _ in result)
    whole = reached(listed)
    for percent, kept in result:
        taken = sum(one.count or 0 for one in kept if one.transition.source is not None)
        assert taken * 100 >= percent * sum(counts.values())
        assert any(one.kind == "extra" for one in kept)
        assert {one.transition.source for one in kept} & whole <= reached(kept)


def reached(shown: list[Shown]) -> set[str]:
    """Return the states that the start leads to."""
    states: set[str | None] = {None}
    while fresh := {o.transition.target for o in shown if o.transition.source in states} - states:
        states |= fresh
    return {state for state in states if state is not None}


def test_without_frequencies_the_whole_is_the_only_share() -> None:
    """Nor is a part of few steps offered."""
    few = [Shown(n, T("a", f"x{n}", "b"), "plain", n) for n in range(FEWEST - 1)]
    assert shares(few) == [(100, few)]
    unknown = [Shown(n, T("a", f"x{n}", "b"), "plain") for n in range(FEWEST + 5)]
    assert shares(unknown) == [(100, unknown)]
