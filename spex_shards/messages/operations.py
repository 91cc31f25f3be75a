"""The operations of Spex: the requests of managers to shards, and the checks of their arguments before the engine runs.

The numbers on the wire must never change, because processes of different versions talk to each other.
"""

from __future__ import annotations

from typing import Any, Final

from ..domain.transition import INITIALISATION
from ..errors import show
from ..runtime.protocol.codec import MAX_CANONICAL_BYTES, canonical, decode, identifier_of
from ..runtime.protocol.operations import BYTES, COUNT, LIST, Operation, Rule, checked_by, or_none

_IDENTIFIER: Final[Rule] = (
    "identifier",
    f"1 to {MAX_CANONICAL_BYTES} bytes",
    lambda value: type(value) is bytes and 0 < len(value) <= MAX_CANONICAL_BYTES,
)
_ACTION: Final[Rule] = (
    "action",
    "a string other than the reserved one",
    lambda value: type(value) is str and value != INITIALISATION,
)
_STATE: Final[Rule] = ("state", "a string", lambda value: type(value) is str)
_SPECIFICATION: Final[Rule] = ("specification", "a string", lambda value: type(value) is str)

check_declaration: Final = checked_by("declare", LIST, or_none(BYTES))
_transition_rules: Final = checked_by("transition", _IDENTIFIER, _ACTION, _STATE)
_init_rules: Final = checked_by("init", _SPECIFICATION, _IDENTIFIER, or_none(BYTES), or_none(_STATE))
_step_rules: Final = checked_by("step", _SPECIFICATION, _IDENTIFIER, or_none(_STATE), or_none(_ACTION), or_none(_STATE))
_mock_rules: Final = checked_by("mock", _SPECIFICATION, _IDENTIFIER, or_none(BYTES), _STATE)


def _check_transition(arguments: list[Any]) -> None:
    if len(arguments) == 3:
        identifier, action, state = arguments
        strings = type(action) is str and type(state) is str and action != INITIALISATION
        if strings and type(identifier) is bytes and 0 < len(identifier) <= MAX_CANONICAL_BYTES:
            return  # the fast path, for nearly every request
    _transition_rules(arguments)


def _check_init(arguments: list[Any]) -> None:
    _init_rules(arguments)
    _check_values(arguments[1], arguments[2])


def _check_step(arguments: list[Any]) -> None:
    _step_rules(arguments)
    _check_values(arguments[1], None)
    if (arguments[3] is None) != (arguments[4] is None):
        raise ValueError("an action and a state go together")


def _check_mock(arguments: list[Any]) -> None:
    _mock_rules(arguments)
    _check_values(arguments[1], arguments[2])


def _check_values(identifier: bytes, meta: bytes | None) -> None:
    # Stored bytes are read as long as the directory exists, so malformed ones must not get into it.
    if canonical(identifier_of(identifier)) != identifier:
        raise ValueError("the identifier is not in its canonical form")
    if meta is not None and type(decode(meta)) is not dict:
        raise ValueError("meta is no dict")


def _question(name: str, code: int, *rules: Rule) -> Operation:
    return Operation(name, code, changes=False, posts=False, check=checked_by(name, *rules))


INIT: Final = Operation("init", 2, changes=True, posts=True, check=_check_init)
TRANSITION: Final = Operation("transition", 3, changes=True, posts=True, check=_check_transition)
MOCK: Final = Operation("mock", 4, changes=True, posts=False, check=_check_mock)
DELETE: Final = Operation("delete", 5, changes=True, posts=False, check=checked_by("delete", _IDENTIFIER))
DELETE_WHERE: Final = Operation("delete_where", 6, changes=True, posts=False, check=checked_by("delete_where", BYTES))
GET: Final = _question("get", 7, _IDENTIFIER, COUNT)
HISTORY: Final = _question("history", 8, _IDENTIFIER, COUNT, COUNT, COUNT)
PAGE: Final = _question("page", 9, or_none(_SPECIFICATION), or_none(BYTES), COUNT)
MODELS: Final = _question("models", 10)
DEVIATIONS: Final = _question("deviations", 11, or_none(_SPECIFICATION))
SPECIFICATION: Final = _question("specification", 12, _SPECIFICATION)
STEP: Final = Operation("step", 18, changes=True, posts=True, check=_check_step)
"""A transition of an instance that is created first if it does not exist."""
SIGHTINGS: Final = Operation("sightings", 20, changes=True, posts=False, check=checked_by("sightings"))
"""What was seen since this was last asked; it counts as a change, so that an answer on its way is not lost."""

IN_MANY: Final = {INIT.code: INIT, TRANSITION.code: TRANSITION}
"""The operations that `MANY` may consist of, by number."""


def _check_many(arguments: list[Any]) -> None:
    _many_rules(arguments)
    for one in arguments[0]:
        if type(one) not in (list, tuple) or not one or type(one[0]) is not int or one[0] not in IN_MANY:
            raise ValueError(f"many: an observation must begin with the number of an operation, got: {show(one)}")


_many_rules: Final = checked_by("many", LIST)
MANY: Final = Operation("many", 21, changes=True, posts=False, check=_check_many)
"""Many observations, which are carried out one after the other."""

TRANSITION_IF_KNOWN: Final = Operation("transition_if_known", 17, changes=True, posts=True, check=_check_transition)
"""A transition that is dropped if there is no such instance: it may be one whose specification is not observed."""

ALL: Final = (
    INIT,
    TRANSITION,
    MOCK,
    DELETE,
    DELETE_WHERE,
    GET,
    HISTORY,
    PAGE,
    MODELS,
    DEVIATIONS,
    SPECIFICATION,
    TRANSITION_IF_KNOWN,
    STEP,
    SIGHTINGS,
    MANY,
)
