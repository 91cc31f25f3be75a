"""Decides whether a formula holds in a state, by the definition of each operator. Explanations are checked by this.

On purpose it shares no algorithm with the modules that find formulas (`witness`, `rounds`, `Graph`). It works on the
original transitions, without collapsing, classes or rounds, and examines only the states that a question depends on.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State
from .formula import And, Diverges, Formula, Not, Rests, Silently, Step, WeakStep
from .graph import Equivalence

_OPERATORS: dict[Equivalence, tuple[type[Formula], ...]] = {
    Equivalence.STRONG: (And, Not, Step),
    Equivalence.BRANCHING: (And, Not, WeakStep, Silently),
    Equivalence.DIVERGENCE_PRESERVING_BRANCHING: (And, Not, WeakStep, Silently, Diverges),
}

Question = tuple[Formula, State]
Judgement = Generator[Question, bool, bool]


def suits(formula: Formula, equivalence: Equivalence) -> bool:
    """Return whether a formula has only operators of an equivalence's logic, so that equivalent states agree on it."""
    allowed, seen, todo = _OPERATORS[equivalence], set(), [formula]
    while todo:
        part = todo.pop()
        if id(part) not in seen:
            seen.add(id(part))
            if not isinstance(part, allowed):
                return False
            todo += part.parts
    return True


class ModelChecker:
    """Answers questions about one system, and remembers the answers.

    Args:
        lts: The system.

    Attributes:
        initial_state: The system's initial state.
        transitions: How many transitions it has.
    """

    def __init__(self, lts: LTS) -> None:
        self.initial_state = lts.initial_state
        self.transitions = len(lts.transitions)
        self._after: dict[State, dict[str, list[State]]] = {}
        for source, action, target in lts.transitions:
            self._after.setdefault(source, {}).setdefault(action, []).append(target)
        self._known: dict[tuple[int, State], bool] = {}
        self._kept: dict[int, Formula] = {}  # keeps the formulas alive, so that their ids stay unique

    def actions(self, state: State) -> list[str]:
        """Return the actions of the steps from a state, in order of appearance."""
        return list(self._after.get(state, ()))

    def after(self, state: State, action: str) -> list[State]:
        """Return the states that an action leads to from a state."""
        return self._after.get(state, {}).get(action, [])

    def silent_tree(self, state: State) -> Iterator[tuple[State, State | None]]:
        """Yield the states that silent steps lead to, each with the one before it, breadth first, `state` first."""
        found: dict[State, State | None] = {state: None}
        order = [state]
        yield state, None
        for here in order:  # grows while the loop runs
            for target in self.after(here, INTERNAL):
                if target not in found:
                    found[target] = here
                    order.append(target)
                    yield target, here

    def menu(self, state: State) -> set[str] | None:
        """Return the visible actions that are possible in a state at rest, None for one that is not at rest."""
        around = {here for here, _ in self.silent_tree(state)}
        if any(state not in (back for back, _ in self.silent_tree(here)) for here in around):
            return None
        return {action for here in around for action in self.actions(here)} - {INTERNAL}

    def holds(self, formula: Formula, state: State | None = None) -> bool:
        """Return whether `formula` holds in `state`, by default the initial one."""
        known, answer = self._known, False
        question = (formula, self.initial_state if state is None else state)
        waiting: list[tuple[tuple[int, State], Judgement]] = []
        while True:
            key = (id(question[0]), question[1])
            if key in known:
                answer = known[key]
            else:
                self._kept[key[0]] = question[0]
                judgement = self._judge(*question)
                waiting.append((key, judgement))
                answer = None  # type: ignore[assignment]  # what starts a generator
            while waiting:
                key, judgement = waiting[-1]
                try:
                    question = judgement.send(answer)
                    break
                except StopIteration as end:
                    answer = known[key] = end.value
                    waiting.pop()
            else:
                return answer

    def _judge(self, formula: Formula, state: State) -> Judgement:
        match formula:
            case And():
                for operand in formula.operands:
                    if not (yield operand, state):
                        return False
                return True
            case Not():
                return not (yield formula.operand, state)
            case Step():
                for target in self.after(state, formula.action):
                    if (yield formula.then, target):
                        return True
                return False
            case WeakStep() | Silently():
                return (yield from self._somewhere(formula, state))
            case Diverges() | Rests():
                return (yield from self._in_the_end(formula, state))
        raise TypeError(f"not a formula: {type(formula)}")

    def _somewhere(self, formula: WeakStep | Silently, state: State) -> Judgement:
        """Decide whether `formula` holds in any of the states that silent steps lead to."""
        found, todo = {state}, [state]
        while todo:
            here = todo.pop()
            answer = self._known.get((id(formula), here))
            if answer is None:
                answer = yield from self._here(formula, here)
            elif not answer:
                continue  # it does not hold in any state that silent steps lead to from there either
            if answer:
                return True
            for target in self.after(here, INTERNAL):
                if target not in found:
                    found.add(target)
                    todo.append(target)
        for here in found:
            self._known[id(formula), here] = False
        return False

    def _here(self, formula: WeakStep | Silently, state: State) -> Judgement:
        """Return whether `formula` holds without a silent step before."""
        if isinstance(formula, Silently):
            return (yield formula.operand, state)
        targets = self.after(state, formula.action)
        for target in [state, *targets] if formula.action == INTERNAL else targets:
            if (yield formula.then, target):
                return (yield formula.where, state)
        return False

    def _in_the_end(self, formula: Diverges | Rests, state: State) -> Judgement:
        """Decide a formula about the states in which silent steps end, or about silent steps without end."""
        if isinstance(formula, Rests):
            for here, _ in self.silent_tree(state):
                if self.menu(here) == set(formula.actions) and (yield formula.then, here):
                    return True
            return False
        near: set[State] = set()
        for here, _ in self.silent_tree(state):
            if (yield formula.operand, here):
                near.add(here)
        return bool(self.endless(near))

    def endless(self, states: set[State]) -> set[State]:
        """Return those of `states` from which silent steps can continue for ever inside `states`."""
        left = set(states)
        leading: dict[State, list[State]] = {}
        ways: dict[State, int] = {}
        for here in left:
            inside = [target for target in self.after(here, INTERNAL) if target in left]
            ways[here] = len(inside)
            for target in inside:
                leading.setdefault(target, []).append(here)
        ended = [here for here in left if not ways[here]]
        while ended:
            here = ended.pop()
            left.discard(here)
            for source in leading.get(here, ()):
                ways[source] -= 1
                if not ways[source]:
                    ended.append(source)
        return left
