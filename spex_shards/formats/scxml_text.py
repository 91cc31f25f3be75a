"""Reads statecharts in SCXML (W3C State Chart XML) as data: states, transitions and initial states.

A document type declaration is refused, so that no entity can expand and nothing outside the text is read. No script,
condition or expression is carried out.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn
from xml.parsers import expat

from ..domain.nesting import Edge, Nested, flattened
from ..domain.transition import INITIALISATION, INTERNAL, Transition
from ..errors import DeserialisationFailed

MAX_DEPTH: Final = 200
"""How deep elements may be nested."""
_NAMESPACE: Final = "http://www.w3.org/2005/07/scxml"
_STATES: Final = ("state", "final")
_REFUSED: Final = {
    "parallel": "parallel regions cannot be read: specify each region by itself",
    "history": "history states cannot be read",
}

logger = logging.getLogger("spex_shards")


def parse(text: str) -> list[Transition]:
    """Return the transitions of a document, taken apart to those between innermost states; the initialisation first.

    Raises:
        DeserialisationFailed: The text is malformed, has a document type, parallel regions or history states, or names
            a state that does not exist. The message names the line (from 1) and the rule; context: `line`.
    """
    reader = _ScxmlReader()
    reader.read(text)
    return reader.transitions()


@dataclass
class _State:
    node: Nested
    line: int
    initial: str | None
    children: list[_State] = field(default_factory=list)


@dataclass
class _Move:
    source: _State | None
    line: int
    attributes: dict[str, str]
    initial: bool


class _ScxmlReader:
    def __init__(self) -> None:
        self._states: dict[str, _State] = {}
        self._open: list[_State | str] = []
        self._moves: list[_Move] = []
        self._tops: list[_State] = []
        self._initial: str | None = None
        self._left_out: Counter[str] = Counter()
        self._parser = parser = expat.ParserCreate("utf-8", namespace_separator="}")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._refuse

    def read(self, text: str) -> None:
        try:
            self._parser.Parse(text.encode("utf-8"), True)
        except expat.ExpatError as error:
            rule = expat.ErrorString(error.code) or "it cannot be read"
            raise DeserialisationFailed(
                f"line {error.lineno}: the XML is malformed: {rule}", line=error.lineno
            ) from None
        except UnicodeEncodeError:
            raise DeserialisationFailed("line 1: the text must not contain lone surrogates", line=1) from None

    def transitions(self) -> list[Transition]:
        if not self._tops:
            self._fail(1, "there must be a state")
        for state in self._states.values():
            self._set_initial(state)
        for move in self._moves:
            self._add(move)
        first = self._tops[0] if self._initial is None else self._find(self._initial, 1)
        if self._left_out:
            listed = ", ".join(f"{what}: {count}" for what, count in sorted(self._left_out.items()))
            logger.info("left out of a statechart, which is read as data: %s", listed)
        nodes = [state.node for state in self._states.values()]
        return [Transition(None, INITIALISATION, first.node.settled().name), *flattened(nodes)]

    # ------------------------------------------------------------------ elements

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        namespace, _, name = tag.rpartition("}")
        if len(self._open) >= MAX_DEPTH:
            self._fail(self._line, f"elements must not be nested deeper than {MAX_DEPTH}")
        if not self._open and (name != "scxml" or namespace not in ("", _NAMESPACE)):
            self._fail(self._line, f"the document must be an <scxml>, got: <{name}>")
        foreign = namespace not in ("", _NAMESPACE)
        if not foreign and name in _REFUSED:
            self._fail(self._line, _REFUSED[name])
        if foreign or (self._open and self._open[-1] == "skipped"):
            self._skip(name)
        elif name in _STATES:
            self._open.append(self._new_state(attributes))
        elif name == "transition":
            self._new_move(attributes)
        elif name in ("scxml", "initial"):
            if name == "scxml":
                self._initial = attributes.get("initial")
            self._open.append(name)
        else:
            self._skip(name)

    def _end(self, _: str) -> None:
        self._open.pop()

    def _skip(self, name: str) -> None:
        if not self._open or self._open[-1] != "skipped":
            self._left_out[name] += 1
        self._open.append("skipped")

    def _new_state(self, attributes: dict[str, str]) -> _State:
        parent = next((one for one in reversed(self._open) if isinstance(one, _State)), None)
        name = attributes.get("id") or f"state{len(self._states) + 1}"
        if name in self._states:
            self._fail(self._line, f"each state needs an id of its own, got: {name!r} twice")
        node = Nested(name, None if parent is None else parent.node)
        state = self._states[name] = _State(node, self._line, attributes.get("initial"))
        (self._tops if parent is None else parent.children).append(state)
        return state

    def _new_move(self, attributes: dict[str, str]) -> None:
        source = next((one for one in reversed(self._open) if isinstance(one, _State)), None)
        self._moves.append(_Move(source, self._line, attributes, initial="initial" in self._open[-1:]))
        if "cond" in attributes:
            self._left_out["cond"] += 1
        self._open.append("transition")

    # ------------------------------------------------------------------ what they mean

    def _set_initial(self, state: _State) -> None:
        if state.children:
            named = state.initial
            state.node.initial = self._within(state, named).node if named else state.children[0].node

    def _add(self, move: _Move) -> None:
        target = move.attributes.get("target")
        found = None if target is None else self._find(target, move.line)
        if move.initial:
            if found is None:
                self._fail(move.line, "the transition in <initial> needs a target")
            if move.source is None:
                self._initial = target
            else:
                move.source.node.initial = found.node
            return
        if move.source is None:
            self._fail(move.line, "a <transition> must be within a state")
        edges = move.source.node.edges
        for action in self._actions(move):
            edges.append(Edge(action, None if found is None else found.node, sure="cond" not in move.attributes))

    def _actions(self, move: _Move) -> list[str]:
        named = move.attributes.get("event", "").split()
        for action in named:
            if "*" in action:
                self._fail(move.line, f"an event must be named in full, without *, got: {action!r}")
        return named or [INTERNAL]

    def _find(self, name: str, line: int) -> _State:
        if len(name.split()) != 1:
            self._fail(line, f"a transition must lead to one state, got: {name!r}")
        state = self._states.get(name.strip())
        if state is None:
            self._fail(line, f"there is no state with the id {name.strip()!r}")
        return state

    def _within(self, state: _State, name: str) -> _State:
        found = self._find(name, state.line)
        node: Nested | None = found.node
        while node is not None and node is not state.node:
            node = node.parent
        if node is None:
            self._fail(state.line, f"the initial state {name!r} must be within {state.node.name!r}")
        return found

    @property
    def _line(self) -> int:
        return self._parser.CurrentLineNumber

    def _refuse(self, *_: Any) -> None:
        self._fail(self._line, "a document type declaration is refused: remove it")

    def _fail(self, line: int, rule: str) -> NoReturn:
        raise DeserialisationFailed(f"line {line}: {rule}", line=line)
