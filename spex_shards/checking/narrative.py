"""A distinguishing formula told as two runs: both sides do the same, until one can do what the other cannot.

The runs are found by the meaning of the formula: what holds on one side and not on the other is followed step by step
down to an action, or endless silent activity, that is possible in one state and not in the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from ..domain.lts import LTS
from ..domain.transition import INTERNAL, State, Transition
from .formula import TRUE, And, Diverges, Formula, Not, Silently, Step, WeakStep
from .model_checker import ModelChecker

_MOST_SHOWN: Final = 8
"""How many steps of a run, and actions of a state, a text shows."""

Edge = tuple[State, str, State]


@dataclass(slots=True)
class Run:
    """What one side does.

    Attributes:
        side: "impl" or "spec".
        system: The system.
        state: Where it is.
        steps: How it came there.
        last: The step that it can do and the other side cannot; silent ones before it included.
        choice: Whether there were other states that the same actions lead to.
    """

    side: str
    system: ModelChecker
    state: State
    steps: list[Edge] = field(default_factory=list)
    last: list[Edge] = field(default_factory=list)
    choice: bool = False

    def go(self, steps: Iterable[Edge]) -> None:
        """Take steps."""
        for step in steps:
            self.steps.append(step)
            self.state = step[2]

    def silently_to(self, state: State) -> list[Edge]:
        """Return the silent steps to a state that they lead to."""
        before: dict[State, State | None] = {}
        for here, source in self.system.silent_tree(self.state):
            before[here] = source
            if here == state:
                break
        steps: list[Edge] = []
        while (source := before[state]) is not None:
            steps.append((source, INTERNAL, state))
            state = source
        return steps[::-1]

    @property
    def name(self) -> str:
        """What the side is called."""
        return "your implementation" if self.side == "impl" else "the specification"

    def place(self, other: Run) -> str:
        """Say where it is, when the other side has just told how it went."""
        if not self.system.transitions:
            return "which has no transitions"
        if not self.steps:
            return f"at the start in state {_named(self.state)}"
        return (
            f"in state {_named(self.state)} ({'the same steps' if self.steps == other.steps else f'by {self.way()}'})"
        )

    def way(self) -> str:
        """Return the steps as text, the middle of a long run left out."""
        if len(self.steps) <= _MOST_SHOWN:
            return _chain(self.steps)
        half = _MOST_SHOWN // 2
        first, last = self.steps[:half], self.steps[-half:]
        return f"{_chain(first)} ... {len(self.steps) - 2 * half:,} more steps ... {_chain(last)}"

    def possible(self, *, strong: bool) -> str:
        """Say which actions are possible here."""
        near = [self.state] if strong else [state for state, _ in self.system.silent_tree(self.state)]
        actions = dict.fromkeys(action for state in near for action in self.system.actions(state))
        if not strong:
            actions.pop(INTERNAL, None)
        names = [_named(action) for action in actions]
        if len(names) > _MOST_SHOWN:
            return f"only {', '.join(names[:_MOST_SHOWN])} and {len(names) - _MOST_SHOWN:,} others are"
        if len(names) > 1:
            return f"only {', '.join(names[:-1])} and {names[-1]} are"
        return f"only {names[0]} is" if names else "nothing is"


@dataclass(frozen=True, slots=True)
class Story:
    """Where two systems part.

    Attributes:
        able: The side that can do something.
        unable: The one that cannot.
        action: What it is; None: endless silent activity.
        strong: Whether silent steps count.
    """

    able: Run
    unable: Run
    action: str | None
    strong: bool

    def trace(self, side: str) -> tuple[Transition, ...]:
        """Return the run of a side, with what it can do and the other cannot."""
        run = self.able if self.able.side == side else self.unable
        steps: list[Any] = [*run.steps, *run.last]
        return tuple(Transition(*step) for step in steps)

    def text(self) -> str:
        """Return the story as a sentence or two."""
        able, unable = self.able, self.unable
        deed = "go on silently for ever" if self.action is None else f"do {_named(self.action)}"
        if able.steps:
            text = f"After {able.way()} {able.name} can {deed}"
        else:
            text = f"At the start, in state {_named(able.state)}, {able.name} can {deed}"
        text += f"; {unable.name}, {unable.place(able)}, cannot"
        if self.action is not None:
            text += f": {unable.possible(strong=self.strong)} possible there"
        for run in (able, unable):
            if run.choice:
                text += f". The same actions can also lead {run.name} to other states"
        return text + "."


def tell(formula: Formula, impl: tuple[LTS, ModelChecker], spec: tuple[LTS, ModelChecker], side: str) -> Story:
    """Follow a formula that holds on one side, and not on the other, to where they part."""
    runs = {
        "impl": Run("impl", impl[1], impl[0].initial_state),
        "spec": Run("spec", spec[1], spec[0].initial_state),
    }
    own, other = (runs["impl"], runs["spec"]) if side == "impl" else (runs["spec"], runs["impl"])
    strong = False
    while True:
        match formula:
            case And():
                formula = min(
                    (part for part in formula.operands if not other.system.holds(part, other.state)),
                    key=lambda part: part.size,
                )
            case Not():
                own, other, formula = other, own, formula.operand
            case Silently():
                target = next(s for s, _ in own.system.silent_tree(own.state) if own.system.holds(formula.operand, s))
                own.go(own.silently_to(target))
                formula = formula.operand
            case Step() | WeakStep():
                strong = isinstance(formula, Step)
                ahead = _step(formula, own, other)
                if ahead is None:
                    return Story(own, other, formula.action, strong)
                formula = ahead
            case Diverges():
                ahead = _diverge(formula, own, other)
                if ahead is None:
                    return Story(own, other, None, strong)
                formula = ahead


def _step(formula: Step | WeakStep, own: Run, other: Run) -> Formula | None:
    """Take a step on both sides; return what then holds on our side and not on the other, None if that cannot do it."""
    where = TRUE if isinstance(formula, Step) else formula.where
    ends, answers = _ends(own, formula), _ends(other, formula)
    here, there = next(
        (here, there) for here, there in ends if own.system.holds(formula.then, there) and own.system.holds(where, here)
    )
    before = own.silently_to(here)
    if not answers:
        own.last = [*before, (here, formula.action, there)]
        return None
    for run, all_ends in ((own, ends), (other, answers)):
        run.choice |= len({target for _, target in all_ends}) > 1
    end, target = next(((end, target) for end, target in answers if other.system.holds(where, end)), answers[0])
    own.go(before)
    other.go(other.silently_to(end))
    if not other.system.holds(where, end):
        return where
    own.go(_edge(formula, here, there))
    other.go(_edge(formula, end, target))
    return formula.then


def _ends(run: Run, formula: Step | WeakStep) -> list[tuple[State, State]]:
    """Return the states before and after the action of `formula`."""
    if isinstance(formula, Step):
        return [(run.state, target) for target in run.system.after(run.state, formula.action)]
    found = []
    for here, _ in run.system.silent_tree(run.state):
        if formula.action == INTERNAL:
            found.append((here, here))
        found += [(here, target) for target in run.system.after(here, formula.action)]
    return found


def _edge(formula: Step | WeakStep, source: State, target: State) -> list[Edge]:
    if source == target and formula.action == INTERNAL and isinstance(formula, WeakStep):
        return []  # no silent step is needed
    return [(source, formula.action, target)]


def _diverge(formula: Diverges, own: Run, other: Run) -> Formula | None:
    """Go to a silent cycle on both sides; return what holds in ours only, None if there is no other."""
    place = _cycle(own, formula.operand)
    answer = _cycle(other, TRUE)
    assert place is not None
    before = own.silently_to(place)
    if answer is None:
        own.last = [*before, *_round(own, place)]
        return None
    own.go(before)
    other.go(other.silently_to(answer))
    return formula.operand


def _cycle(run: Run, formula: Formula) -> State | None:
    """Return a state of a silent cycle whose states all fulfil `formula`."""
    near = [state for state, _ in run.system.silent_tree(run.state) if run.system.holds(formula, state)]
    endless = run.system.endless(set(near))
    here = next((state for state in near if state in endless), None)
    passed: set[State] = set()
    while here is not None and here not in passed:
        passed.add(here)
        here = next(target for target in run.system.after(here, INTERNAL) if target in endless)
    return here


def _round(run: Run, state: State) -> list[Edge]:
    """Return the silent steps of a cycle through a state."""
    for first in run.system.after(state, INTERNAL):
        around = Run(run.side, run.system, first)
        if any(here == state for here, _ in run.system.silent_tree(first)):
            return [(state, INTERNAL, first), *around.silently_to(state)]
    raise AssertionError("the state is on no silent cycle")


def _chain(steps: list[Edge]) -> str:
    return _named(steps[0][0]) + "".join(f" --{_named(action)}--> {_named(target)}" for _, action, target in steps)


def _named(name: State) -> str:
    text = str(name)
    return text if text and text.isprintable() else repr(name)
