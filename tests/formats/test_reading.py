"""Specifications from Mermaid, SCXML and Aldebaran: round trips, diagrams by hand, and errors with their lines."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards.domain.nesting import Edge, Nested, flattened
from spex_shards.formats import mermaid_text, scxml_text
from spex_shards.formats.marks import Mark
from tests.formats.test_forms import actions, states

T = spex.Transition
BY_HAND = """---
title: An order
---
%%{init: {"theme": "dark"}}%%
stateDiagram-v2
    direction LR
    %% the states
    state "is paid" as paid
    shipped : on its way
    done
    [*] --> new
    new --> paid : pay
    new:::faint --> cancelled : cancel
    paid --> shipped : ship it
    shipped --> done : τ
    done --> [*]
    note right of new : not paid yet
    note left of paid
        a --> b
    end note
    classDef faint fill:#fff
    class done faint
"""
CHART = """<?xml version="1.0"?>
<scxml xmlns="http://www.w3.org/2005/07/scxml" version="1.0" initial="idle">
  <datamodel><data id="x" expr="1"/></datamodel>
  <state id="idle"><transition event="start again" target="work"/></state>
  <state id="work">
    <onentry><log expr="'hello'"/></onentry>
    <initial><transition target="read"/></initial>
    <transition event="stop" target="end"/>
    <transition event="tick"/>
    <state id="read">
      <transition event="next" cond="x &gt; 1" target="write"/>
      <transition event="stop" target="idle"/>
    </state>
    <state id="write"><transition target="read"/></state>
  </state>
  <final id="end"/>
</scxml>
"""


@given(st.lists(st.builds(T, states, actions, states), max_size=8), states)
def test_what_is_written_as_mermaid_is_read_back(transitions: list[T], initial: str) -> None:
    """Whatever the names are; also where arrows are marked."""
    whole = {T(None, spex.INITIALISATION, initial), *transitions}
    assert set(mermaid_text.parse(mermaid_text.write(whole))) == whole
    marks = dict.fromkeys(transitions[:2], Mark.DEVIATING) | dict.fromkeys(transitions[2:3], Mark.MISSING)
    assert set(mermaid_text.parse(mermaid_text.write(whole, marks))) == whole


def test_a_diagram_by_hand_is_read() -> None:
    """With comments, notes, styles, descriptions and an end."""
    cls = spex.Specification.from_mermaid(BY_HAND, "formats.Hand", judge="run")
    assert cls.initial_state == "new"
    assert cls.judge == "run"
    assert list(cls.transitions) == [
        ("new", "pay", "is paid"), ("new", "cancel", "cancelled"), ("is paid", "ship it", "on its way"),
        ("on its way", spex.INTERNAL, "done"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        ("", 1, "must begin with stateDiagram-v2"),
        ("graph LR\n", 1, "must begin with stateDiagram-v2, got: 'graph LR'"),
        ("stateDiagram\n[*] --> a\na --> b\n", 3, "an arrow needs an action"),
        ("stateDiagram\na --> b : go", 2, "one initial state, written"),
        ("stateDiagram\n[*] --> a\n[*] --> b\na --> b : go", 3, "one initial state.*got: 2"),
        ("stateDiagram\n[*] --> a\nstate a {\n", 3, "states within states"),
        ("stateDiagram\nstate f <<fork>>", 2, "forks"),
        ("stateDiagram\n[*] --> a\na -> b", 3, "a line must be SOURCE --> TARGET : ACTION"),
        ("stateDiagram\na : x\nb : x\n[*] --> a\na --> b : go", 5, "two states must not have one name, 'x': a and b"),
    ],
)
def test_a_malformed_diagram_is_refused_with_line_and_rule(text: str, line: int, rule: str) -> None:
    """The line counts from 1."""
    with pytest.raises(spex.DeserialisationFailed, match=rule) as refused:
        spex.Specification.from_mermaid(text, "formats.Malformed")
    assert refused.value.context["line"] == line


def test_a_statechart_is_taken_apart(caplog: pytest.LogCaptureFixture) -> None:
    """Inner states take the transitions of outer ones, but not those that they surely take themselves."""
    with caplog.at_level(logging.INFO, "spex_shards"):
        cls = spex.Specification.from_scxml(CHART, "formats.Chart")
    assert cls.initial_state == "idle"
    assert set(cls.transitions) == {
        ("idle", "start", "read"), ("idle", "again", "read"), ("read", "next", "write"), ("read", "stop", "idle"),
        ("read", "tick", "read"), ("write", spex.INTERNAL, "read"),
    }  # fmt: skip
    assert "cond: 1, datamodel: 1, onentry: 1" in caplog.text


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        ("<scxml", 1, "the XML is malformed"),
        ("<a/>", 1, "must be an <scxml>, got: <a>"),
        ("<scxml/>", 1, "there must be a state"),
        ('<!DOCTYPE scxml [<!ENTITY a "b">]>\n<scxml/>', 1, "document type declaration is refused"),
        ('<scxml>\n<state id="a"/>\n<parallel id="p"/></scxml>', 3, "parallel regions"),
        ('<scxml>\n<state id="a"><history id="h"/></state></scxml>', 2, "history states"),
        ('<scxml>\n<state id="a"><transition event="go" target="b"/></state></scxml>', 2, "no state with the id 'b'"),
        ('<scxml>\n<state id="a"><transition event="go.*" target="a"/></state></scxml>', 2, r"without \*"),
        ('<scxml>\n<state id="a"><transition event="go" target="a a"/></state></scxml>', 2, "lead to one state"),
        ('<scxml>\n<state id="a"/>\n<state id="a"/></scxml>', 3, "an id of its own"),
        ('<scxml initial="x">\n<state id="a"/></scxml>', 1, "no state with the id 'x'"),
        ('<scxml>\n<state id="a" initial="b"><state id="c"/></state><state id="b"/></scxml>', 2, "must be within 'a'"),
        ("<scxml>" + "<state>" * 300, 1, "must not be nested deeper"),
        ("<scxml>\ud800</scxml>", 1, "lone surrogates"),
    ],
)
def test_a_malformed_statechart_is_refused_with_line_and_rule(text: str, line: int, rule: str) -> None:
    """Nothing in it is carried out, and nothing outside of it is read."""
    with pytest.raises(spex.DeserialisationFailed, match=rule) as refused:
        scxml_text.parse(text)
    assert refused.value.context["line"] == line


def test_aldebaran_text_is_a_specification_too() -> None:
    """The states' names are their numbers."""
    cls = spex.Specification.from_aut('des (1, 2, 2)\n(1, "go", 0)\n(0, i, 1)\n', "formats.Aut")
    assert cls.initial_state == "1"
    assert set(cls.transitions) == {("1", "go", "0"), ("0", spex.INTERNAL, "1")}
    with pytest.raises(spex.DeserialisationFailed, match="line 1"):
        spex.Specification.from_aut("", "formats.Aut")


def test_a_silent_step_that_is_sure_leaves_no_time_for_anything_else() -> None:
    """A chart takes it before it looks at the next event; one with a condition may be left out."""
    outer = Nested("outer")
    sure, unsure = Nested("sure", outer), Nested("unsure", outer)
    outer.initial = sure
    outer.edges = [Edge("stop", sure)]
    sure.edges = [Edge("go", unsure), Edge(spex.INTERNAL, unsure)]
    unsure.edges = [Edge(spex.INTERNAL, outer, sure=False), Edge("stop", None, sure=False)]
    assert flattened([outer, sure, unsure]) == [
        T("sure", spex.INTERNAL, "unsure"), T("unsure", spex.INTERNAL, "sure"), T("unsure", "stop", "unsure"),
        T("unsure", "stop", "sure"),
    ]  # fmt: skip
