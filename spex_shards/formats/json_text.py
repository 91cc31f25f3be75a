"""Models as JSON, for programs.

::

    {
        "format": "spex_shards.model",
        "version": 1,
        "specification": "shop.Order",
        "learning_mode": false,
        "initial_states": ["new"],
        "transitions": [["new", "pay", "paid"]],
    }
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from ..domain.difference import in_order
from ..domain.transition import INITIALISATION, Transition
from ..errors import DeserialisationFailed, show
from .spex_text import Parsed

FORMAT: Final = "spex_shards.model"
VERSION: Final = 1
_TYPES: Final = {"specification": str, "learning_mode": bool, "initial_states": list, "transitions": list}
_WORDS: Final = {str: "a text", bool: "true or false", list: "a list"}


def write(specification: str, learning_mode: bool, transitions: Iterable[Transition]) -> str:
    """Return a model as text; equal models have equal texts."""
    listed = in_order(set(transitions))
    head = {"format": FORMAT, "version": VERSION, "specification": specification, "learning_mode": learning_mode}
    states = [t.target for t in listed if t.source is None]
    rows = ",\n  ".join(json.dumps(t) for t in listed if t.source is not None)
    lines = [f' "{key}": {json.dumps(value)}' for key, value in {**head, "initial_states": states}.items()]
    lines.append(f' "transitions": [\n  {rows}\n ]' if rows else ' "transitions": []')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def parse(text: str) -> Parsed:
    """Return the model that a text describes.

    Raises:
        DeserialisationFailed: The text is malformed. The message names the entry and the rule; context: `line`, the
            line of the first error if the text is not JSON, else 1.
    """
    try:
        plain = json.loads(text)
    except json.JSONDecodeError as error:
        raise DeserialisationFailed(f"line {error.lineno}: it must be JSON: {error.msg}", line=error.lineno) from None
    except RecursionError:
        raise _malformed("it is nested too deeply") from None
    if not isinstance(plain, dict) or plain.get("format") != FORMAT or plain.get("version") != VERSION:
        raise _malformed(f'it must be an object with "format": "{FORMAT}" and "version": {VERSION}')
    for key, kind in _TYPES.items():
        if not isinstance(plain.get(key), kind):
            raise _malformed(f"{key} must be {_WORDS[kind]}, got: {show(plain.get(key))}")
    transitions = [_transition(f"transitions[{n}]", entry) for n, entry in enumerate(plain["transitions"])]
    for number, state in enumerate(plain["initial_states"]):
        _check(f"initial_states[{number}]", state)
        transitions.append(Transition(None, INITIALISATION, state))
    _check("specification", plain["specification"])
    return Parsed(plain["specification"], plain["learning_mode"], frozenset(transitions))


def _transition(what: str, entry: Any) -> Transition:
    if not isinstance(entry, list) or len(entry) != 3:
        raise _malformed(f"{what} must be a list of source, action and target, got: {show(entry)}")
    for name in entry:
        _check(what, name)
    source, action, target = entry
    if action == INITIALISATION:
        raise _malformed(f"{what}: the action must not be {INITIALISATION}; list the state among initial_states")
    return Transition(source, action, target)


def _check(what: str, name: Any) -> None:
    if not isinstance(name, str):
        raise _malformed(f"{what} must be made of texts, got: {show(name)}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise _malformed(f"{what} must not contain a lone surrogate, got: {show(name)}") from None


def _malformed(rule: str) -> DeserialisationFailed:
    return DeserialisationFailed(f"line 1: {rule}", line=1)
