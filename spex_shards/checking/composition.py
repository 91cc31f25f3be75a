"""Parallel composition: the system of several parts that run side by side.

::

    till:   open --scan--> open --pay--> closed        door:  shut --pay--> ajar --leave--> shut

    parallel(till, door):   open|shut --scan--> open|shut --pay--> closed|ajar --leave--> closed|shut

A synchronised action is a common step of all parts that know it: it is possible only if all of them can do it. Any
other action is a step of one part, and the other parts stay in their states. This is the composition of Hoare's CSP
(1985), for more than two parts that of FSP (Magee and Kramer 1999). Silent steps are never synchronised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Final

from ..domain.lts import LTS
from ..domain.names import as_name
from ..domain.specification import Specification
from ..domain.transition import INTERNAL, State
from .systems import system_of

MOST_TRANSITIONS: Final = 1_000_000
"""The most transitions of a composition, whose number of states can be the product of the parts' numbers."""

Moves = dict[State, dict[str, list[State]]]
Place = tuple[State, ...]


def parallel(*parts: LTS | type[Specification], sync: Iterable[str] | None = None) -> LTS:
    r"""Return the parallel composition of systems.

    Args:
        *parts: Two or more systems or specifications. A part knows the actions of its transitions.
        sync: The synchronised actions. Default: those that two or more parts know.

    Returns:
        The reachable part of the composition. The name of a state is the parts' states joined by ``|``; a ``|`` or
        ``\`` in one of these has a ``\`` before it.

    Raises:
        TypeError: A part is no system, or `sync` no collection of actions.
        ValueError: There are less than two parts, `sync` names an action that less than two parts know, or the
            internal one, or there are more than `MOST_TRANSITIONS` transitions.

    The transitions can be those of a specification: ``transitions = spex.parallel(Till, Door).transitions``.
    """
    if len(parts) < 2:
        raise ValueError(f"a composition must have two parts or more, got: {len(parts)}")
    systems = [system_of(part) for part in parts]
    alphabets = [{action for _, action, _ in lts.transitions} - {INTERNAL} for lts in systems]
    together = _together(alphabets, sync)
    names = [_names(lts) for lts in systems]
    steps: list[tuple[State, str, State]] = []
    first = tuple(lts.initial_state for lts in systems)
    for source, action, target in _explored(first, [_moves(lts) for lts in systems], alphabets, together):
        if len(steps) == MOST_TRANSITIONS:
            raise ValueError(f"a composition must have at most {MOST_TRANSITIONS:,} transitions")
        steps.append((_joined(names, source), action, _joined(names, target)))
    return LTS(_joined(names, first), steps)


def _together(alphabets: list[set[str]], sync: Iterable[str] | None) -> set[str]:
    known = [action for alphabet in alphabets for action in alphabet]
    shared = {action for action in known if sum(action in alphabet for alphabet in alphabets) > 1}
    if sync is None:
        return shared
    if isinstance(sync, (str, bytes)) or not isinstance(sync, Iterable):
        raise TypeError(f"sync must be a collection of actions, got: {sync!r}")
    chosen = set()
    for value in sync:
        action = as_name(value)
        if action is None:
            raise TypeError(f"sync must name actions by str or str-valued Enum members, got: {value!r}")
        if action == INTERNAL:
            raise ValueError(f"sync must not name {INTERNAL!r}: silent steps are never synchronised")
        if action not in shared:
            raise ValueError(f"sync must name actions that two parts know, or more, got: {action!r}")
        chosen.add(action)
    return chosen


def _explored(
    first: Place, moves: list[Moves], alphabets: list[set[str]], together: set[str]
) -> Iterator[tuple[Place, str, Place]]:
    """Yield the transitions that can be reached, breadth first."""
    seen, order = {first}, [first]
    for place in order:  # grows while the loop runs
        own = [part.get(state, {}) for part, state in zip(moves, place, strict=True)]
        for action in dict.fromkeys(action for able in own for action in able):
            for target in _targets(place, action, own, alphabets, together):
                yield place, action, target
                if target not in seen:
                    seen.add(target)
                    order.append(target)


def _targets(
    place: Place, action: str, own: list[dict[str, list[State]]], alphabets: list[set[str]], together: set[str]
) -> Iterator[Place]:
    if action in together:
        # A part that knows the action and cannot do it here has no target, so that the product is empty.
        ways = [able.get(action, []) if action in known else None for able, known in zip(own, alphabets, strict=True)]
        yield from product(*([state] if way is None else way for state, way in zip(place, ways, strict=True)))
        return
    for number, able in enumerate(own):
        for state in able.get(action, ()):
            yield (*place[:number], state, *place[number + 1 :])


def _moves(lts: LTS) -> Moves:
    moves: Moves = {}
    for source, action, target in lts.transitions:
        moves.setdefault(source, {}).setdefault(action, []).append(target)
    return moves


def _names(lts: LTS) -> dict[State, str]:
    """Return the states' names, `|` escaped; the state 1 and the state "1" are two."""
    states = dict.fromkeys([lts.initial_state, *(s for source, _, target in lts.transitions for s in (source, target))])
    texts = {state for state in states if isinstance(state, str)}
    named = {}
    for state in states:
        name = str(state)
        while not isinstance(state, str) and name in texts:
            name += " (int)"
        named[state] = name.replace("\\", "\\\\").replace("|", "\\|")
    return named


def _joined(names: list[dict[State, str]], place: Place) -> str:
    return "|".join(of[state] for of, state in zip(names, place, strict=True))
