r"""Models as Graphviz dot text, and a reader for the part of that language that can describe a model.

::

    digraph "shop.Order" {
      rankdir=LR;
      node [shape=box, style=rounded];
      start0 [shape=point, label=""];
      s0 [label="new"];
      s1 [label="paid"];
      start0 -> s0;
      s0 -> s1 [label="pay"];
    }

A node with ``shape=point`` is a start mark; its edges have no label and lead to the initial states. Any other node is a
state, named by its label, or by its identifier if it has no label. Any other edge is a transition, and its label is the
action. Other attributes (colours, ranks, defaults) are read and ignored. Subgraphs, ports, undirected edges and HTML
labels are refused. In labels, ``\`` and ``"`` are escaped by ``\``; ``&`` and control characters are written as
entities.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ..domain.difference import in_order
from ..domain.transition import INITIALISATION, Transition
from ..errors import DeserialisationFailed
from .marks import NONE, Mark, Marks, only_by

_TO_ESCAPE: Final = re.compile('[\\\\"&\x00-\x1f\x7f-\x9f\u2028\u2029]')
_ESCAPED: Final = re.compile(r"\\(.)|&(amp|lt|gt|quot);|&#(\d{1,7});", re.DOTALL)
_ENTITIES: Final = {"amp": "&", "lt": "<", "gt": ">", "quot": '"'}
_TOKEN: Final = re.compile(
    r'(?P<blank>\s+|//[^\n]*|/\*.*?\*/|\#[^\n]*)|(?P<quoted>"(?:[^"\\]|\\.)*")'
    r"|(?P<arrow>->)|(?P<sign>[{}\[\]=;,])|(?P<word>-?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)|[^\W\d]\w*)",
    re.DOTALL,
)
_LINES: Final = {
    Mark.DEVIATING: ', color="#b3201b", fontcolor="#b3201b", penwidth=2.5',
    Mark.MISSING: ', style=dashed, fontcolor="#4d5663"',
}
_BORDERS: Final = {Mark.DEVIATING: ', color="#b3201b"', Mark.MISSING: ', style="rounded,dashed"'}
_DEFAULTS: Final = ("graph", "node", "edge")


def write(name: str, transitions: Iterable[Transition], marks: Marks = NONE) -> str:
    """Return a model as text; equal models have equal texts.

    Args:
        name: The graph's name.
        transitions: The model's transitions.
        marks: The transitions that are marked: what deviates is red and thick, what is missing dashed. A reader of the
            text takes what is missing for a part of the model.

    Raises:
        ValueError: A name contains a lone surrogate.
    """
    whole = {*transitions, *marks}
    listed, borders = in_order(whole), only_by(marks, whole)
    states: dict[str, str] = {}
    for source, _, target in listed:
        for state in (source, target):
            if state is not None:
                states.setdefault(state, f"s{len(states)}")
    starts = [t for t in listed if t.source is None]
    lines = [f"digraph {quoted(name)} {{", "  rankdir=LR;", "  node [shape=box, style=rounded];"]
    lines += [f'  start{number} [shape=point, label=""];' for number in range(len(starts))]
    lines += [
        f"  {number} [label={quoted(state)}{_BORDERS[borders[state]] if state in borders else ''}];"
        for state, number in states.items()
    ]
    lines += [
        f"  start{number} -> {states[t.target]}{f' [{_LINES[marks[t]][2:]}]' if t in marks else ''};"
        for number, t in enumerate(starts)
    ]
    lines += [
        f"  {states[source]} -> {states[t.target]} [label={quoted(t.action)}{_LINES[marks[t]] if t in marks else ''}];"
        for t in listed
        if (source := t.source) is not None
    ]
    return "\n".join([*lines, "}", ""])


def quoted(name: str) -> str:
    """Return a name as a quoted label.

    Raises:
        ValueError: It contains a lone surrogate.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"a name in a model must not contain a lone surrogate, got: {name!r}") from None
    return '"' + _TO_ESCAPE.sub(_escape, name) + '"'


def parse(text: str) -> tuple[str, frozenset[Transition]]:
    """Return the graph's name (empty if it has none) and the transitions, including initialisations.

    Raises:
        DeserialisationFailed: The text is malformed, or does not describe a model. The message names the line and the
            rule; context: `line`.
    """
    reader = _Reader(list(_tokens(text)))
    name = reader.graph()
    return name, frozenset(reader.transitions())


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


class _Edge(NamedTuple):
    source: str
    target: str
    label: str | None
    line: int


def _tokens(text: str) -> Iterator[_Token]:
    position, line = 0, 1
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise _malformed(line, f"this cannot be read here: {text[position : position + 40]!r}")
        if found.lastgroup != "blank":
            yield _Token(str(found.lastgroup), found[0], line)
        line += found[0].count("\n")
        position = found.end()
    yield _Token("end", "", line)


class _Reader:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._nodes: dict[str, dict[str, str]] = {}
        self._edges: list[_Edge] = []

    def graph(self) -> str:
        if self._peek().text.lower() == "strict":
            self._next()
        token = self._next()
        if token.text.lower() != "digraph":
            raise _malformed(token.line, f"a model must be a digraph, got: {token.text!r}")
        name = self._identifier() if self._peek().text != "{" else ""
        self._take("{")
        while self._peek().text != "}":
            self._statement()
        self._take("}")
        if self._peek().kind != "end":
            raise _malformed(self._peek().line, f"nothing must follow the graph, got: {self._peek().text!r}")
        return name

    def transitions(self) -> Iterator[Transition]:
        marks = {node for node, attributes in self._nodes.items() if attributes.get("shape") == "point"}
        if not any(edge.source in marks for edge in self._edges):
            raise _malformed(1, "there is no initial state: a node of shape=point must have an edge to it")
        for edge in self._edges:
            if edge.target in marks:
                raise _malformed(edge.line, "no edge must lead to a start mark (a node of shape=point)")
            if edge.source in marks:
                if edge.label:
                    raise _malformed(edge.line, f"an edge from a start mark must have no label, got: {edge.label!r}")
                yield Transition(None, INITIALISATION, self._state(edge.target))
            elif edge.label is None:
                raise _malformed(edge.line, "an edge between states must have a label, its action")
            elif edge.label == INITIALISATION:
                raise _malformed(edge.line, f"an action must not be {INITIALISATION}: use a node of shape=point")
            else:
                yield Transition(self._state(edge.source), edge.label, self._state(edge.target))

    def _state(self, node: str) -> str:
        return self._nodes[node].get("label", node)

    def _statement(self) -> None:
        token = self._peek()
        if token.text == ";":
            self._next()
            return
        if (token.kind == "word" and token.text.lower() == "subgraph") or token.text == "{":
            raise _malformed(token.line, "a model must have no subgraph")
        name = self._identifier()
        if token.kind == "word" and name.lower() in _DEFAULTS and self._peek().text == "[":
            self._attributes()
            return
        if self._peek().text == "=":
            self._next()
            self._identifier()
            return
        chain = [name]
        while self._peek().kind == "arrow":
            self._next()
            chain.append(self._identifier())
        attributes = self._attributes()
        for node in chain:
            self._nodes.setdefault(node, {})
        if len(chain) == 1:
            self._nodes[name].update(attributes)
        for source, target in itertools.pairwise(chain):
            self._edges.append(_Edge(source, target, attributes.get("label"), token.line))

    def _attributes(self) -> dict[str, str]:
        found: dict[str, str] = {}
        while self._peek().text == "[":
            self._next()
            while self._peek().text != "]":
                key = self._identifier()
                self._take("=")
                found[key] = self._identifier()
                if self._peek().text in (";", ","):
                    self._next()
            self._next()
        return found

    def _identifier(self) -> str:
        token = self._next()
        if token.kind == "quoted":
            name = _ESCAPED.sub(lambda found: _unescaped(found, token.line), token.text[1:-1])
            _check(token.line, name)
            return name
        if token.kind != "word":
            raise _malformed(token.line, f"a name must stand here, got: {token.text or 'the end of the text'!r}")
        return token.text

    def _take(self, sign: str) -> None:
        token = self._next()
        if token.text != sign or token.kind == "quoted":
            raise _malformed(token.line, f"{sign!r} must stand here, got: {token.text or 'the end of the text'!r}")

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token


def _escape(found: re.Match[str]) -> str:
    if found[0] in '\\"':
        return f"\\{found[0]}"
    return "&amp;" if found[0] == "&" else f"&#{ord(found[0])};"


def _unescaped(found: re.Match[str], line: int) -> str:
    if found[1] is not None:
        return {"n": "\n", "l": "\n", "r": "\n", "\n": ""}.get(found[1], found[1])
    if found[2] is not None:
        return _ENTITIES[found[2]]
    if int(found[3]) > 0x10FFFF:
        raise _malformed(line, f"{found[0]} is no character")
    return chr(int(found[3]))


def _check(line: int, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise _malformed(line, f"a name must not contain a lone surrogate, got: {name!r}") from None


def _malformed(number: int, rule: str) -> DeserialisationFailed:
    return DeserialisationFailed(f"line {number}: {rule}", line=number)
