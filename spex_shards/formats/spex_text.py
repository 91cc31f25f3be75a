r"""The text form of an implementation model, the content of a `.spex` file.

::

    Specification: NAME
    Learning mode: false
    Transitions:
    nil --[__initialisation__]-> s0
    s0 --[a]-> s1

It has three header lines in this order, then one transition per line; ``nil`` means "no state". Only a line feed ends a
line. Blanks around a line are ignored, so that files with CRLF can be read; blank lines are skipped.

A name is *plain* and written as it is, backslashes included, unless it

- is empty, or begins or ends with a blank,
- begins with a quotation mark,
- contains `` --[`` or ``]-> ``, because two different transitions could then have the same line,
- contains a line break or another control character (a tab may stand inside a name),
- is ``nil``, for a state.

Any other name is *quoted*: a JSON string, recognised by its first character. So a plain line keeps the meaning that it
always had, and every name can be written except one with a lone surrogate, which has no UTF-8 form. The reader accepts
a plain name that would be quoted when written, if it can be read in only one way.

Lines of transitions are written in the order of their code points, as ``LC_ALL=C sort`` sorts them; the text ends in
one line feed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ..domain.transition import INITIALISATION, Transition
from ..errors import DeserialisationFailed

NAME_HEADER: Final = "Specification:"
MODE_HEADER: Final = "Learning mode:"
BODY_HEADER: Final = "Transitions:"
NO_STATE: Final = "nil"

_HEADERS: Final = (NAME_HEADER, MODE_HEADER, BODY_HEADER)
_BEFORE_ACTION: Final = " --["
_AFTER_ACTION: Final = "]-> "
_QUOTE: Final = '"'
_MODES: Final = {"true": True, "false": False}
# The control characters C0 (without the tab) and C1, and Unicode's line and paragraph separators.
_CONTROLS: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_decode_json = json.JSONDecoder().raw_decode

Line = tuple[int, str]


class Parsed(NamedTuple):
    """The content of a text."""

    specification: str
    learning_mode: bool
    transitions: frozenset[Transition]


def write(specification: str, learning_mode: bool, transitions: Iterable[Transition]) -> str:
    """Return a model as text; equal models have equal texts.

    Raises:
        ValueError: A name contains a lone surrogate; names it.
    """
    lines = [
        f"{NAME_HEADER} {_written(specification)}",
        f"{MODE_HEADER} {'true' if learning_mode else 'false'}",
        BODY_HEADER,
        *sorted(map(line_of, transitions)),
        "",
    ]
    return "\n".join(lines)


def parse(text: str) -> Parsed:
    """Return the content of a text.

    Raises:
        DeserialisationFailed: The text is malformed. The message names the line (from 1) and the rule; context: `line`.
    """
    lines = _lines(text)
    end = text.rstrip().count("\n") + 1
    name = _parse_name(*_header(lines, NAME_HEADER, end))
    number, mode = _header(lines, MODE_HEADER, end)
    if mode not in _MODES:
        raise _malformed(number, f"the learning mode must be true or false, got: {mode!r}")
    number, rest = _header(lines, BODY_HEADER, end)
    if rest:
        raise _malformed(number, f"nothing must follow {BODY_HEADER!r} on its line, got: {rest!r}")
    return Parsed(name, _MODES[mode], frozenset(_parse_transition(number, line) for number, line in lines))


def specification_named_in(text: str) -> str | None:
    """Return the name in the first line of a text, which may be malformed elsewhere; None if that line is malformed."""
    try:
        return _parse_name(*_header(_lines(text), NAME_HEADER, 1))
    except DeserialisationFailed:
        return None


def line_of(transition: Transition) -> str:
    """Return the line that stands for a transition in a text.

    Raises:
        ValueError: A name contains a lone surrogate.
    """
    source, action, target = transition
    written = NO_STATE if source is None else _written_state(source)
    return f"{written}{_BEFORE_ACTION}{_written(action)}{_AFTER_ACTION}{_written_state(target)}"


def _written_state(name: str) -> str:
    return f'"{NO_STATE}"' if name == NO_STATE else _written(name)


def _written(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"a name in a model must not contain a lone surrogate, got: {name!r}") from None
    plain = (
        name != ""
        and name == name.strip()
        and name[0] != _QUOTE
        and _BEFORE_ACTION not in name
        and _AFTER_ACTION not in name
        and not _CONTROLS.search(name)
    )
    if plain:
        return name
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(name, ensure_ascii=False))


def _lines(text: str) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), 1):
        if stripped := line.strip():
            yield number, stripped


def _header(lines: Iterator[Line], header: str, end: int) -> Line:
    """Return the next line's number and the text that follows `header` in it."""
    number, line = next(lines, (end, ""))
    if line.startswith(header):
        return number, line.removeprefix(header).lstrip()
    if line.startswith(_HEADERS):
        raise _malformed(number, f"{line!r} is doubled or out of order; {header!r} must stand here")
    raise _malformed(number, f"the header {header!r} is missing, got: {line!r}")


def _parse_name(number: int, text: str) -> str:
    """Return a name that takes the rest of its line."""
    if not text.startswith(_QUOTE):
        return _checked(number, text)
    name, end = _parse_quoted(number, text)
    if end != len(text):
        raise _malformed(number, f"nothing must follow a quoted name, got: {text[end:]!r}")
    return name


def _parse_transition(number: int, line: str) -> Transition:
    if _BEFORE_ACTION not in line or _AFTER_ACTION not in line:
        raise _malformed(number, f"{line!r} is {'a doubled header' if line.startswith(_HEADERS) else 'no transition'}")
    source, rest = _parse_up_to(_BEFORE_ACTION, number, line)
    action, target = _parse_up_to(_AFTER_ACTION, number, rest)
    if not rest.startswith(_QUOTE) and _BEFORE_ACTION in action:
        raise _malformed(number, f"a name that contains {_BEFORE_ACTION!r} must be quoted, got: {action!r}")
    if not target.startswith(_QUOTE) and _AFTER_ACTION in target:
        raise _malformed(number, f"a name that contains {_AFTER_ACTION!r} must be quoted, got: {target!r}")
    if target == NO_STATE:
        raise _malformed(number, f'{NO_STATE} must not be a target; a state of that name is written "{NO_STATE}"')
    initial = line.startswith(NO_STATE + _BEFORE_ACTION)
    if initial and action != INITIALISATION:
        raise _malformed(number, f"{NO_STATE} must be the source of {INITIALISATION} only, got the action: {action!r}")
    if not initial and action == INITIALISATION:
        raise _malformed(number, f"the source of {INITIALISATION} must be {NO_STATE}, got: {source!r}")
    return Transition(None if initial else source, action, _parse_name(number, target))


def _parse_up_to(separator: str, number: int, text: str) -> tuple[str, str]:
    """Return the name that ends before `separator`, and the text after `separator`."""
    if text.startswith(_QUOTE):
        name, end = _parse_quoted(number, text)
        if text.startswith(separator, end):
            return name, text[end + len(separator) :]
    else:
        name, found, rest = text.partition(separator)
        if found:
            return _checked(number, name), rest
    raise _malformed(number, f"{separator!r} must follow the name at {text!r}")


def _checked(number: int, name: str) -> str:
    """Return a plain name, after checking that it is not empty."""
    if name == "":
        raise _malformed(number, 'an empty name must be written ""')
    return name


def _parse_quoted(number: int, text: str) -> tuple[str, int]:
    """Return the JSON string at the start of `text`, and where it ends."""
    try:
        name, end = _decode_json(text)
        name.encode()
    except json.JSONDecodeError as error:
        raise _malformed(
            number, f"a name that begins with a quotation mark must be a JSON string: {error.msg}"
        ) from None
    except UnicodeEncodeError:
        raise _malformed(number, f"a name must not contain a lone surrogate, got: {text[:end]}") from None
    return name, end


def _malformed(number: int, rule: str) -> DeserialisationFailed:
    return DeserialisationFailed(f"line {number}: {rule}", line=number)
