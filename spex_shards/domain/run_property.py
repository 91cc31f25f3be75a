"""Properties of runs as data, and where a property is after each action of a run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

from .names import as_name
from .transition import INTERNAL

Names = str | Collection[str]
Actions = frozenset[str]
Phase = tuple[bool, int]
"""The phase of a property in a run: whether its scope is open, and the count in it."""
BROKEN: Final[Phase] = (False, -1)
"""The phase of a property that a run has broken; it never changes."""


class Pattern(StrEnum):
    """What a property says of the actions in its scope."""

    NEVER = "never"
    AT_MOST = "at_most"
    NEEDS = "needs"
    ANSWERED = "answered"
    HAPPENS = "happens"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProperty:
    """A property of runs, as a specification declares it and a shard follows it.

    Attributes:
        pattern: What it says.
        actions: The actions that it is about.
        other: For NEEDS what must come first, for ANSWERED the answers.
        limit: For AT_MOST how often.
        after: The actions that open the scope; None: it is open from the start.
        until: The actions that close it; None: it stays open. The actions that open and close are not in it.
    """

    pattern: Pattern
    actions: Actions
    other: Actions = frozenset()
    limit: int = 0
    after: Actions | None = None
    until: Actions | None = None

    def __str__(self) -> str:
        name = either(self.actions)
        text = {
            Pattern.NEVER: f"never {name}",
            Pattern.AT_MOST: f"at most {self.limit} times {name}",
            Pattern.NEEDS: f"{name} only once {either(self.other)} has come",
            Pattern.ANSWERED: f"{name} is answered by {either(self.other)}",
            Pattern.HAPPENS: f"{name} happens",
        }[self.pattern]
        text += "" if self.after is None else f" after {either(self.after)}"
        return text + ("" if self.until is None else f" until {either(self.until)}")

    def plain(self) -> list[Any]:
        """Return the property as data: a list of texts, numbers and lists, in an order that never changes."""
        scope = [None if names is None else sorted(names) for names in (self.after, self.until)]
        return [self.pattern.value, sorted(self.actions), sorted(self.other), self.limit, *scope]

    @classmethod
    def of_plain(cls, plain: Any) -> Self:
        """Return the property of its data.

        Raises:
            ValueError: It is the data of none.
        """
        try:
            pattern, actions, other, limit, after, until = plain
            scope = {"after": after, "until": until}
            return cls.made(Pattern(pattern), actions, other, limit, **scope)
        except TypeError as error:
            raise ValueError(f"a malformed property: {error}") from None

    @classmethod
    def made(
        cls,
        pattern: Pattern,
        action: Names,
        other: Names = (),
        limit: int = 0,
        *,
        after: Names | None,
        until: Names | None,
    ) -> Self:
        """Return a property of values as a user writes them.

        Raises:
            TypeError: Something is no action.
            ValueError: An action is the internal one or has two parts, or `limit` is no int from 0 on.
        """
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            raise ValueError(f"limit must be an int from 0 on, got: {limit!r}")
        about, others = _actions("action", action), frozenset[str]()
        if pattern in (Pattern.NEEDS, Pattern.ANSWERED):
            others = _actions("first" if pattern is Pattern.NEEDS else "by", other)
        opens, closes = (None if n is None else _actions(o, n) for o, n in (("after", after), ("until", until)))
        for action_twice in sorted((about & others) | ((opens or frozenset()) & (closes or frozenset()))):
            raise ValueError(f"an action must have one part in a property, got twice: {action_twice!r}")
        return cls(pattern=pattern, actions=about, other=others, limit=limit, after=opens, until=closes)

    @property
    def start(self) -> Phase:
        """The phase before a run."""
        return (self.after is None, 0)

    def owes(self, phase: Phase) -> bool:
        """Return whether an action must still come."""
        is_open, count = phase
        if self.pattern is Pattern.ANSWERED:
            return count == 1
        return self.pattern is Pattern.HAPPENS and is_open and not count

    def after_action(self, phase: Phase, action: str) -> Phase:
        """Return the phase after an action."""
        is_open, count = phase
        if phase == BROKEN or action == INTERNAL:
            return phase
        if not is_open:
            return (True, 0) if self.after is not None and action in self.after else phase
        if self.until is not None and action in self.until:
            return BROKEN if self.owes(phase) else (False, 0)
        if self.pattern in (Pattern.NEEDS, Pattern.ANSWERED) and action in self.other:
            return (True, 1 if self.pattern is Pattern.NEEDS else 0)
        return self._within(count) if action in self.actions else phase

    def _within(self, count: int) -> Phase:
        """Return the phase after one of the property's actions, if its scope is open."""
        if self.pattern is Pattern.AT_MOST:
            return (True, count + 1) if count < self.limit else BROKEN
        if self.pattern is Pattern.NEEDS:
            return (True, 1) if count else BROKEN
        return BROKEN if self.pattern is Pattern.NEVER else (True, 1)


def _actions(option: str, value: object) -> Actions:
    single = as_name(value)
    listed = [single] if single is not None else [*value] if isinstance(value, Collection) else []
    names = [as_name(name) for name in listed]
    if not names or None in names:
        raise TypeError(f"{option} must be an action or a collection of actions, got: {value!r}")
    if INTERNAL in names:
        raise ValueError(f"{option} must not name {INTERNAL!r}: a property sees visible actions only")
    return frozenset(map(str, names))


def either(actions: Actions) -> str:
    """Return actions as words: the one or the other."""
    return " or ".join(sorted(actions))
