"""What a service can be asked for: names, numbers on the wire, and the check of arguments at the edge."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from ...errors import show

CALL: Final = 16
"""On the wire: the operation is known by its name, which is the first argument."""
NOWAIT: Final = 64
"""Added to an operation's number where the caller does not wait."""

Rule = tuple[str, str, Callable[[Any], bool]]
"""An argument's name, what it must be in words, and whether a value is."""


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One thing that a service can be asked for. Compared by identity.

    Attributes:
        name: Its name, as it stands in errors and counters.
        code: Its number on the wire; `CALL`: it goes by its name.
        changes: Whether it changes something: then it is carried out once, however often it is sent. The others are
            carried out again when they are sent again.
        posts: Whether it may be sent without waiting for its answer.
        check: Checks its arguments as they come from a client; raises `ValueError`, which names the argument, the rule
            and the value.
    """

    name: str
    code: int
    changes: bool
    posts: bool
    check: Callable[[list[Any]], None]

    def __repr__(self) -> str:
        return f"<operation {self.name}>"


def checked_by(name: str, *rules: Rule) -> Callable[[list[Any]], None]:
    """Return the check of an operation's arguments by one rule each."""

    def check(arguments: list[Any]) -> None:
        if len(arguments) != len(rules):
            raise ValueError(f"{name} takes {len(rules)} arguments, got: {len(arguments)}")
        for (argument, rule, holds), value in zip(rules, arguments, strict=True):
            if not holds(value):
                raise ValueError(f"{name}: {argument} must be {rule}, got: {show(value)}")

    return check


def or_none(rule: Rule) -> Rule:
    """Return a rule that takes None as well."""
    name, text, holds = rule
    return name, text + ", or nil", lambda value: value is None or holds(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


BYTES: Final[Rule] = ("bytes", "bytes", lambda value: type(value) is bytes)
COUNT: Final[Rule] = ("count", "an integer, not negative", _is_count)
FLAG: Final[Rule] = ("flag", "a boolean", lambda value: type(value) is bool)
LIST: Final[Rule] = ("data", "a list", lambda value: type(value) is list)

STATS: Final = Operation("stats", 13, changes=False, posts=False, check=checked_by("stats"))
"""Every service is asked for it, and the worker answers."""


def _unknown(arguments: list[Any]) -> None:
    raise ValueError(f"the service has no operation {show(arguments[0] if arguments else None)}")


UNKNOWN: Final = Operation("unknown", CALL, changes=False, posts=True, check=_unknown)
"""In the place of an operation that a service does not have."""


class Operations:
    """All operations of a service, found by what stands on the wire.

    Attributes:
        by_code: Number on the wire → the operation, and whether nobody waits for its answer; without those that go by
            their names.
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
        """Return the operation whose name is the first argument, which is taken out, and whether nobody waits.

        Raises:
            KeyError: The number is not `CALL`: no operation has it.
        """
        if code & ~NOWAIT != CALL:
            raise KeyError(code)
        name = arguments[0] if arguments else None
        operation = self._by_name.get(name) if type(name) is str else None
        if operation is None or (code & NOWAIT and not operation.posts):
            return UNKNOWN, bool(code & NOWAIT)
        del arguments[0]
        return operation, bool(code & NOWAIT)
