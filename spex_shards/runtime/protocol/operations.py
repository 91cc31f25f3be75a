"""The operations of a service: their names, their numbers on the wire, and the checks of their arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from ...errors import show

CALL: Final = 16
"""The number on the wire of all operations that are sent by name; the name is the first argument."""
NOWAIT: Final = 64
"""Added to an operation's number if the caller does not wait for the answer."""

Rule = tuple[str, str, Callable[[Any], bool]]
"""An argument's name, the rule in words, and the function that returns whether a value meets the rule."""


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """A method of a service, as it can be requested. Compared by identity.

    Attributes:
        name: Its name, for errors and counters.
        code: Its number on the wire; `CALL`: it is sent by name.
        changes: Whether it changes something. If so, a request for it is carried out once, however often it is sent;
            if not, it is carried out each time.
        posts: Whether it may be requested without waiting for the answer.
        check: Checks the arguments that a client sends; raises a `ValueError` that names the argument, the rule and the
            value.
    """

    name: str
    code: int
    changes: bool
    posts: bool
    check: Callable[[list[Any]], None]

    def __repr__(self) -> str:
        return f"<operation {self.name}>"


def checked_by(name: str, *rules: Rule) -> Callable[[list[Any]], None]:
    """Return a function that checks an operation's arguments, each by one rule."""

    def check(arguments: list[Any]) -> None:
        if len(arguments) != len(rules):
            raise ValueError(f"{name} takes {len(rules)} arguments, got: {len(arguments)}")
        for (argument, rule, holds), value in zip(rules, arguments, strict=True):
            if not holds(value):
                raise ValueError(f"{name}: {argument} must be {rule}, got: {show(value)}")

    return check


def or_none(rule: Rule) -> Rule:
    """Return a rule that allows None as well."""
    name, text, holds = rule
    return name, text + ", or nil", lambda value: value is None or holds(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


BYTES: Final[Rule] = ("bytes", "bytes", lambda value: type(value) is bytes)
COUNT: Final[Rule] = ("count", "an integer, not negative", _is_count)
FLAG: Final[Rule] = ("flag", "a boolean", lambda value: type(value) is bool)
LIST: Final[Rule] = ("data", "a list", lambda value: type(value) is list)

STATS: Final = Operation("stats", 13, changes=False, posts=False, check=checked_by("stats"))
"""The counters of a shard. Every service has this operation; the worker carries it out."""


def _unknown(arguments: list[Any]) -> None:
    raise ValueError(f"the service has no operation {show(arguments[0] if arguments else None)}")


UNKNOWN: Final = Operation("unknown", CALL, changes=False, posts=True, check=_unknown)
"""Replaces an operation that the service does not have; its check raises the error."""


class Operations:
    """All operations of a service, found by their numbers or names on the wire.

    Args:
        operations: The operations.

    Attributes:
        by_code: Number on the wire → the operation, and whether the caller does not wait; without the operations that
            are sent by name.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.by_code: dict[int, tuple[Operation, bool]] = {}
        self._by_name: dict[str, Operation] = {}
        for operation in (*operations, STATS):
            if operation.code == CALL:
                self._by_name[operation.name] = operation
                continue
            self.by_code[operation.code] = operation, False
            if operation.posts:
                self.by_code[operation.code | NOWAIT] = operation, True

    def named(self, code: int, arguments: list[Any]) -> tuple[Operation, bool]:
        """Return an operation that is sent by name.

        Args:
            code: The number on the wire.
            arguments: The name, which is removed if the operation exists, and the operation's arguments.

        Returns:
            The operation (`UNKNOWN` if there is none of that name), and whether the caller does not wait.

        Raises:
            KeyError: The number is not `CALL`.
        """
        if code & ~NOWAIT != CALL:
            raise KeyError(code)
        name = arguments[0] if arguments else None
        operation = self._by_name.get(name) if type(name) is str else None
        if operation is None or (code & NOWAIT and not operation.posts):
            return UNKNOWN, bool(code & NOWAIT)
        del arguments[0]
        return operation, bool(code & NOWAIT)
