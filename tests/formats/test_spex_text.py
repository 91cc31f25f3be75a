"""The text form of models: plain names as they always were, and every other name in quotes."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spex_shards.domain.transition import INITIALISATION, Transition
from spex_shards.errors import DeserialisationFailed
from spex_shards.formats import spex_text

HEAD = "Specification: Shop.Order\nLearning mode: false\nTransitions:\n"
EXAMPLE = HEAD + "nil --[__initialisation__]-> s0\ns0 --[a]-> s1\n"

NASTY = ["a", " ", "\t", '"', "\\", "nil", " --[", "]-> ", "-", "[", "]", ">", "\n", "\r", "\x85", "\u2028", "\x1c"]
NASTY += ["\xa0", "\ufeff", "é", "😀", ":", "Transitions:", "Specification: ", "__initialisation__"]
names = st.lists(st.sampled_from(NASTY), max_size=5).map("".join) | st.text(max_size=4)
actions = names.filter(lambda name: name != INITIALISATION)
transitions = st.builds(Transition, names, actions, names) | st.builds(
    Transition, st.none(), st.just(INITIALISATION), names
)
plain = st.text(st.sampled_from("abz09 .\\:é\tü_-[]>/'\""), min_size=1, max_size=8).filter(
    lambda name: name == name.strip() and name[0] != '"' and " --[" not in name and "]-> " not in name and name != "nil"
)


def with_line(line):
    """Return a text of one transition line."""
    return f"{HEAD}{line}\n"


def only(text):
    """Return the only transition of a text."""
    (transition,) = spex_text.parse(text).transitions
    return transition


def test_the_example_reads_and_writes_back_to_the_same_bytes():
    """It is the ancestor's form, with the initialisation first because states sort after it."""
    parsed = spex_text.parse(EXAMPLE)
    assert parsed == ("Shop.Order", False, {(None, INITIALISATION, "s0"), ("s0", "a", "s1")})
    assert spex_text.write(*parsed) == EXAMPLE


def test_a_model_without_transitions_is_three_lines():
    """The header stays, and one line feed ends the text."""
    assert spex_text.write("X", True, []) == "Specification: X\nLearning mode: true\nTransitions:\n"


def test_transitions_are_written_sorted_whatever_their_order():
    """So a diff of two files is readable."""
    steps = [Transition("b", "x", "c"), Transition("a", "y", "b"), Transition(None, INITIALISATION, "a")]
    assert spex_text.write("X", False, steps) == spex_text.write("X", False, steps[::-1])
    lines = spex_text.write("X", False, steps).splitlines()[3:]
    assert lines == sorted(lines)


@given(names, st.booleans(), st.frozensets(transitions, max_size=4))
@settings(max_examples=600)
@example("nil", False, frozenset({Transition("nil", "nil", "nil"), Transition(None, INITIALISATION, "nil")}))
@example("", True, frozenset({Transition("", "", "")}))
@example("a --[b]-> c", True, frozenset({Transition("a --[b]-> c", "d --[e]-> f", "g --[h]-> i")}))
def test_every_name_survives_writing_and_reading(name, learning, steps):
    """So does the specification's name, also with CRLF at the line ends."""
    text = spex_text.write(name, learning, steps)
    assert spex_text.parse(text) == (name, learning, steps)
    assert spex_text.parse(text.replace("\n", "\r\n")) == (name, learning, steps)
    assert spex_text.specification_named_in(text) == name
    assert len(text.splitlines()) == 3 + len(steps)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


@given(st.lists(st.tuples(plain, plain, plain), max_size=5))
@settings(max_examples=300)
def test_plain_names_stand_byte_for_byte(steps):
    """They may contain backslashes, brackets, quotation marks, and anything else that is unambiguous."""
    lines = sorted({f"{source} --[{action}]-> {target}" for source, action, target in steps})
    text = HEAD + "".join(line + "\n" for line in lines)
    parsed = spex_text.parse(text)
    assert parsed.transitions == set(steps)
    assert spex_text.write(*parsed) == text


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("", '""'),
        (" a", '" a"'),
        ("a\xa0", '"a\xa0"'),
        ("a\nb", r'"a\nb"'),
        ("a\rb", r'"a\rb"'),
        ("a\x85b", r'"a\u0085b"'),
        ("a\u2028b", r'"a\u2028b"'),
        ('"a', r'"\"a"'),
        ("a]-> b", '"a]-> b"'),
        ("a --[b", '"a --[b"'),
        ("nil", '"nil"'),
        ("a\tb", "a\tb"),
        ("a]->b", "a]->b"),
        ('a"b\\n', 'a"b\\n'),
        ("Transitions:", "Transitions:"),
    ],
)
def test_names_are_quoted_exactly_where_they_must_be(name, written):
    """All other names stay plain."""
    text = spex_text.write("X", False, [Transition(name, "x", name)])
    assert text.split("\n")[3] == f"{written} --[x]-> {written}"


def test_an_action_or_a_specification_may_be_called_nil_plainly():
    """Only a state of that name could be mistaken for "no state"."""
    assert "a --[nil]-> b" in spex_text.write("nil", False, [Transition("a", "nil", "b")])
    assert only(with_line("a --[nil]-> b")) == ("a", "nil", "b")
    assert spex_text.write("nil", False, []).startswith("Specification: nil\n")


@pytest.mark.parametrize("position", range(4))
def test_a_lone_surrogate_cannot_be_written(position):
    """No file can hold it."""
    words = ["X", "a", "b", "c"]
    words[position] = "\ud800"
    with pytest.raises(ValueError, match=r"must not contain a lone surrogate, got: '.ud800'"):
        spex_text.write(words[0], False, [Transition(*words[1:])])


def test_blank_lines_and_blanks_around_lines_do_not_count():
    """They may stand before, between and after all lines."""
    text = "\n  \n" + EXAMPLE.replace("\n", "  \r\n\n\t") + "\n\n"
    assert spex_text.parse(text) == spex_text.parse(EXAMPLE)


def test_only_a_line_feed_separates_lines():
    """Unicode's other line ends are parts of names."""
    assert only(with_line("a\x0bb --[c\u2028d]-> e\x85f")) == ("a\x0bb", "c\u2028d", "e\x85f")


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        ("", 1, "the header 'Specification:' is missing, got: ''"),
        ("\n\nhello\n", 3, "the header 'Specification:' is missing, got: 'hello'"),
        ("Specification:\n", 1, 'an empty name must be written ""'),
        ("Specification: X\n", 1, "the header 'Learning mode:' is missing, got: ''"),
        (
            "Learning mode: true\n",
            1,
            "'Learning mode: true' is doubled or out of order; 'Spe",
        ),
        ("Specification: X\nSpecification: X\n", 2, "'Specification: X' is doubled or out of order"),
        ("Specification: X\nLearning mode: yes\n", 2, "the learning mode must be true or false, got: 'yes'"),
        ("Specification: X\nLearning mode: True\n", 2, "the learning mode must be true or false, got: 'True'"),
        ("Specification: X\nLearning mode: true\n\n\na --[b]-> c\n", 5, "the header 'Transitions:' is missing"),
        (HEAD[:-1] + " a\n", 3, "nothing must follow 'Transitions:' on its line, got: 'a'"),
        (with_line("Learning mode: true"), 4, "'Learning mode: true' is a doubled header"),
        (with_line("Transitions:"), 4, "'Transitions:' is a doubled header"),
        (EXAMPLE + "s1 -[b]-> s2\n", 6, "'s1 -[b]-> s2' is no transition"),
        (with_line("s1 --[b]->"), 4, "'s1 --[b]->' is no transition"),
        (with_line("a ]->  --[b"), 4, "']-> ' must follow the name at 'b'"),
        (with_line("a --[]-> b"), 4, 'an empty name must be written ""'),
        (with_line("a --[b]-> c --[d]-> e"), 4, "a name that contains ']-> ' must be quoted, got: 'c --[d]-> e'"),
        (with_line("a --[b --[c]-> d"), 4, "a name that contains ' --[' must be quoted, got: 'b --[c'"),
        (with_line("nil --[b]-> c"), 4, "nil must be the source of __initialisation__ only, got the action: 'b'"),
        (with_line("a --[__initialisation__]-> c"), 4, "the source of __initialisation__ must be nil, got: 'a'"),
        (with_line('"nil" --[__initialisation__]-> c'), 4, "the source of __initialisation__ must be nil, got: 'nil'"),
        (with_line("a --[b]-> nil"), 4, 'nil must not be a target; a state of that name is written "nil"'),
        (with_line('"a --[b]-> c'), 4, "a name that begins with a quotation mark must be a JSON string"),
        (with_line('"a"b --[b]-> c'), 4, "' --[' must follow the name at"),
        (with_line('a --["b" ]-> c'), 4, "']-> ' must follow the name at"),
        (with_line('a --[b]-> "c" d'), 4, "nothing must follow a quoted name, got: ' d'"),
        (with_line(r'a --[b]-> "\ud800"'), 4, "a name must not contain a lone surrogate"),
    ],
)
def test_malformed_text_is_an_error_with_its_line_and_rule(text, line, rule):
    """The number counts from 1, including blank lines."""
    with pytest.raises(DeserialisationFailed) as caught:
        spex_text.parse(text)
    assert str(caught.value).startswith(f"line {line}: {rule}")
    assert caught.value.context == {"line": line}


@pytest.mark.parametrize(
    ("text", "name"), [(EXAMPLE, "Shop.Order"), ("\nSpecification: X\nrubbish", "X"), ("rubbish", None), ("", None)]
)
def test_the_name_can_be_read_from_a_text_that_is_malformed_further_down(text, name):
    """So the error can be assigned to the right specification."""
    assert spex_text.specification_named_in(text) == name


@given(st.lists(st.sampled_from([*NASTY, HEAD, "a --[b]-> c\n", '"a" --["b"]-> "c"\n']), max_size=12).map("".join))
@settings(max_examples=400)
def test_any_text_is_read_or_refused_with_a_line(text):
    """A text that is read can be written and read again."""
    try:
        parsed = spex_text.parse(text)
    except DeserialisationFailed as error:
        line = error.context["line"]
    else:
        line = 1
        assert spex_text.parse(spex_text.write(*parsed)) == parsed
    assert 1 <= line <= text.count("\n") + 1
