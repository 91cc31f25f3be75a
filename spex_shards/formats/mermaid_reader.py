"""Reads Mermaid state diagrams."""

from __future__ import annotations

import html
import re
from typing import Final, NoReturn

from ..domain.transition import INITIALISATION, INTERNAL, Transition
from ..errors import DeserialisationFailed
from .marks import WORDS

TAU: Final = "τ"
"""The label of the internal action."""

_HEADS: Final = ("stateDiagram", "stateDiagram-v2")
_ENDPOINT: Final = "[*]"
_ARROW: Final = re.compile(r"(\S+?)(?::::?\S+)?\s*-->\s*([^\s:]+)(?::::?\S+?)?\s*(?::(.*))?")
_STATE: Final = re.compile(r"([^\s:{]+)(?::::?\w+)?\s*(?::\s*(.*))?")
_NAMED: Final = re.compile(r'state\s+"(.*)"\s+as\s+([^\s:{]+)\s*')
_SKIPPED: Final = re.compile(
    r"(direction|classDef|class|style|click|accTitle|accDescr|title|hide|scale|note)\b.*|%%.*"
)  # fmt: skip
_ENTITY: Final = re.compile(r"#(\d+|\w+);")
_MARK: Final = re.compile(rf"\s*#lpar;(?:{'|'.join(WORDS.values())})#rpar;$")
_BLANK: Final = re.compile(r"#quot;((?:#\w+;)*)#quot;")


class MermaidReader:
    """Reads one diagram.

    Args:
        text: The diagram.

    Raises:
        DeserialisationFailed: See `mermaid_text.parse`.
    """

    def __init__(self, text: str) -> None:
        self._number = 0
        self._names: dict[str, str] = {}
        self._arrows: list[tuple[int, str, str, str | None]] = []
        self._starts: list[tuple[int, str]] = []
        self._inside = ""  # what a block that is skipped ends with
        self._headed = False
        for self._number, line in enumerate(text.split("\n"), 1):
            self._line(line.strip())
        if not self._headed:
            self._fail("the diagram must begin with stateDiagram-v2")

    def transitions(self) -> list[Transition]:
        """Return the transitions, the initialisation first."""
        if len(self._starts) != 1:
            self._number = self._starts[1][0] if self._starts else self._number
            self._fail(f"there must be one initial state, written [*] --> STATE, got: {len(self._starts)}")
        self._check_names()
        steps = [Transition(None, INITIALISATION, self._name(self._starts[0][1]))]
        for number, source, target, label in self._arrows:
            self._number = number
            steps.append(Transition(self._name(source), self._action(label), self._name(target)))
        return steps

    def _line(self, line: str) -> None:
        if self._inside:
            self._inside = "" if line == self._inside else self._inside
        elif not line or line.startswith("%%"):
            pass
        elif line == "---" and not self._headed:
            self._inside = "---"  # front matter
        elif not self._headed:
            if line not in _HEADS:
                self._fail(f"the diagram must begin with stateDiagram-v2, got: {line[:200]!r}")
            self._headed = True
        elif line.startswith("note") and ":" not in line:
            self._inside = "end note"
        else:
            self._statement(line)

    def _statement(self, line: str) -> None:
        if line == "--" or line.endswith("{") or "<<" in line:
            self._fail(f"states within states, forks, joins and choices cannot be read, got: {line[:200]!r}")
        arrow = _ARROW.fullmatch(line)
        if arrow is not None:
            self._arrow(*arrow.groups())
            return
        named = _NAMED.fullmatch(line)
        if named is not None:
            self._names[named[2]] = _plain(named[1])
            return
        line = line.removeprefix("state ")
        state = _STATE.fullmatch(line)
        described = state is not None and state[2] is not None
        if _SKIPPED.fullmatch(line) and not described:
            return
        if state is None:
            self._fail(f"a line must be SOURCE --> TARGET : ACTION or STATE : NAME, got: {line[:200]!r}")
        if described:
            self._names[state[1]] = _plain(state[2])

    def _arrow(self, source: str, target: str, label: str | None) -> None:
        if source == _ENDPOINT:
            self._starts.append((self._number, target))
        elif target != _ENDPOINT:
            self._arrows.append((self._number, source, target, label))

    def _name(self, state: str) -> str:
        return self._names.get(state, state)

    def _action(self, label: str | None) -> str:
        text = "" if label is None else _MARK.sub("", label).strip()
        if not text:
            self._fail("an arrow needs an action: SOURCE --> TARGET : ACTION")
        return INTERNAL if text == TAU else _plain(text)

    def _check_names(self) -> None:
        seen: dict[str, str] = {}
        used = {state for _, *ends, _ in self._arrows for state in ends} | {state for _, state in self._starts}
        for state in [*self._names, *sorted(used - self._names.keys())]:
            other = seen.setdefault(self._name(state), state)
            if other != state:
                self._fail(f"two states must not have one name, {self._name(state)!r}: {other} and {state}")

    def _fail(self, rule: str) -> NoReturn:
        raise DeserialisationFailed(f"line {self._number}: {rule}", line=self._number)


def _plain(text: str) -> str:
    text = text.strip()
    blank = _BLANK.fullmatch(text)
    return _ENTITY.sub(_character, blank[1] if blank else text)


def _character(found: re.Match[str]) -> str:
    if found[1].isdecimal():
        return chr(int(found[1])) if int(found[1]) < 0x110000 else found[0]
    return " " if found[1] == "nbsp" else html.unescape(f"&{found[1]};")
