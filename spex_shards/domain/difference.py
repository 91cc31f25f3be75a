"""What one model has and another one has not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .transition import Transition


@dataclass(frozen=True, slots=True)
class Difference:
    """The way from one model to another; true when there is any.

    Attributes:
        added: Transitions that only the new one has, initialisations first, sorted.
        removed: Transitions that only the old one has, likewise.
    """

    added: tuple[Transition, ...] = ()
    removed: tuple[Transition, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)

    def __str__(self) -> str:
        """Return a line for each transition, with ``+`` or ``-`` before it."""
        return "\n".join([*(f"- {shown(t)}" for t in self.removed), *(f"+ {shown(t)}" for t in self.added)])


def difference(old: Iterable[Transition], new: Iterable[Transition]) -> Difference:
    """Return what the transitions `new` have beyond `old`, and the other way round."""
    before, after = set(old), set(new)
    return Difference(in_order(after - before), in_order(before - after))


def in_order(transitions: Iterable[Transition]) -> tuple[Transition, ...]:
    """Return transitions in the order of their names, initialisations first."""
    return tuple(sorted(transitions, key=lambda t: (t.source is not None, t.source or "", t.action, t.target)))


def shown(transition: Transition) -> str:
    """Return a transition as one line of text: ``source --[action]-> target``."""
    source, action, target = (name if name is None else one_line(name) for name in transition)
    return f"{source} --[{action}]-> {target}" if source is not None else f"starts in {target}"


def one_line(name: str) -> str:
    """Return a name as it can stand in a line: quoted where it is empty or has something that cannot be printed."""
    return name if name and name.isprintable() and name == name.strip() else repr(name)
