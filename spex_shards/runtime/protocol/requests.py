"""The requests that a shard takes, and the check of every one of them before it reaches the engine.

A request on the wire is ``[number, acknowledged, code, thread, *arguments]``; `code` is the `Kind`, plus `NOWAIT` where
the caller does not wait. Number 0 is a notice: it has no answer and no place in the count.

A reply is ``[up to, entries]``: every request up to that number is answered; those that have no entry of their own
succeeded and have nothing to say. An entry is ``[number, ok, value or error, log records]``.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, NamedTuple

from ...domain.transition import INITIALISATION
from ...errors import show
from .codec import MAX_CANONICAL_BYTES

PROTOCOL_VERSION: Final = 2
"""The newest version that is spoken here."""
SAYS_GOODBYE: Final = 2
"""The first version with `BYE`."""
OLDEST_PROTOCOL: Final = 1
"""The oldest version that is spoken here: a rolling upgrade has one version beside the next."""
FORGOTTEN_AFTER: Final = 24 * 3600
"""Seconds after which a shard may forget a client that is gone, and what it had of its requests."""
NOWAIT: Final = 64
DEFAULT_MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
MAX_REPLY_BYTES: Final = 1 << 30
NOT_ANSWERED: Final = -1
"""In a reply's place for the number: the channel is refused or closed, and the entry says why."""


class Kind(IntEnum):
    """What a request asks for."""

    HELLO = 0
    REGISTER = 1
    INIT = 2
    TRANSITION = 3
    MOCK = 4
    DELETE = 5
    DELETE_WHERE = 6
    GET = 7
    HISTORY = 8
    PAGE = 9
    MODELS = 10
    DEVIATIONS = 11
    SPECIFICATION = 12
    STATS = 13
    SEEN = 14
    BYE = 15


MUTATING: Final = frozenset({Kind.INIT, Kind.TRANSITION, Kind.MOCK, Kind.DELETE, Kind.DELETE_WHERE})
"""Requests that are carried out once, whatever happens; the others are carried out again when they are sent again."""


NOTICES: Final = frozenset({Kind.HELLO, Kind.REGISTER, Kind.SEEN, Kind.BYE})
"""What has number 0: nothing is answered."""


class Request(NamedTuple):
    """A request as a shard reads it."""

    number: int
    acknowledged: int
    kind: Kind
    nowait: bool
    thread: int
    arguments: list[Any]


class ProtocolError(ValueError):
    """The other side broke the protocol; its channel is closed."""


_KINDS: Final[dict[int, tuple[Kind, bool]]] = {
    **{int(kind): (kind, False) for kind in Kind},
    **{kind | NOWAIT: (kind, True) for kind in (Kind.INIT, Kind.TRANSITION)},
}


def read_request(plain: Any) -> Request:
    """Read a request or notice.

    Raises:
        ProtocolError: It is malformed.
    """
    try:
        number, acknowledged, code, thread, *arguments = plain
        kind, nowait = _KINDS[code]
    except (TypeError, ValueError, KeyError):
        raise ProtocolError(f"a malformed request: {show(plain)}") from None
    if type(number) is not int or type(acknowledged) is not int or type(thread) is not int or number < 0:
        raise ProtocolError(f"a malformed request: {show(plain)}")
    if (number == 0) is not (kind in NOTICES):
        raise ProtocolError(f"a malformed request: {kind.name} must not have number {number}")
    return Request(number, acknowledged, kind, nowait, thread, arguments)


def check(kind: Kind, arguments: list[Any]) -> None:
    """Check a request's arguments.

    Raises:
        ValueError: They are not what `kind` takes; names the argument, the rule and the value.
    """
    if kind is Kind.TRANSITION and len(arguments) == 3:
        identifier, action, state = arguments
        strings = type(action) is str and type(state) is str and action != INITIALISATION
        if strings and type(identifier) is bytes and 0 < len(identifier) <= MAX_CANONICAL_BYTES:
            return  # the hot path
    rules = _RULES[kind]
    if len(arguments) != len(rules):
        raise ValueError(f"{kind.name} takes {len(rules)} arguments, got: {len(arguments)}")
    for (name, rule, holds), value in zip(rules, arguments, strict=True):
        if not holds(value):
            raise ValueError(f"{kind.name}: {name} must be {rule}, got: {show(value)}")


_Rule = tuple[str, str, Callable[[Any], bool]]


def _is_name(value: Any) -> bool:
    return type(value) is str


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _or_none(rule: _Rule) -> _Rule:
    name, text, holds = rule
    return name, text + ", or nil", lambda value: value is None or holds(value)


_IDENTIFIER: Final[_Rule] = (
    "identifier",
    f"1 to {MAX_CANONICAL_BYTES} bytes",
    lambda value: type(value) is bytes and 0 < len(value) <= MAX_CANONICAL_BYTES,
)
_ACTION: Final[_Rule] = (
    "action",
    "a string other than the reserved one",
    lambda value: type(value) is str and value != INITIALISATION,
)
_STATE: Final[_Rule] = ("state", "a string", _is_name)
_SPECIFICATION: Final[_Rule] = ("specification", "a string", _is_name)
_BYTES: Final[_Rule] = ("bytes", "bytes", lambda value: type(value) is bytes)
_COUNT: Final[_Rule] = ("count", "an integer, not negative", _is_count)
_FLAG: Final[_Rule] = ("flag", "a boolean", lambda value: type(value) is bool)
_LIST: Final[_Rule] = ("data", "a list", lambda value: type(value) is list)
_RULES: Final[dict[Kind, tuple[_Rule, ...]]] = {
    Kind.HELLO: (_COUNT, _COUNT, _FLAG, _FLAG, _COUNT, _COUNT),
    Kind.REGISTER: (_LIST, _or_none(_BYTES)),
    Kind.INIT: (_SPECIFICATION, _IDENTIFIER, _or_none(_BYTES), _or_none(_STATE)),
    Kind.TRANSITION: (_IDENTIFIER, _ACTION, _STATE),
    Kind.MOCK: (_SPECIFICATION, _IDENTIFIER, _or_none(_BYTES), _STATE),
    Kind.DELETE: (_IDENTIFIER,),
    Kind.DELETE_WHERE: (_BYTES,),
    Kind.GET: (_IDENTIFIER, _COUNT),
    Kind.HISTORY: (_IDENTIFIER, _COUNT, _COUNT, _COUNT),
    Kind.PAGE: (_or_none(_SPECIFICATION), _or_none(_BYTES), _COUNT),
    Kind.MODELS: (),
    Kind.DEVIATIONS: (_or_none(_SPECIFICATION),),
    Kind.SPECIFICATION: (_SPECIFICATION,),
    Kind.STATS: (),
    Kind.SEEN: (_COUNT,),
    Kind.BYE: (),
}
