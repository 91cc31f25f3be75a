r"""Models as Aldebaran ``.aut`` text, which CADP, mCRL2 and LTSmin read.

::

    des(0, 3, 3)
    (0, "pay", 1)
    (1, "ship", 2)
    (1, i, 0)

The header holds the initial state, the number of transitions and the number of states; states are numbers from 0.

In this format ``i`` (CADP) and ``tau`` (mCRL2) are the silent action; in this library only `INTERNAL` is. So writing
maps `INTERNAL` to ``i`` or ``tau``. It puts an apostrophe before an action that is called ``i`` or ``tau``, or that is
one of these words after apostrophes. Reading maps both words to `INTERNAL` and removes one apostrophe. In quotes,
``\``, ``"`` and control characters are written as in JSON. The names of states are lost; the initial state becomes 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

from ..domain.difference import in_order
from ..domain.transition import INITIALISATION, INTERNAL, Transition
from ..errors import DeserialisationFailed

Silent = Literal["i", "tau"]

_HEADER: Final = re.compile(r"des\s*\(\s*(\d{1,18})\s*,\s*(\d{1,18})\s*,\s*(\d{1,18})\s*\)")
_STATE: Final = re.compile(r"\d{1,18}")
_MAPPED: Final = re.compile("'*(i|tau)")
_TO_ESCAPE: Final = re.compile('[\\\\"\x00-\x1f\x7f-\x9f\u2028\u2029]')
_ESCAPED: Final = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\]))')


def write(transitions: Iterable[Transition], silent: Silent = "i") -> str:
    """Return a model as text.

    Args:
        transitions: The model's transitions; exactly one of them is an initialisation.
        silent: The name of the internal action: ``"i"`` for CADP, ``"tau"`` for mCRL2.

    Raises:
        ValueError: There is not exactly one initialisation, or a name contains a lone surrogate.
    """
    listed = in_order(set(transitions))
    starts = [t.target for t in listed if t.source is None]
    return _text(starts, [t for t in listed if t.source is not None], silent)


def parse(text: str) -> frozenset[Transition]:
    """Return the transitions of a text, with an initialisation added; the states' names are their numbers.

    Raises:
        DeserialisationFailed: The text is malformed. The message names the line (from 1) and the rule; context: `line`.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise _malformed(1, "the header des (INITIAL, TRANSITIONS, STATES) is missing")
    number, head = lines[0]
    header = _HEADER.fullmatch(head)
    if header is None:
        raise _malformed(number, f"the header must be des (INITIAL, TRANSITIONS, STATES), got: {head[:200]!r}")
    initial, count, states = map(int, header.groups())
    if initial >= max(states, 1):
        raise _malformed(number, f"the initial state must be below the number of states {states}, got: {initial}")
    if len(lines) - 1 != count:
        raise _malformed(number, f"the header must give the number of transitions, {len(lines) - 1}, got: {count}")
    edges = [_edge(number, line, states) for number, line in lines[1:]]
    return frozenset([Transition(None, INITIALISATION, str(initial)), *edges])


def _text(starts: list[str], edges: list[Transition], silent: Silent) -> str:
    if len(starts) != 1:
        raise ValueError(f"an .aut text has exactly one initial state, the model has {len(starts)}")
    numbers = {starts[0]: 0}
    outgoing: dict[str, list[Transition]] = {}
    for edge in edges:
        outgoing.setdefault(str(edge.source), []).append(edge)
    for state in (queue := [starts[0]]):  # the list grows while the loop runs
        for edge in outgoing.get(state, ()):
            if edge.target not in numbers:
                numbers[edge.target] = len(numbers)
                queue.append(edge.target)
    for edge in edges:  # then the states that cannot be reached
        numbers.setdefault(str(edge.source), len(numbers))
        numbers.setdefault(edge.target, len(numbers))
    listed = sorted((numbers[str(e.source)], _label(e.action, silent), numbers[e.target]) for e in edges)
    lines = [f"({source}, {label}, {target})" for source, label, target in listed]
    return "\n".join([f"des (0, {len(lines)}, {len(numbers)})", *lines, ""])


def _label(action: str, silent: Silent) -> str:
    try:
        action.encode()
    except UnicodeEncodeError:
        raise ValueError(f"a name in a model must not contain a lone surrogate, got: {action!r}") from None
    if action == INTERNAL:
        return silent
    name = f"'{action}" if _MAPPED.fullmatch(action) else action
    return '"' + _TO_ESCAPE.sub(_escape, name) + '"'


def _escape(found: re.Match[str]) -> str:
    return f"\\{found[0]}" if found[0] in '\\"' else f"\\u{ord(found[0]):04x}"


def _edge(number: int, line: str, states: int) -> Transition:
    # The first and the last comma separate the label from the states; the label itself may contain commas.
    source, first, rest = line[1:-1].partition(",")
    label, last, target = rest.rpartition(",")
    source, label, target = source.strip(), label.strip(), target.strip()
    sound = line[0] == "(" and line[-1] == ")" and first and last
    if not sound or not _STATE.fullmatch(source) or not _STATE.fullmatch(target):
        raise _malformed(number, f"a transition must be (SOURCE, LABEL, TARGET), got: {line[:200]!r}")
    for state in (source, target):
        if int(state) >= states:
            raise _malformed(number, f"a state must be below the number of states {states}, got: {state}")
    return Transition(str(int(source)), _action(number, label), str(int(target)))


def _action(number: int, label: str) -> str:
    if len(label) >= 2 and label[0] == label[-1] == '"':
        label = _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2], label[1:-1])
    elif not label:
        raise _malformed(number, 'an empty label must be written ""')
    if label in ("i", "tau"):
        return INTERNAL
    if label in (INTERNAL, INITIALISATION):
        raise _malformed(number, f"a label must not be {label}, which has another meaning here")
    if not label.isascii():
        _check_surrogates(number, label)
    return label[1:] if label.startswith("'") and _MAPPED.fullmatch(label) else label


def _check_surrogates(number: int, label: str) -> None:
    try:
        label.encode()
    except UnicodeEncodeError:
        raise _malformed(number, f"a label must not contain a lone surrogate, got: {label!r}") from None


def _malformed(number: int, rule: str) -> DeserialisationFailed:
    return DeserialisationFailed(f"line {number}: {rule}", line=number)
