"""The difference between two models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .transition import Transition


@dataclass(frozen=True, slots=True)
class Difference:
    """The changes that lead from one model to another; true if there are any.

    Attributes:
        added: The transitions that only the new model has, sorted, initialisations first.
        removed: The transitions that only the old model has, sorted in the same way.
    """

    added: tuple[Transition, ...] = ()
    removed: tuple[Transition, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)

    def __str__(self) -> str:
        """Return one line per transition, with ``+`` or ``-`` in front."""
        return "\n".join([*(f"- {shown(t)}" for t in self.removed), *(f"+ {shown(t)}" for t in self.added)])


def difference(old: Iterable[Transition], new: Iterable[Transition]) -> Difference:
    """Return the transitions that only `new` has, and those that only `old` has."""
    before, after = set(old), set(new)
    return Difference(in_order(after - before), in_order(before - after))


def in_order(transitions: Iterable[Transition]) -> tuple[Transition, ...]:
    """Return transitions sorted by their names, initialisations first."""
    return tuple(sorted(transitions, key=lambda t: (t.source is not None, t.source or "", t.action, t.target)))


def shown(transition: Transition) -> str:
    """Return a transition as one line of text: ``source --[action]-> target``."""
    source, action, target = (name if name is None else one_line(name) for name in transition)
    return f"{source} --[{action}]-> {target}" if source is not None else f"starts in {target}"


def one_line(name: str) -> str:
    """Return a name for use in a line of text: quoted if it is empty, has blanks at its ends or cannot be printed."""
    return name if name and name.isprintable() and name == name.strip() else repr(name)
