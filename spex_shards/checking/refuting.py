"""Looks for a state of a model that no state of a large specification can follow: a quick proof of a violation.

::

    partition ──▶ suspect: a state without an equivalent one,      run to the suspect ──▶ states that the
                  whose steps all lead to states with one          specification may be in ──▶ can one follow it?

If an extension of the model is equivalent to the specification, each state of the model is equivalent to one that the
same visible actions lead to in the specification, and that one can follow it: it weakly simulates it. So the model is a
violation if none of these can. Whether a state can follow another one is a game on pairs (m, n)::

    (m, n) is refuted  if  m has a step to m' such that each state n' that answers it gives a refuted pair (m', n')

The partition says where to look: where the difference begins; and in the game, a step of m is tried only if no answer
n' is in the block of m'. So mostly a small part of the systems is seen. Violations of other kinds are not found; the
effort is bounded.
"""

from __future__ import annotations

from typing import Final

from .classes import PackedSteps
from .graph import SILENT

EFFORT_PER_STEP: Final = 1
"""How many states and answers are looked at for each step of the two systems, at most; and at least `LEAST_EFFORT`."""
LEAST_EFFORT: Final = 20_000
MOST_SUSPECTS: Final = 3

Pair = tuple[int, int]


class _TooMuch(Exception):
    """The effort is used up."""


def suspects(steps: PackedSteps, block: list[int], start: int, nodes: list[int]) -> list[list[Pair]]:
    """Return runs of a model, as steps (action, target), to nodes where its difference to a specification may begin.

    Args:
        steps: The model's steps.
        block: The block of each node; equivalent nodes are in one block.
        start: The model's initial node.
        nodes: The nodes of the specification.
    """
    known = bytearray(max(block) + 1)
    for node in nodes:
        known[block[node]] = 1
    before, order = {start: start}, [start]
    found: list[int] = []
    for node in order:  # grows while the loop runs
        begins = not known[block[node]]
        for _, target in steps.of(node):
            if target not in before:
                before[target] = node
                order.append(target)
            if begins and not known[block[target]]:
                begins = False
        if begins:
            found.append(node)
            if len(found) == MOST_SUSPECTS:
                break
    return [_run(steps, before, node) for node in found]


def _run(steps: PackedSteps, before: dict[int, int], node: int) -> list[Pair]:
    found: list[Pair] = []
    while before[node] != node:
        source = before[node]
        found.append((next(code for code, target in steps.of(source) if target == node), node))
        node = source
    return [(SILENT, node), *found[::-1]]


class Pursuit:
    """The search for a state of a model that no state of a specification can follow.

    Args:
        steps: The steps of both systems.
        block: The block of each node, in a partition that has all equivalent nodes in one block; or a number of its own
            for each node, if there is no partition: then the initial state alone is looked at.
    """

    def __init__(self, steps: PackedSteps, block: list[int] | range) -> None:
        self._steps, self._block = steps, block
        self._refuted: dict[Pair, bool] = {}  # false while a pair is looked at, and if no refutation was found
        self._near: dict[int, list[int]] = {}
        self._answers: dict[int, dict[int, set[int]]] = {}
        size = len(steps.visible.targets) + len(steps.silent.targets)
        self._effort = max(LEAST_EFFORT, int(size * EFFORT_PER_STEP))

    def refutes(self, one: int, nodes: list[int], start: int) -> bool:
        """Return whether a node of the model was found that the specification cannot follow.

        Args:
            one: The model's initial node.
            nodes: The nodes that the specification can reach.
            start: The specification's initial node.
        """
        try:
            block = self._block
            runs = [[(SILENT, one)]] if isinstance(block, range) else suspects(self._steps, block, one, nodes)
            return any(self._escapes(run, start) for run in runs)
        except _TooMuch:
            return False

    def _escapes(self, run: list[Pair], start: int) -> bool:
        """Return whether no node that the specification may be in after a run can follow the node at its end."""
        nodes = self._with_silent([start])
        visible, codes, targets = self._steps.visible.first, self._steps.visible.codes, self._steps.visible.targets
        for code, _ in run:
            if code != SILENT:
                places = [at for own in nodes for at in range(visible[own], visible[own + 1])]
                self._spend(len(places))
                nodes = self._with_silent([targets[at] for at in places if codes[at] == code])
        last = run[-1][1]
        return all(self._loses(last, own) for own in self._able(nodes, {code for code, _ in self._steps.of(last)}))

    def _with_silent(self, nodes: list[int]) -> list[int]:
        """Return nodes and all that silent steps lead to from them."""
        first, targets = self._steps.silent.first, self._steps.silent.targets
        found = set(nodes)
        order = list(found)
        for node in order:  # grows while the loop runs
            for target in targets[first[node] : first[node + 1]]:
                if target not in found:
                    found.add(target)
                    order.append(target)
        self._spend(len(order))
        return order

    def _able(self, nodes: list[int], actions: set[int]) -> list[int]:
        """Return those of some nodes that have some actions, also after silent steps, which lead to others of them."""
        first, codes = self._steps.visible.first, self._steps.visible.codes
        silent, targets = self._steps.silent.first, self._steps.silent.targets
        wanted = frozenset(actions - {SILENT})
        have: dict[int, frozenset[int]] = {}
        for node in sorted(nodes):  # silent steps lead to smaller numbers
            own = wanted.intersection(codes[first[node] : first[node + 1]])
            for target in targets[silent[node] : silent[node + 1]]:
                if not have[target] <= own:
                    own |= have[target]
            have[node] = own
        self._spend(len(nodes))
        return [node for node in nodes if len(have[node]) == len(wanted)]

    def _loses(self, one: int, other: int) -> bool:
        """Return whether it was found that the node `other` cannot follow the node `one`."""
        known = self._refuted
        if (one, other) in known:
            return known[one, other]
        pairs: list[Pair] = [(one, other)]
        choices = [self._choices(one, other)]  # for each pair: what may refute it, as pairs that must all be refuted
        known[one, other] = False
        while pairs:
            if not choices[-1]:
                pairs.pop()
                choices.pop()
                if choices:
                    choices[-1].pop()
                continue
            needed = choices[-1][-1]
            while needed and known.get(needed[-1], False):
                needed.pop()
            if not needed:
                choices.pop()
                known[pairs.pop()] = True
            elif needed[-1] in known:
                choices[-1].pop()
            else:
                known[needed[-1]] = False
                pairs.append(needed[-1])
                choices.append(self._choices(*needed[-1]))
        return known[one, other]

    def _choices(self, one: int, other: int) -> list[list[Pair]]:
        """Return for each step of `one` that may refute a pair the pairs that answers lead to, the fewest last."""
        block, found = self._block, []
        answers = self._after(other)
        for code, target in self._steps.of(one):
            leads = self._near_to(other) if code == SILENT else answers.get(code, ())
            own = block[target]
            self._spend(1 + len(leads))
            if all(block[lead] != own for lead in leads):
                found.append([(target, lead) for lead in leads])
                if not leads:
                    break
        found.sort(key=len, reverse=True)
        return found

    def _after(self, node: int) -> dict[int, set[int]]:
        """Return the targets of each visible action from a node, also after silent steps."""
        known = self._answers.get(node)
        if known is None:
            known = self._answers[node] = {}
            first, codes, targets = self._steps.visible.first, self._steps.visible.codes, self._steps.visible.targets
            for here in self._near_to(node):
                self._spend(1 + first[here + 1] - first[here])
                for at in range(first[here], first[here + 1]):
                    known.setdefault(codes[at], set()).add(targets[at])
        return known

    def _near_to(self, node: int) -> list[int]:
        """Return the nodes that silent steps lead to from a node, itself among them."""
        known = self._near.get(node)
        if known is None:
            first, targets = self._steps.silent.first, self._steps.silent.targets
            found, known = {node}, [node]
            for here in known:  # grows while the loop runs
                self._spend(1)
                for target in targets[first[here] : first[here + 1]]:
                    if target not in found:
                        found.add(target)
                        known.append(target)
            self._near[node] = known
        return known

    def _spend(self, effort: int) -> None:
        self._effort -= effort
        if self._effort < 0:
            raise _TooMuch
