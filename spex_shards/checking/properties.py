"""Properties of runs: never this after that, each request is answered, at most so often.

::

    never("ship", after="cancel")                        ... cancel ... ship     is broken by its last step
    needs("ship", first="pay")                           ship before any pay     is broken by its last step
    at_most(2, "retry", after="fail", until="done")      fail retry retry retry  is broken by its last step
    answered("ask", by="reply")                          ... ask ...             owes a reply
    happens("pay")                                       ...                     owes a pay

The patterns are those of Dwyer, Avrunin and Corbett (1999): absence, precedence, bounded existence, response and
existence, with the scopes *globally*, *after* and *after-until*. A property sees visible actions only.

A system has a property if no run breaks it, and if whatever a run owes can still come. (This assumes fairness, as for
silent cycles elsewhere in this package: an action that stays possible comes in the end.)
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..domain.impl_model import ImplModel
from ..domain.lts import LTS
from ..domain.run_property import BROKEN, Names, Pattern, Phase, RunProperty, either
from ..domain.specification import Specification
from ..domain.transition import State, Transition
from .counterexample import chain, of_starts
from .relations import Holding
from .systems import system_of

__all__ = [
    "BROKEN",
    "Pattern",
    "Phase",
    "Property",
    "PropertyResult",
    "answered",
    "at_most",
    "happens",
    "needs",
    "never",
]

THIS: Final = sys.modules[__name__]
"""This module, under the name ``spex.properties``."""


class Property(RunProperty):
    """A property of runs. Make one by `never`, `needs`, `at_most`, `answered` or `happens`.

    Attributes:
        pattern: The pattern.
        actions: The actions that it is about.
        other: NEEDS: the actions of which one must come first. ANSWERED: the answers.
        limit: AT_MOST: how often the actions may come.
        after: The actions that open the scope; None: it is open from the start.
        until: The actions that close it; None: it stays open. The actions that open and close are not in it.
    """

    __slots__ = ()

    def of_run(self, actions: Iterable[str]) -> Holding:
        """Judge one run by its visible actions.

        Returns:
            VIOLATION if the run breaks the property; INCOMPLETE if it still owes an action; else HOLDS.

        Raises:
            TypeError: `actions` is one text.
        """
        if isinstance(actions, str):
            raise TypeError(f"a run must be actions in their order, got the str {actions!r}")
        phase = self.start
        for action in actions:
            phase = self.after_action(phase, action)
        return Holding.VIOLATION if phase == BROKEN else Holding.INCOMPLETE if self.owes(phase) else Holding.HOLDS

    def of(self, system: LTS | ImplModel | type[Specification]) -> PropertyResult:
        """Decide whether a system, a model or a specification has this property.

        Raises:
            TypeError: `system` is none of them.
        """
        if isinstance(system, ImplModel):
            starts = system.initialisations
            if len(starts) != 1:
                return PropertyResult(
                    self, Holding.VIOLATION if starts else Holding.INCOMPLETE, (), str(of_starts(starts))
                )
            steps = sorted((str(t.source), t.action, t.target) for t in system.transitions if t.source is not None)
            return _decide(self, LTS(starts[0], steps))
        return _decide(self, system_of(system))


@dataclass(frozen=True, slots=True)
class PropertyResult:
    """Whether a system has a property.

    Attributes:
        property: The property.
        verdict: HOLDS; VIOLATION, where a run breaks it; or INCOMPLETE, where a run owes what can never come in the
            system as it is known. More may be seen of a model; what is specified does not promise it.
        run: A shortest run to where that is so; empty where it holds.
        text: The same as a sentence.
    """

    property: Property
    verdict: Holding
    run: tuple[Transition, ...]
    text: str

    @builtins.property
    def holds(self) -> bool:
        """Whether the system has the property."""
        return self.verdict is Holding.HOLDS

    def __str__(self) -> str:
        return self.text


def never(action: Names, *, after: Names | None = None, until: Names | None = None) -> Property:
    """Return the property that an action, or any of several, does not come.

    Args:
        action: The action, or several.
        after: From the first of these on only; by default from the start.
        until: Up to the first of these only, again after each `after`.

    Raises:
        TypeError: Something is no action.
        ValueError: An action is the internal one, or both opens and closes the scope.
    """
    return Property.made(Pattern.NEVER, action, after=after, until=until)


def at_most(limit: int, action: Names, *, after: Names | None = None, until: Names | None = None) -> Property:
    """Return the property that an action comes at most `limit` times each time that the scope is open.

    Raises:
        TypeError, ValueError: As `never`; and `limit` must be an int from 0 on.
    """
    return Property.made(Pattern.AT_MOST, action, limit=limit, after=after, until=until)


def needs(action: Names, *, first: Names, after: Names | None = None, until: Names | None = None) -> Property:
    """Return the property that an action comes only once one of `first` has come, since the scope was opened.

    Raises:
        TypeError, ValueError: As `never`; and `first` must have none of `action`.
    """
    return Property.made(Pattern.NEEDS, action, other=first, after=after, until=until)


def answered(action: Names, *, by: Names, after: Names | None = None, until: Names | None = None) -> Property:
    """Return the property that each time that an action has come, one of `by` comes later, before the scope closes.

    Raises:
        TypeError, ValueError: As `never`; and `by` must have none of `action`.
    """
    return Property.made(Pattern.ANSWERED, action, other=by, after=after, until=until)


def happens(action: Names, *, after: Names | None = None, until: Names | None = None) -> Property:
    """Return the property that an action comes each time that the scope is open.

    Raises:
        TypeError, ValueError: As `never`.
    """
    return Property.made(Pattern.HAPPENS, action, after=after, until=until)


def _decide(prop: Property, lts: LTS) -> PropertyResult:
    walk = _Walk(prop, lts)
    broken = walk.broken()
    if broken is not None:
        return PropertyResult(prop, Holding.VIOLATION, broken, f"{prop}: broken by {chain(broken)}.")
    owing = walk.owing()
    if owing is not None:
        where = f"after {chain(owing)}" if owing else "at the start"
        missing = either(prop.other or prop.actions)
        return PropertyResult(prop, Holding.INCOMPLETE, owing, f"{prop}: {where} {missing} can never come.")
    return PropertyResult(prop, Holding.HOLDS, (), f"{prop}: holds.")


Pair = tuple[State, Phase]


class _Walk:
    """The pairs of a state and a property's phase that runs lead to, breadth first."""

    def __init__(self, prop: Property, lts: LTS) -> None:
        self._prop = prop
        self._first: Pair = (lts.initial_state, prop.start)
        self._came: dict[Pair, tuple[Pair, str] | None] = {self._first: None}
        self._before: dict[Pair, list[Pair]] = {}
        outgoing: dict[State, list[tuple[str, State]]] = {}
        for source, action, target in lts.transitions:
            outgoing.setdefault(source, []).append((action, target))
        for pair in (order := [self._first]):  # grows while the loop runs
            for action, target in outgoing.get(pair[0], ()):
                there = (target, prop.after_action(pair[1], action))
                self._before.setdefault(there, []).append(pair)
                if there not in self._came:
                    self._came[there] = (pair, action)
                    order.append(there)

    def broken(self) -> tuple[Transition, ...] | None:
        """Return a shortest run that breaks the property."""
        return next((self._run(pair) for pair in self._came if pair[1] == BROKEN), None)

    def owing(self) -> tuple[Transition, ...] | None:
        """Return a shortest run to a state in which an action is owed that can never come."""
        todo = [pair for pair in self._came if not self._prop.owes(pair[1])]
        paying = set(todo)
        while todo:
            new = [pair for pair in self._before.get(todo.pop(), ()) if pair not in paying]
            paying.update(new)
            todo += new
        return next((self._run(pair) for pair in self._came if pair not in paying), None)

    def _run(self, pair: Pair) -> tuple[Transition, ...]:
        steps: list[Transition] = []
        while (came := self._came[pair]) is not None:
            before, action = came
            steps.append(Transition(before[0], action, pair[0]))  # type: ignore[arg-type]  # a state may be a number
            pair = before
        return tuple(steps[::-1])
