"""The relations of `spex_shards.checking.relations` written down from their definitions, slow and plain."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from spex_shards.domain.lts import LTS
from spex_shards.domain.transition import INTERNAL, State
from tests.support.reference_bisimulation import reachable

WAITS = "__quiescence__"
States = frozenset[State]


class Plain:
    """A system, asked in the words of the definitions; nothing is collapsed."""

    def __init__(self, lts: LTS) -> None:
        self.start = lts.initial_state
        self.steps = lts.transitions
        self.states = {self.start, *(s for source, _, target in self.steps for s in (source, target))}
        silent = [(source, target) for source, action, target in self.steps if action == INTERNAL]
        self.near = {state: frozenset(reachable(state, silent)) for state in self.states}

    def after(self, state: State, action: str) -> States:
        """Return where silent steps, the action, and silent steps lead."""
        firsts = {t for s, a, t in self.steps if a == action and s in self.near[state]}
        return frozenset(end for first in firsts for end in self.near[first])

    def at_rest(self, state: State) -> bool:
        """Whether no silent step leads to where none leads back from."""
        return all(state in self.near[other] for other in self.near[state])

    def menu(self, state: State) -> States:
        """Return the visible actions that are possible after silent steps."""
        return frozenset(a for s, a, _ in self.steps if s in self.near[state] and a != INTERNAL)

    def actions(self) -> set[str]:
        """Return all visible actions."""
        return {action for _, action, _ in self.steps} - {INTERNAL}

    def all_after(self, states: States, label: str, inputs: States = frozenset()) -> States:
        """Return where a label leads from any of some states."""
        if label == WAITS:
            return frozenset(s for s in states if self.at_rest(s) and self.menu(s) <= inputs)
        return frozenset(end for state in states for end in self.after(state, label))


def includes(impl: LTS, spec: LTS) -> bool:
    """Whether every trace of one system is one of the other."""
    one, other = Plain(impl), Plain(spec)
    return all(theirs for _, theirs in together(one, other, sorted(one.actions()), frozenset()))


def conforms(impl: LTS, spec: LTS, inputs: States, *, waiting: bool = True) -> bool:
    """Whether ioco holds; without `waiting`, whether the outputs after traces without waits are specified ones."""
    one, other = Plain(impl), Plain(spec)
    outputs = sorted((one.actions() | other.actions()) - inputs)
    observed = [*outputs, *([WAITS] if waiting else [])]
    return all(
        not one.all_after(ours, output, inputs) or other.all_after(theirs, output, inputs)
        for ours, theirs in together(one, other, [*observed, *sorted(inputs)], inputs)
        if theirs
        for output in observed
    )


def together(one: Plain, other: Plain, labels: list[str], inputs: States) -> Iterator[tuple[States, States]]:
    """Yield for each trace of the first system where the two may be after it; each such pair once."""
    first = one.near[one.start], other.near[other.start]
    seen, todo = {first}, [first]
    while todo:
        ours, theirs = todo.pop()
        yield ours, theirs
        for label in labels:
            pair = one.all_after(ours, label, inputs), other.all_after(theirs, label, inputs)
            if pair[0] and theirs and pair not in seen:
                seen.add(pair)
                todo.append(pair)


def follows(impl: LTS, spec: LTS, stopping: str) -> int | None:
    """Return None if the second system simulates the first one, else in which round the initial pair is taken away."""
    one, other = Plain(impl), Plain(spec)
    relation = set(product(one.states, other.states))

    def stops(p: State, q: State) -> bool:
        menu = one.menu(p)
        if stopping == "anywhere" or not one.at_rest(p) or (stopping == "completed" and menu):
            return True
        return any((p, e) in relation and other.at_rest(e) and other.menu(e) == menu for e in other.near[q])

    def answered(p: State, q: State) -> bool:
        return stops(p, q) and all(
            any((target, end) in relation for end in (other.near[q] if action == INTERNAL else other.after(q, action)))
            for source, action, target in one.steps
            if source == p
        )

    number = 0
    while wrong := {(p, q) for p, q in relation if not answered(p, q)}:
        number += 1
        relation -= wrong
        if (one.start, other.start) in wrong:
            return number
    return None
