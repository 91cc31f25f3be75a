"""Decides where formulas hold in a graph of classes, for the search for small formulas, which asks that often.

These answers only guide the search. The formula that is shown is checked by `ModelChecker` on the original systems.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping

from ..domain.transition import INTERNAL
from .formula import And, Diverges, Formula, Not, Silently, Step, WeakStep
from .graph import Steps

Question = tuple[Formula, int]
Judgement = Generator[Question, bool, bool]


class Satisfaction:
    """Answers questions about the nodes of a graph without silent cycles.

    Args:
        visible: For each node its visible steps.
        silent: For each node the targets of its silent steps.
        codes: The code of each action.
        divergence: The code of a step that stands for endless silent activity.
    """

    def __init__(self, visible: Steps, silent: list[list[int]], codes: Mapping[str, int], divergence: int) -> None:
        self._targets: list[dict[int, list[int]]] = [{} for _ in visible]
        for targets, steps in zip(self._targets, visible, strict=True):
            for code, target in steps:
                targets.setdefault(code, []).append(target)
        self._silent, self._codes, self._divergence = silent, codes, divergence
        self._known: dict[Question, bool] = {}

    def holds(self, formula: Formula, node: int) -> bool:
        """Return whether a formula holds in a node."""
        waiting: list[tuple[Question, Judgement]] = []
        question: Question = (formula, node)
        while True:
            answer = self._known.get(question)
            if answer is None:
                waiting.append((question, self._judge(*question)))
            while waiting:
                asked, judgement = waiting[-1]
                try:
                    question = judgement.send(answer)  # type: ignore[arg-type]  # None starts a generator
                    break
                except StopIteration as end:
                    answer = self._known[asked] = end.value
                    waiting.pop()
            else:
                return bool(answer)

    def _judge(self, formula: Formula, node: int) -> Judgement:
        match formula:
            case And():
                for operand in formula.operands:
                    if not (yield operand, node):
                        return False
                return True
            case Not():
                return not (yield formula.operand, node)
            case Step():
                for target in self._targets[node].get(self._codes[formula.action], ()):
                    if (yield formula.then, target):
                        return True
                return False
            case WeakStep() | Silently() | Diverges():
                if (yield from self._here(formula, node)):
                    return True
                for target in self._silent[node]:
                    if (yield formula, target):
                        return True
                return False
        raise TypeError(f"not a formula: {type(formula)}")

    def _here(self, formula: WeakStep | Silently | Diverges, node: int) -> Judgement:
        """Return whether a formula holds in a node without a silent step before."""
        if isinstance(formula, Silently):
            return (yield formula.operand, node)
        if isinstance(formula, Diverges):
            return self._divergence in self._targets[node] and (yield formula.operand, node)
        if formula.action == INTERNAL:
            targets = [node, *self._silent[node]]
        else:
            targets = self._targets[node].get(self._codes[formula.action], [])
        for target in targets:
            if (yield formula.then, target):
                return (yield formula.where, node)
        return False
