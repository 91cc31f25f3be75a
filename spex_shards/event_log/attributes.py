"""Selects the attributes of a log that give the case, the action, the state and the time of an event."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple

from .source import LogError, format_of

Names = tuple[str, ...]
Moment = int | Fraction
"""Nanoseconds since 1970 in UTC; a `Fraction` only if a timestamp is finer than that."""

_XES_DEFAULTS: Final = {"case": "concept:name", "action": "concept:name", "timestamp": "time:timestamp"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NUMBER: Final = re.compile(r"[+-]?\d{1,18}(\.\d*)?([eE][+-]?\d{1,2})?", re.ASCII)
_BELOW_MICROSECONDS: Final = re.compile(r".{10}[^+-]*[.,]\d{6}(\d+)", re.ASCII)


class BadAttribute(ValueError):
    """An attribute is missing or unusable; the text says which, the rule and the value. The reader adds the place."""


class LogEvent(NamedTuple):
    """An event of the log, without its case."""

    action: str
    state: str
    moment: Moment


@dataclass(frozen=True, slots=True)
class Attributes:
    """The names of the attributes to read; the values of several names are joined by ``/``."""

    case: Names
    action: Names
    state: Names
    timestamp: Names

    @classmethod
    def of(
        cls,
        path: Path,
        *,
        case: str | None = None,
        action: str | None = None,
        state: str | None = None,
        timestamp: str | None = None,
    ) -> Attributes:
        """Return the attributes to read from the log at `path`.

        Args:
            path: The log; its suffix decides the defaults.
            case: Attribute names joined by ``+``, as in the following arguments. XES: attributes of the trace, by
                default ``concept:name``.
            action: XES: attributes of the event, by default ``concept:name``.
            state: By default the same as the action.
            timestamp: XES: by default ``time:timestamp``.

        Raises:
            LogError: The format is not supported, a name is empty, or an argument without a default is missing.
        """
        given = {"case": case, "action": action, "timestamp": timestamp}
        format_name = format_of(path)
        if format_name == "xes":
            given = {option: _XES_DEFAULTS[option] if text is None else text for option, text in given.items()}
        missing = [f"--{option}" for option, text in given.items() if text is None]
        if missing:
            raise LogError(f"{path}: a {format_name} log needs {', '.join(missing)}: the names of its attributes")
        names = {option: _names(option, text or "") for option, text in given.items()}
        return cls(state=names["action"] if state is None else _names("state", state), **names)

    def case_of(self, values: Mapping[str, object]) -> str:
        """Return the case's name.

        Raises:
            BadAttribute: An attribute is missing or has no text.
        """
        return _joined(self.case, values)

    def event_of(self, values: Mapping[str, object]) -> LogEvent:
        """Return the event.

        Raises:
            BadAttribute: An attribute is missing or has no text, or the timestamp is unreadable.
        """
        action = _joined(self.action, values)
        state = action if self.state == self.action else _joined(self.state, values)
        time = _joined(self.timestamp, values)
        try:
            return LogEvent(action, state, moment_of(time))
        except (ValueError, OverflowError):
            names = "+".join(self.timestamp)
            rule = "must be an ISO 8601 time or a number of seconds since 1970"
            raise BadAttribute(f"the timestamp {names!r} {rule}, got: {shown(time)}") from None


def moment_of(text: str) -> Moment:
    """Return the exact moment that a timestamp stands for.

    A time without a zone counts as UTC, a plain number as seconds since 1970, a date as its first instant.

    Raises:
        ValueError, OverflowError: It is neither ISO 8601 nor a number.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return _exact(Fraction(text) * 10**9)
    time = datetime.fromisoformat(text.upper())
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    nanoseconds = (time - _EPOCH) // _MICROSECOND * 1000
    # `fromisoformat` drops digits below microseconds; a text of up to 22 characters cannot have any.
    finer = _BELOW_MICROSECONDS.match(text) if len(text) > 22 else None
    if finer is None:
        return nanoseconds
    digits = finer[1]
    return _exact(nanoseconds + Fraction(1000 * int(digits), 10 ** len(digits)))


def shown(value: object) -> str:
    """Return `value` as text for a message, at most one line long."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}… ({len(text)} characters)"


def _exact(value: Fraction) -> Moment:
    return value.numerator if value.denominator == 1 else value


def _names(option: str, text: str) -> Names:
    names = tuple(text.split("+"))
    if not all(names):
        raise LogError(f"the --{option} option must be attribute names joined by '+', got: {text!r}")
    return names


def _joined(names: Names, values: Mapping[str, object]) -> str:
    return "/".join([_text(name, values) for name in names])


def _text(name: str, values: Mapping[str, object]) -> str:
    if name not in values:
        there = ", ".join(map(repr, values)) or "none"
        raise BadAttribute(f"the attribute {name!r} must be there, got only: {there[:500]}")
    value = values[name]
    if isinstance(value, str):
        if not value.isascii():
            _check_unicode(name, value)
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    got = shown(json.dumps(value, default=str)) if value is not None else "null"
    raise BadAttribute(f"the attribute {name!r} must have a text, number or boolean as its value, got: {got}")


def _check_unicode(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadAttribute(f"the attribute {name!r} must be valid Unicode, got: {shown(value)}") from None
