"""Models in other forms (.aut, dot, JSON and Mermaid): round trips, and errors."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spex_shards as spex
from spex_shards.checking.quotient import quotient
from spex_shards.formats import aut_text, dot_text, json_text, mermaid_text
from spex_shards.formats.marks import Mark
from spex_shards.render import Form, drawn_svg, form_of, model_of, read_as, written_as

T = spex.Transition
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
tricky = st.sampled_from(
    ["", "i", "tau", "'i", "''tau", "a,b", '"', "\\", "\\n", "\\u0041", "&amp;", "&#65;", "nil", "<b>", " x "]
)
actions = (texts | tricky).filter(lambda name: name != spex.INITIALISATION) | st.just(spex.INTERNAL)
states = texts | tricky
any_text = st.text(max_size=6)
steps = st.lists(st.builds(T, states, actions, states), max_size=8)
starts = st.lists(states, min_size=1, max_size=2)


def model(transitions: list[T], initial: list[str], name: str = "shop.Order") -> spex.ImplModel:
    """Return a model of these transitions."""
    first = [T(None, spex.INITIALISATION, state) for state in initial]
    return spex.ImplModel(specification=name, transitions=[*first, *transitions])


ORDER = model([T("new", "pay", "paid"), T("paid", "ship", "end"), T("paid", "cancel", "end")], ["new"])


@settings(deadline=None)
@given(transitions=steps, initial=starts, name=texts.filter(bool), learning=st.booleans())
def test_json_says_everything(transitions: list[T], initial: list[str], name: str, learning: bool) -> None:
    """Besides, equal models have equal texts."""
    given_model = spex.ImplModel(
        specification=name, transitions=model(transitions, initial).transitions, learning_mode=learning
    )
    text = json_text.write(name, learning, given_model.transitions)
    assert json_text.parse(text) == (name, learning, given_model.transitions)
    assert json_text.write(name, learning, frozenset(reversed(list(given_model.transitions)))) == text


@settings(deadline=None)
@given(transitions=steps, initial=starts, name=texts)
def test_dot_says_all_transitions(transitions: list[T], initial: list[str], name: str) -> None:
    """This holds whatever the names contain."""
    found = model(transitions, initial).transitions
    assert dot_text.parse(dot_text.write(name, found)) == (name, found)


@settings(deadline=None)
@given(transitions=steps, initial=states)
def test_aut_says_all_but_the_names_of_states(transitions: list[T], initial: str) -> None:
    """Reading gives the same model with numbered states, the initial one 0; a second round trip changes nothing."""
    before = model(transitions, [initial])
    for silent in ("i", "tau"):
        after = aut_text.parse(aut_text.write(before.transitions, silent))
        assert len(after) == len(before.transitions)
        assert sorted(t.action for t in after) == sorted(t.action for t in before.transitions)
        system = spex.LTS(initial, transitions)
        numbered = spex.LTS("0", [t for t in after if t.source is not None])
        for equivalence in spex.Equivalence:
            assert spex.compare(numbered, system, equivalence).equivalent
        assert T(None, spex.INITIALISATION, "0") in after


def test_silent_and_visible_actions_are_mapped_on_the_way_and_back() -> None:
    """An action called i is visible here, and must not be silent there."""
    names = ["i", "tau", "'i", spex.INTERNAL, "pay"]
    found = model([T("a", name, "b") for name in names], ["a"]).transitions
    lines = aut_text.write(found).splitlines()
    labels = ["\"''i\"", '"\'i"', '"\'tau"', '"pay"', "i"]
    assert lines == ["des (0, 5, 2)", *(f"(0, {label}, 1)" for label in labels)]
    assert "(0, tau, 1)" in aut_text.write(found, "tau").splitlines()
    read = aut_text.parse('des (0, 3, 1)\n(0, "i", 0)\n(0, tau, 0)\n(0,say "a, b",0)\n')
    assert {t.action for t in read} == {spex.INITIALISATION, spex.INTERNAL, 'say "a, b"'}


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        ("", 1, "the header des (INITIAL, TRANSITIONS, STATES) is missing"),
        ("\n\nhello", 3, "the header must be des (INITIAL, TRANSITIONS, STATES), got: 'hello'"),
        ("des (3, 0, 3)", 1, "the initial state must be below the number of states 3, got: 3"),
        ('des (0, 2, 3)\n(0, "a", 1)', 1, "the header must give the number of transitions, 1, got: 2"),
        ('des (0, 1, 1)\n\n(0, "a", 1)', 3, "a state must be below the number of states 1, got: 1"),
        ("des (0, 1, 2)\n0 a 1", 2, "a transition must be (SOURCE, LABEL, TARGET), got: '0 a 1'"),
        ("des (0, 1, 2)\n(0, 1)", 2, "a transition must be (SOURCE, LABEL, TARGET), got: '(0, 1)'"),
        ("des (0, 1, 2)\n[0, a, 1)", 2, "a transition must be (SOURCE, LABEL, TARGET), got: '[0, a, 1)'"),
        ("des (0, 1, 2)\n(0, , 1)", 2, 'an empty label must be written ""'),
        ("des (0, 1, 2)\n(0, __internal__, 1)", 2, "a label must not be __internal__, which has another meaning here"),
        ("des (0, 1, 2)\n(0, __initialisation__, 1)", 2, "a label must not be __initialisation__"),
        ('des (0, 1, 2)\n(0, "\\ud800", 1)', 2, "a label must not contain a lone surrogate"),
        ("des (0, 1, " + "9" * 5000 + ")", 1, "the header must be des"),
    ],
)
def test_a_malformed_aut_is_refused_with_line_and_rule(text: str, line: int, rule: str) -> None:
    """It is refused as every malformed model is."""
    with pytest.raises(spex.DeserialisationFailed, match=re.escape(f"line {line}: {rule}")) as caught:
        aut_text.parse(text)
    assert caught.value.context == {"line": line}


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        ("", 1, "a model must be a digraph, got: ''"),
        ("graph { a }", 1, "a model must be a digraph, got: 'graph'"),
        ("digraph {\n a -- b }", 2, "this cannot be read here: '-- b }'"),
        ("digraph {\n subgraph x { } }", 2, "a model must have no subgraph"),
        ("digraph {\n a [label=<b>] }", 2, "this cannot be read here: '<b>] }'"),
        ("digraph {\n a:port -> b }", 2, "this cannot be read here: ':port -> b }'"),
        ('digraph { a -> b [label="x"] }', 1, "there is no initial state: a node of shape=point must have an edge"),
        ("digraph { p [shape=point]\n p -> a\n a -> b }", 3, "an edge between states must have a label, its action"),
        (
            'digraph { p [shape=point]\n p -> a [label="x"] }',
            2,
            "an edge from a start mark must have no label, got: 'x'",
        ),
        ('digraph { p [shape=point] p -> a\n a -> p [label="x"] }', 2, "no edge must lead to a start mark"),
        ("digraph {\n a ->", 2, "a name must stand here, got: 'the end of the text'"),
        ('digraph {\n "a', 2, "this cannot be read here: '\"a'"),
        ("digraph { a } b", 1, "nothing must follow the graph, got: 'b'"),
        ('digraph {\n "&#9999999;" }', 2, "&#9999999; is no character"),
        ('digraph {\n "&#55296;" }', 2, "a name must not contain a lone surrogate"),
        ("digraph { p [shape=point] p -> a\n a -> a [label=__initialisation__] }", 2, "an action must not be __init"),
    ],
)
def test_a_malformed_dot_is_refused_with_line_and_rule(text: str, line: int, rule: str) -> None:
    """So is a graph that is valid dot but no model."""
    with pytest.raises(spex.DeserialisationFailed, match=re.escape(f"line {line}: {rule}")) as caught:
        dot_text.parse(text)
    assert caught.value.context == {"line": line}


def test_a_dot_written_by_hand_is_read() -> None:
    """It may have comments, defaults, chains, attributes and unquoted identifiers."""
    text = """// life of an order
    strict digraph Order { rankdir=LR; node [shape=box color="red"];
      start [shape=point]; start -> new;   /* it begins
      here */
      # and goes on
      new -> paid -> packed [label="go", color=blue];
      packed [label="all\\npacked"]; }"""
    name, found = dot_text.parse(text)
    assert name == "Order"
    assert found == {
        T(None, spex.INITIALISATION, "new"), T("new", "go", "paid"), T("paid", "go", "all\npacked"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        ("{\n nonsense", 2, "it must be JSON: "),
        ("[" * 100_000, 1, "it is nested too deeply"),
        ("[]", 1, 'it must be an object with "format": "spex_shards.model"'),
        ("HEAD }", 1, "specification must be a text, got: None"),
        ('HEAD, "specification": "x", "learning_mode": 1}', 1, "learning_mode must be true or false, got: 1"),
        ('BODY, "initial_states": "ab"}', 1, "initial_states must be a list, got: 'ab'"),
        ('BODY, "initial_states": [], "transitions": [["a", "b"]]}', 1, "transitions[0] must be a list of source"),
        ('BODY, "initial_states": [], "transitions": [["a", "b", 3]]}', 1, "transitions[0] must be made of texts"),
        ('BODY, "initial_states": [null], "transitions": []}', 1, "initial_states[0] must be made of texts"),
        ('BODY, "initial_states": ["\\ud800"], "transitions": []}', 1, "initial_states[0] must not contain a lone"),
        (
            'BODY, "initial_states": [], "transitions": [["a", "__initialisation__", "b"]]}',
            1,
            "transitions[0]: the action must not be __initialisation__; list the state among initial_states",
        ),
    ],
)
def test_a_malformed_json_is_refused_with_line_and_rule(text: str, line: int, rule: str) -> None:
    """The error names the entry."""
    head = '{"format": "spex_shards.model", "version": 1'
    text = text.replace("HEAD", head).replace("BODY", head + ', "specification": "x", "learning_mode": false')
    with pytest.raises(spex.DeserialisationFailed, match=re.escape(f"line {line}: {rule}")):
        json_text.parse(text)


@settings(deadline=None)
@given(transitions=steps, initial=starts)
def test_no_name_is_taken_for_syntax_in_mermaid(transitions: list[T], initial: list[str]) -> None:
    """Every line has a known shape, and there are as many lines as states and transitions."""
    found = model(transitions, initial)
    lines = found.to_mermaid().splitlines()
    safe = r"(?:[\w .]|#\w+;)+"
    shapes = rf"    (?:direction LR|s\d+ : {safe}|\[\*\] --> s\d+|s\d+ --> s\d+ : {safe})"
    assert lines[0] == "stateDiagram-v2"
    assert all(re.fullmatch(shapes, line) for line in lines[1:]), lines
    names = {state for t in found.transitions for state in (t.source, t.target) if state is not None}
    assert len(lines) == 2 + len(names) + len(found.transitions)


def test_a_name_that_mermaid_reads_as_a_statement_in_any_place_is_broken_up() -> None:
    """Other names keep their blanks."""
    lines = mermaid_text.write([T("a direction LR", "go on", "b")]).splitlines()
    assert lines[2:] == ["    s0 : a#32;direction#32;LR", "    s1 : b", "    s0 --> s1 : go on"]


def test_a_small_model_as_mermaid() -> None:
    """The text describes the drawing."""
    assert mermaid_text.write([*ORDER.transitions, T("end", spex.INTERNAL, "new")]).splitlines()[2:] == [
        "    s0 : new",
        "    s1 : end",
        "    s2 : paid",
        "    [*] --> s0",
        "    s1 --> s0 : τ",
        "    s0 --> s2 : pay",
        "    s2 --> s1 : cancel",
        "    s2 --> s1 : ship",
    ]


# ---------------------------------------------------------------------- files


@pytest.mark.parametrize("form", [Form.SPEX, Form.AUT, Form.DOT, Form.JSON])
def test_files_are_read_by_their_ending(tmp_path: Path, form: Form) -> None:
    """Only .aut loses the name and the states."""
    path = tmp_path / f"order.{form}"
    path.write_text(written_as(ORDER, form))
    found = read_as(path, form_of(path))
    if form is Form.AUT:
        assert (found.specification, len(found.transitions)) == ("order", 4)
    else:
        assert found == ORDER
    assert read_as(path, form, "Other").specification == "Other"


def test_what_cannot_be_read_or_written_says_why(tmp_path: Path) -> None:
    """The error names the file and the line."""
    with pytest.raises(ValueError, match=r"x\.txt: the ending must be one of \.spex, "):
        form_of(Path("x.txt"))
    with pytest.raises(ValueError, match="what is read must be spex, aut, dot, json, got: mermaid"):
        read_as(Path("x.mmd"), Form.MERMAID)
    with pytest.raises(ValueError, match="svg is drawn by `render`"):
        written_as(ORDER, Form.SVG)
    with pytest.raises(ValueError, match="exactly one initial state, the model has 2"):
        written_as(model([], ["a", "b"]), Form.AUT)
    for form in (Form.AUT, Form.DOT):
        with pytest.raises(ValueError, match="must not contain a lone surrogate"):
            written_as(model([T("a", "\ud800", "b")], ["a"]), form)
    path = tmp_path / "bad.aut"
    path.write_bytes(b"des (0, 0, 1)\n\xff")
    with pytest.raises(spex.DeserialisationFailed, match=r"bad\.aut: line 2: the file must be UTF-8") as caught:
        read_as(path, Form.AUT)
    assert caught.value.context == {"file": str(path), "line": 2}


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read only up to the limit."""
    monkeypatch.setattr("spex_shards.render.formats.MAX_FILE_BYTES", 100)
    path = tmp_path / "big.json"
    path.write_text(" " * 101)
    with pytest.raises(spex.DeserialisationFailed, match="larger than 100 bytes"):
        read_as(path, Form.JSON)


@pytest.mark.tool("dot")
@pytest.mark.parametrize("name", ["new", 'a"b', "back\\slash", "<&>", "ü τ", "{}"])
def test_graphviz_draws_what_is_written(name: str) -> None:
    """It shows each name as it is."""
    drawn = drawn_svg(model([T(name, "go", "end")], [name]))
    assert drawn.startswith("<?xml")
    assert name in unescape(drawn).replace("\xa0", " ")


def test_without_graphviz_svg_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other form needs it."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(FileNotFoundError, match="Graphviz is not installed"):
        drawn_svg(ORDER)


@pytest.mark.tool("dot")
def test_what_graphviz_refuses_or_takes_too_long_for_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has Graphviz's own text."""
    monkeypatch.setattr(spex.ImplModel, "to_dot", lambda _: "digraph {")
    with pytest.raises(ValueError, match="Graphviz could not draw the model: Error"):
        drawn_svg(ORDER)

    def late(*arguments: object, **options: object) -> None:
        raise subprocess.TimeoutExpired("dot", 1)

    monkeypatch.setattr(subprocess, "run", late)
    with pytest.raises(ValueError, match="did not draw the model within 120 s"):
        drawn_svg(ORDER)


# ---------------------------------------------------------------------- values


def test_the_difference_of_two_models_is_what_was_added_and_removed() -> None:
    """It is false if there is none; its text has a line per transition."""
    other = model([T("new", "pay", "paid"), T("paid", "ship", "done")], ["new"])
    found = ORDER.diff(other)
    assert found.added == (T("paid", "ship", "done"),)
    assert found.removed == (T("paid", "cancel", "end"), T("paid", "ship", "end"))
    assert str(found) == "- paid --[cancel]-> end\n- paid --[ship]-> end\n+ paid --[ship]-> done"
    assert not ORDER.diff(model(list(ORDER.transitions - {T(None, spex.INITIALISATION, "new")}), ["new"], "another"))
    with pytest.raises(TypeError, match="a model can be compared with a model only"):
        ORDER.diff(3)  # type: ignore[arg-type]


@settings(deadline=None)
@given(transitions=steps, initial=states, equivalence=st.sampled_from(list(spex.Equivalence)))
def test_a_quotient_is_equivalent_minimal_and_says_its_classes(
    transitions: list[T], initial: str, equivalence: spex.Equivalence
) -> None:
    """Each reachable state is in exactly one class, named after one of its members."""
    before = model(transitions, [initial])
    found = quotient(before, equivalence)
    small = spex.LTS(*found.model.initialisations, [t for t in found.model.transitions if t.source is not None])
    assert spex.compare(small, spex.LTS(initial, transitions), equivalence).equivalent
    members = [state for listed in found.classes.values() for state in listed]
    everything = {initial} | {state for t in transitions for state in (t.source, t.target)}
    assert sorted([*members, *found.unreachable]) == sorted(everything)
    assert all(name == listed[0] for name, listed in found.classes.items())
    again = quotient(found.model, equivalence)
    assert all(len(listed) == 1 for listed in again.classes.values())


def test_a_quotient_needs_one_initialisation() -> None:
    """The error says how many there are."""
    with pytest.raises(ValueError, match=r"only a model with one initialisation can be minimised, shop\.Order has 2"):
        quotient(model([], ["a", "b"]))


def test_a_notebook_shows_a_drawing_and_a_table() -> None:
    """Names are escaped and no script is used; large models are not drawn, and long tables are cut."""
    shown = model([T("<b>", "a&b", "")], ["<b>"])
    html = shown._repr_html_()
    assert "<summary>shop.Order: 1 transition, learning off</summary>" in html
    assert "<tr><td>&lt;b&gt;</td><td>a&amp;b</td><td>&#x27;&#x27;</td></tr>" in html
    assert "<script" not in html
    bundle = shown._repr_mimebundle_(include=None, exclude=None)
    assert set(bundle) == {"text/plain", "text/html", "image/svg+xml", "text/vnd.mermaid"}
    assert bundle["text/html"] == html
    assert bundle["image/svg+xml"] in html
    picture = ET.fromstring(bundle["image/svg+xml"])
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")] == [None, "<b>", "''"]
    large = model([T(f"s{n}", "go", f"s{n + 1}") for n in range(600)], ["s0"])
    assert set(large._repr_mimebundle_()) == {"text/plain", "text/html"}
    assert "<details open>" in large._repr_html_()
    assert "… and 101 more" in large._repr_html_()


def test_a_notebook_shows_specifications_and_results() -> None:
    """A result has its sentence, and what deviates and what was not seen, in the drawing, the table and the diagram."""
    order = spex.Specification.define(
        "notebook.Order", [("new", "pay", "paid"), ("paid", "ship", "sent"), ("new", "stop", "stopped")]
    )
    bundle = order._repr_mimebundle_()
    assert "notebook.Order: 3 specified transitions" in bundle["text/html"]
    assert "[*] --> s0" in bundle["text/vnd.mermaid"]
    seen = spex.ImplModel(specification="notebook.Order", transitions=[*ORDER.transitions, T("end", "pay", "new")])
    result = spex.check(seen, order)
    html = result._repr_html_()
    assert html.startswith(f"<p><b>violation: {escape(result.explanation.sentence)}</b><br>")
    assert '<g class="edge extra"' in html
    assert '<g class="edge missing"' in html
    assert "<td>not seen</td>" in html
    bundle = result._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "image/svg+xml", "text/vnd.mermaid"}
    assert bundle["text/plain"] == repr(result)
    assert "stop #lpar;not seen#rpar;" in bundle["text/vnd.mermaid"]
    good = spex.ImplModel(
        specification="notebook.Order", transitions=[(None, spex.INITIALISATION, "new"), *order.transitions]
    )
    assert spex.check(good, order)._repr_html_().startswith("<p><b>equivalent</b></p><svg")
    compared = spex.compare(spex.LTS(1, [(1, "go", 2), (2, "steal", 3)]), spex.LTS(1, [(1, "go", 2)]))
    assert "LTS(1, 2 transitions)" in compared._repr_html_()
    assert '<g class="edge extra" data-numbers="2" data-source="2"' in compared._repr_html_()
    related = spex.check(seen, order, relation="trace_inclusion")
    assert related._repr_html_().startswith("<p><b>violation: ")
    assert '<g class="edge extra"' in related._repr_html_()
    assert spex.check(good, order, relation="trace_inclusion")._repr_html_().startswith("<p><b>holds</b></p><svg")


@settings(deadline=None)
@given(transitions=st.lists(st.builds(T, any_text, any_text, any_text), max_size=5))
def test_a_drawing_is_well_formed_whatever_names_it_has(transitions: list[T]) -> None:
    """Control characters and lone surrogates among them."""
    found = model([t for t in transitions if t.action != spex.INITIALISATION], ["start"])
    ET.fromstring(found._repr_mimebundle_()["image/svg+xml"].encode())


MARKS = {T("paid", "lose", "lost"): Mark.MISSING, T("new", "pay", "paid"): Mark.DEVIATING,
         T("paid", "burn", "ash"): Mark.DEVIATING, T("lost", "find", "lost"): Mark.MISSING}  # fmt: skip


def test_mermaid_marks_what_deviates_and_what_is_missing() -> None:
    """At the label, and at the border of a state that nothing else leads to."""
    lines = mermaid_text.write([T(None, spex.INITIALISATION, "new"), T("new", "pay", "paid")], MARKS).splitlines()
    number = {line.split(" : ")[1]: line.split(" : ")[0].strip() for line in lines if re.match(r"    s\d+ : ", line)}
    assert f"    {number['paid']} --> {number['lost']} : lose #lpar;not seen#rpar;" in lines
    assert f"    {number['new']} --> {number['paid']} : pay #lpar;deviates#rpar;" in lines
    assert f"    class {number['lost']} missing" in lines
    assert "    classDef missing stroke-dasharray:6 5" in lines
    deviating = next(line for line in lines if line.endswith(" deviating"))
    assert set(deviating.split()[1].split(",")) == {number["ash"], number["paid"]}


def test_dot_marks_what_deviates_and_what_is_missing() -> None:
    """What is not marked is written as before, and a reader finds all of it."""
    plain = [T(None, spex.INITIALISATION, "new"), T("new", "pay", "paid")]
    text = dot_text.write("shop.Order", plain, MARKS)
    assert dot_text.parse(text) == ("shop.Order", frozenset({*plain, *MARKS}))
    assert '[label="lose", style=dashed, fontcolor="#4d5663"];' in text
    assert '[label="burn", color="#b3201b", fontcolor="#b3201b", penwidth=2.5];' in text
    assert '[label="lost", style="rounded,dashed"];' in text
    assert dot_text.write("shop.Order", plain, {}) == dot_text.write("shop.Order", plain)
    start = dot_text.write("x", [], {plain[0]: Mark.MISSING})
    assert 'start0 -> s0 [style=dashed, fontcolor="#4d5663"];' in start
    assert dot_text.parse(start) == ("x", frozenset(plain[:1]))


def test_a_system_can_be_drawn_and_shown_as_well() -> None:
    """The states 1 and "1" stay different."""
    system = spex.LTS(1, [(1, "go", "1"), ("1", "go", 2)])
    assert system.to_mermaid().splitlines()[2:] == [
        "    s0 : 1 #40;int#41;",
        "    s1 : 1",
        "    s2 : 2",
        "    [*] --> s0",
        "    s1 --> s2 : go",
        "    s0 --> s1 : go",
    ]
    assert "2 transitions" in system._repr_html_()
    assert set(system._repr_mimebundle_()) == {"text/plain", "text/html", "image/svg+xml", "text/vnd.mermaid"}
    assert dot_text.parse(system.to_dot())[1] == set(system._as_text())


def test_a_specification_as_a_model_conforms_to_itself() -> None:
    """It covers everything."""
    order = spex.Specification.define("forms.Order", [("a", "b", "c")], initial_state="a")
    assert spex.check(model_of(order), order).equivalent
