"""Deterministic systems without silent steps, the common case: equal languages mean bisimilar, in near-linear time."""

from __future__ import annotations

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State

Moves = dict[State, dict[str, State]]


def moves_of(lts: LTS, *, strong: bool) -> Moves | None:
    """Return where each action leads from each state; None if some action leads to two states, or is silent.

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
    """Whether two deterministic systems are bisimilar; None if one is not deterministic.

    Pairs of states that must be equivalent are united until a pair differs in its actions (Hopcroft and Karp 1971).
    """
    ours = moves_of(one, strong=strong)
    theirs = None if ours is None else moves_of(other, strong=strong)
    if ours is None or theirs is None:
        return None
    nothing: dict[str, State] = {}
    # A state is keyed by itself on our side, and by a tuple on theirs: the two may share names.
    parent: dict[object, object] = {}
    todo = [(one.initial_state, other.initial_state)]
    while todo:
        mine, yours = todo.pop()
        root, other_root = _root(parent, mine), _root(parent, (yours,))
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
    """Return the class of each reachable state of a system that is to be, or to become, equivalent to another.

    Args:
        impl: The system; it need not be deterministic, and may have silent steps, which must stay in a class.
        moves: Those of the other system, which must be minimal; its states are the classes.
        initial: The initial state of the other system.
        strong: Whether the internal action is an action like any other.

    Returns:
        The classes, or None if a state would need two, or has a step that its class has not.
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


def _root(parent: dict[object, object], key: object) -> object:
    while key in parent:
        up = parent[key]
        if up in parent:
            parent[key] = parent[up]  # halve the path
        key = up
    return key
