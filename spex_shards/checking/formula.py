"""Formulas that tell systems apart: Hennessy-Milner logic, over silent closures where silent steps do not count.

::

    true                      of every state
    !f   f && g               as usual
    <a>f                      some step a leads to a state of f                        (strong bisimilarity only)
    <tau*>f                   some number of silent steps, none included, lead to a state of f
    <tau*>(<a>f && g)         ... to a state of g where a leads to a state of f; <tau?> for one silent step or none
    <tau^inf>f                silent steps lead to endless silent activity, all of it in states of f
    <tau*>(rests{a,b} && f)   ... to a state of f at rest whose actions are exactly a and b (see `relations`)

Equivalent states satisfy the same formulas: those with ``<a>`` and no other modality under strong bisimilarity
(Hennessy and Milner 1985), those with ``<tau*>`` under branching bisimilarity (van Glabbeek and Weijland 1996; that the
steps before g need not stay in equivalent states is Basten's theorem of 1996), and those with ``<tau^inf>`` too where
divergence is preserved (van Glabbeek, Luttik and Trčka 2009). So a formula that holds in one state only is a proof.

An action is written as it is called, between double quotes where that could be misread: ``<"tau">`` is visible.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from ..domain.transition import INTERNAL

__all__ = [
    "TRUE",
    "And",
    "Diverges",
    "Formula",
    "Not",
    "Rests",
    "Silently",
    "Step",
    "WeakStep",
    "conjunction",
    "without_silence",
]

MOST_SHOWN: Final = 100_000
"""How many characters of a formula `str` shows before it cuts."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Formula:
    """A formula: an immutable tree, compared by value, that may share branches and may be very deep.

    Nothing here uses recursion.

    Attributes:
        depth: How many modalities are nested.
        size: How many modalities and negations there are; a shared branch counts each time.
    """

    depth: int = field(init=False)
    size: int = field(init=False)
    _hash: int = field(init=False)

    def __post_init__(self) -> None:
        parts = self.parts
        modality = not isinstance(self, (And, Not))
        object.__setattr__(self, "depth", modality + max([part.depth for part in parts], default=0))
        object.__setattr__(self, "size", (not isinstance(self, And)) + sum(part.size for part in parts))
        # Not the hash of a str, which differs from process to process.
        name = zlib.crc32(f"{type(self).__name__} {getattr(self, 'action', '')}".encode("utf-8", "surrogatepass"))
        object.__setattr__(self, "_hash", hash((name, *map(hash, parts))))

    @property
    def parts(self) -> tuple[Formula, ...]:
        """The formulas that this one is made of."""
        raise NotImplementedError

    def __str__(self) -> str:
        return _written(self)

    def __repr__(self) -> str:
        return f"<formula {self}>"

    def __eq__(self, other: object) -> bool:
        return _same(self, other) if isinstance(other, Formula) else NotImplemented

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class And(Formula):
    """All of `operands` hold; without operands: true."""

    operands: tuple[Formula, ...] = ()

    @property
    def parts(self) -> tuple[Formula, ...]:
        """The operands."""
        return self.operands


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Not(Formula):
    """`operand` does not hold."""

    operand: Formula

    @property
    def parts(self) -> tuple[Formula, ...]:
        """The operand."""
        return (self.operand,)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Step(Formula):
    """Some step `action` leads to a state of `then`."""

    action: str
    then: Formula

    @property
    def parts(self) -> tuple[Formula, ...]:
        """What holds after it."""
        return (self.then,)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class WeakStep(Formula):
    """Silent steps lead to a state of `where`, and from it `action` to one of `then`.

    With the internal action: one silent step or none leads from the former to the latter.
    """

    where: Formula
    action: str
    then: Formula

    @property
    def parts(self) -> tuple[Formula, ...]:
        """What holds before and after the step."""
        return self.where, self.then


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Silently(Formula):
    """Silent steps, or none, lead to a state of `operand`."""

    operand: Formula

    @property
    def parts(self) -> tuple[Formula, ...]:
        """The operand."""
        return (self.operand,)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Diverges(Formula):
    """Silent steps, or none, lead to endless silent activity, all of it in states of `operand`."""

    operand: Formula

    @property
    def parts(self) -> tuple[Formula, ...]:
        """The operand."""
        return (self.operand,)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Rests(Formula):
    """Silent steps, or none, lead to a state of `then` at rest that can do `actions` (sorted) and nothing else.

    At rest is a state whose silent steps, if it has some, all lead back to it.
    """

    actions: tuple[str, ...]
    then: Formula

    @property
    def action(self) -> str:
        """The actions as one text, which formulas of this class are compared by."""
        return ", ".join(map(_name, self.actions))

    @property
    def parts(self) -> tuple[Formula, ...]:
        """What holds there."""
        return (self.then,)


TRUE: Final = And()


def conjunction(formulas: Iterable[Formula]) -> Formula:
    """Return the conjunction of `formulas`, without duplicates, and without a conjunction inside a conjunction."""
    flat: dict[Formula, None] = {}
    for formula in formulas:
        flat.update(dict.fromkeys(formula.operands if isinstance(formula, And) else (formula,)))
    return next(iter(flat)) if len(flat) == 1 else And(tuple(flat))


def without_silence(formula: Formula) -> Formula:
    """Return what a formula says of systems without silent steps: ``<a>`` in place of ``<tau*><a>``.

    Args:
        formula: One that no silent step and no endless silence is asked for in.
    """
    done: dict[int, Formula] = {}
    todo = [formula]
    while todo:
        part = todo[-1]
        waiting = [inner for inner in part.parts if id(inner) not in done]
        if waiting:
            todo += waiting
            continue
        done.setdefault(id(part), _plain(part, [done[id(inner)] for inner in part.parts]))
        todo.pop()
    return done[id(formula)]


def _plain(formula: Formula, parts: list[Formula]) -> Formula:
    match formula:
        case And():
            return conjunction(parts)
        case Not():
            return Not(parts[0])
        case Silently():
            return parts[0]
        case Diverges():
            return Not(TRUE)
        case WeakStep(action=action) if action == INTERNAL:
            return conjunction(parts)  # no silent step is the only way
        case WeakStep():
            return conjunction([Step(formula.action, parts[1]), parts[0]])
        case _:
            return formula


def _same(one: Formula, other: Formula) -> bool:
    seen = set()
    todo = [(one, other)]
    while todo:
        ours, theirs = todo.pop()
        if ours is theirs or (id(ours), id(theirs)) in seen:
            continue
        seen.add((id(ours), id(theirs)))
        if (
            hash(ours) != hash(theirs)
            or type(ours) is not type(theirs)
            or getattr(ours, "action", "") != getattr(theirs, "action", "")
        ):
            return False
        if len(ours.parts) != len(theirs.parts):
            return False
        todo += zip(ours.parts, theirs.parts, strict=True)
    return True


def _written(formula: Formula) -> str:
    shown, length = [], 0
    todo: list[str | Formula] = [formula]
    while todo:
        piece = todo.pop()
        if not isinstance(piece, str):
            todo += reversed(_pieces(piece))
            continue
        shown.append(piece)
        length += len(piece)
        if length > MOST_SHOWN:
            return "".join(shown)[:MOST_SHOWN] + "…"
    return "".join(shown)


def _pieces(formula: Formula) -> list[str | Formula]:
    match formula:
        case And(operands=()):
            return ["true"]
        case And():
            joined: list[str | Formula] = ["("]
            for operand in formula.operands:
                joined += [operand, " && "]
            return [*joined[:-1], ")"]
        case Not():
            return ["!", formula.operand]
        case Step():
            return [f"<{_name(formula.action)}>", formula.then]
        case WeakStep():
            step: list[str | Formula] = [f"<{_name(formula.action, 'tau?')}>", formula.then]
            if formula.where == TRUE:
                return ["<tau*>", *step]
            others = formula.where.parts if isinstance(formula.where, And) else (formula.where,)
            ands: list[str | Formula] = [piece for other in others for piece in (" && ", other)]
            return ["<tau*>(", *step, *ands, ")"]
        case Silently():
            return ["<tau*>", formula.operand]
        case Diverges():
            return ["<tau^inf>", formula.operand]
        case Rests():
            rest = f"rests{{{formula.action}}}"
            return [f"<tau*>{rest}"] if formula.then == TRUE else [f"<tau*>({rest} && ", formula.then, ")"]
    raise TypeError(f"not a formula: {type(formula)}")


def _name(action: str, silent: str = "tau") -> str:
    if action == INTERNAL:
        return silent
    if re.fullmatch(r"[\w.:/-]+", action) and action != "tau":
        return action
    return json.dumps(action, ensure_ascii=not action.isprintable())
