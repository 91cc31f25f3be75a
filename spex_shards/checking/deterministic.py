"""Deterministic systems without silent steps, the common case: equal languages mean bisimilar, in near-linear time."""

from __future__ import annotations

from typing import TypeVar

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State

Moves = dict[State, dict[str, State]]
_Key = TypeVar("_Key")


def moves_of(lts: LTS, *, strong: bool) -> Moves | None:
    """Return the target of each action in each state; None if an action has two targets, or is silent.

    Args:
        lts: The system; its unreachable part counts as well.
        strong: Whether the internal action is an action like any other.
    """
    moves: Moves = {}
    for source, action, target in lts.transitions:
        if source not in moves:
            moves[source] = {action: target}
        elif action in moves[source]:
            return None
        else:
            moves[source][action] = target
        if action == INTERNAL and not strong:
            return None
    return moves


def agree(one: LTS, other: LTS, *, strong: bool) -> bool | None:
    """Return whether two deterministic systems are bisimilar; None if one is not deterministic.

    States that must be equivalent are united until two of them differ in their actions (Hopcroft and Karp 1971).
    """
    ours = moves_of(one, strong=strong)
    theirs = None if ours is None else moves_of(other, strong=strong)
    if ours is None or theirs is None:
        return None
    nothing: dict[str, State] = {}
    # The key of a state is the state itself in the first system, and a tuple in the second: they may share names.
    parent: dict[object, object] = {}
    todo = [(one.initial_state, other.initial_state)]
    while todo:
        mine, yours = todo.pop()
        root, other_root = root_of(parent, mine), root_of(parent, (yours,))
        if root == other_root:
            continue
        parent[root] = other_root
        my_moves, your_moves = ours.get(mine, nothing), theirs.get(yours, nothing)
        if my_moves.keys() != your_moves.keys():
            return False
        for action, target in my_moves.items():
            todo.append((target, your_moves[action]))
    return True


def forced_classes(impl: LTS, moves: Moves, initial: State, *, strong: bool) -> dict[State, State] | None:
    """Return the class that each reachable state of a system must have to be, or become, equivalent to another system.

    Args:
        impl: The system. It need not be deterministic; its silent steps must stay in a class.
        moves: The moves of the other system, which must be minimal; its states are the classes.
        initial: The initial state of the other system.
        strong: Whether the internal action is an action like any other.

    Returns:
        The classes; None if a state would need two classes, or has a step that its class does not have.
    """
    outgoing: dict[State, list[tuple[str, State]]] = {}
    for source, action, target in impl.transitions:
        outgoing.setdefault(source, []).append((action, target))
    nothing: dict[str, State] = {}
    classes = {impl.initial_state: initial}
    todo = [impl.initial_state]
    while todo:
        state = todo.pop()
        own = classes[state]
        for action, target in outgoing.get(state, ()):
            lead = own if action == INTERNAL and not strong else moves.get(own, nothing).get(action)
            if lead is None:
                return None
            if target not in classes:
                classes[target] = lead
                todo.append(target)
            elif classes[target] != lead:
                return None
    return classes


def root_of(parent: dict[_Key, _Key], key: _Key) -> _Key:
    """Return what a key was united with in the end, as a forest of `parent` says; paths are halved on the way."""
    while key in parent:
        up = parent[key]
        if up in parent:
            parent[key] = parent[up]
        key = up
    return key
