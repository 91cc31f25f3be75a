"""Counter-examples: why a relation does not hold, as a run, the actions that were allowed instead, and a sentence.

::

    inclusion, ioco ──▶ run ───────────────────┐
    simulation ──▶ refutation ──▶ formula, run ┴─▶ sentence ──▶ confirm (the systems as given, other code)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from ..domain.difference import one_line
from ..domain.transition import INTERNAL, State, Transition
from .formula import TRUE, Formula, Rests, WeakStep, conjunction
from .inclusion import Edge, Refusal
from .ioco import QUIESCENCE
from .simulation import Duty, Pair, Refutation
from .weak import Weak

MOST_SHOWN: Final = 8
"""How many steps of a run, states and actions a text shows."""


class Kind(StrEnum):
    """The kinds of counter-examples: what is wrong at the end of the run."""

    ACTION = "action"
    """Its last step is not allowed."""
    CHOICE = "choice"
    """Each step is allowed, but no single state of the specification allows all that can follow."""
    STOP = "stop"
    """The model stops, or waits, where the specification does not."""
    START = "start"
    """The model has no initialisation, or more than one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counterexample:
    """Why a relation does not hold.

    Attributes:
        kind: What is wrong.
        run: A run of the model from its initial state. ACTION: its last step is not allowed. STOP: the model stops
            after it. CHOICE: it leads to where one of the specification's choices fails.
        observed: The visible actions of the run, and "__quiescence__" where ioco observed that the model waits.
        states: The states that the specification may be in before the last of `observed`.
        allowed: The actions that it allows there, sorted; with "__quiescence__" if it may wait.
        formula: A formula that the model satisfies and the specification does not; None for ioco. It has no negation,
            so that every system which follows the model satisfies it as well.
        text: The explanation as a sentence.
    """

    kind: Kind
    run: tuple[Transition, ...]
    observed: tuple[str, ...]
    states: tuple[State, ...]
    allowed: tuple[str, ...]
    formula: Formula | None
    text: str

    def __str__(self) -> str:
        return self.text


def of_refusal(spec: Weak, refusal: Refusal, inputs: frozenset[str] | None = None) -> Counterexample:
    """Return the counter-example for a run that is not allowed; `inputs` for ioco only."""
    run, near = refusal.run, {here for node in refusal.nodes for here in spec.near(node)}
    visible = tuple(action for _, action, _ in run if action != INTERNAL)
    can = tuple(action for action in spec.possible(refusal.nodes) if inputs is None or action not in inputs)
    before = run if refusal.waits else run[:-1]
    since = "after the same actions" if any(action != INTERNAL for _, action, _ in before) else "at its start"
    where = f"{since} it is in {_listed(spec.named(refusal.nodes), 'or')}"
    if refusal.waits:
        text = f"{_after(before)} your implementation waits without an output; the specification does not allow that: "
        text += f"{where}, where it must do {_listed(can, 'or')}."
    else:
        text = f"{_after(before)} your implementation can do {one_line(run[-1][1])} ({chain(run[-1:])}); the "
        only = _only(can, "possible" if inputs is None else "an output")
        text += f"specification does not allow that: {where}, where {only}."
    if inputs is not None and any(spec.at_rest[node] and spec.menu(node) <= inputs for node in near):
        can = tuple(sorted((*can, QUIESCENCE)))
    formula: Formula | None = None
    if inputs is None:
        formula = TRUE
        for action in reversed(visible):
            formula = WeakStep(TRUE, action, formula)
    return Counterexample(
        kind=Kind.STOP if refusal.waits else Kind.ACTION,
        run=_transitions(run), observed=refusal.labels if inputs is not None else visible,
        states=spec.named(refusal.nodes), allowed=can, formula=formula, text=text,
    )  # fmt: skip


def of_refutation(impl: Weak, spec: Weak, found: Refutation) -> Counterexample:
    """Return the counter-example for a refutation: its longest line, and what the other choices lack."""
    teller = _Teller(impl, spec, found)
    line = teller.line((impl.start, spec.start))
    run = [teller.edge(duty) for duty in line if duty.action is not None]
    last = line[-1]
    kind = Kind.STOP if last.action is None else Kind.CHOICE
    if all(len(duty.answers) < 2 for duty in line) and last.action is not None:
        kind = Kind.ACTION
    return Counterexample(
        kind=kind, run=_transitions(run),
        observed=tuple(action for _, action, _ in run if action != INTERNAL),
        states=spec.named([last.pair[1]]), allowed=spec.possible([last.pair[1]]),
        formula=_formula((impl.start, spec.start), found.reasons), text=teller.text(line),
    )  # fmt: skip


def of_starts(states: tuple[str, ...]) -> Counterexample:
    """Return the counter-example for a model without initialisation, or with several, in `states`."""
    text = "The model has no initialisation: no instance was seen to start, so nothing in it can be reached."
    if states:
        entered = _listed(states, "and")
        text = f"The model has {len(states)} different initialisations, in {entered}; a specification has one."
    return Counterexample(kind=Kind.START, run=(), observed=(), states=(), allowed=(), formula=None, text=text)


class _Teller:
    """Describes a refutation in words: one line of it in full, and each other one by a few words."""

    def __init__(self, impl: Weak, spec: Weak, found: Refutation) -> None:
        self._impl, self._spec, self._found = impl, spec, found

    def line(self, pair: Pair) -> list[Duty]:
        """Return duties that fail one after the other, if the specification always gives the answer that fails last."""
        duties = [self._found.reasons[pair]]
        while duties[-1].answers:
            resists = max(duties[-1].answers, key=self._found.ranks.__getitem__)
            duties.append(self._found.reasons[resists])
        return duties

    def edge(self, duty: Duty) -> Edge:
        """Return the step of the model that a duty must answer."""
        return self._impl.states[duty.pair[0]][0], str(duty.action), self._impl.states[duty.target][0]

    def text(self, line: list[Duty]) -> str:
        """Return a sentence that says where the specification has a choice, and what each alternative lacks."""
        at = next((number for number, duty in enumerate(line) if len(duty.answers) > 1), len(line) - 1)
        duty = line[at]
        run = [self.edge(before) for before in line[: at + 1] if before.action is not None]
        if len(duty.answers) < 2:
            place = one_line(str(self._spec.states[duty.pair[1]][0]))
            lacks = self._lack(line[-1:]) + ("" if duty.action is None else ", and your implementation can")
            return f"{_after(run if duty.action is None else run[:-1])} the specification, in state {place}, {lacks}."
        state = one_line(str(self._impl.states[duty.target][0]))
        ways = [
            f"in {one_line(str(self._spec.states[answer[1]][0]))} it {self._lack(self.line(answer))}"
            for answer in duty.answers[:MOST_SHOWN]
        ]
        more = len(duty.answers) - MOST_SHOWN
        ways += [f"and {more:,} more states"] if more > 0 else []
        return (
            f"{_after(run)} no state that the specification can be in matches your implementation, "
            f"which is in {state}: {'; '.join(ways)}."
        )

    def _lack(self, line: list[Duty]) -> str:
        done = [duty.action for duty in line[:-1] if duty.action not in (None, INTERNAL)]
        after = f" after {_listed(done, 'and')}" if done else ""
        last = line[-1]
        if last.action is not None:
            return f"cannot do {one_line(last.action)}{after}"
        menu = self._impl.menu(last.pair[0])
        menus = dict.fromkeys(self._spec.menu(here) for here in self._spec.resting(last.pair[1]))
        offers = " or ".join(_listed(sorted(own), "and") if own else "nothing" for own in [*menus][:MOST_SHOWN])
        stops = f"can do {_listed(sorted(menu), 'and')} only" if menu else "was seen to do nothing more"
        return f"goes on by {offers}{after}, where your implementation {stops}"


def _formula(first: Pair, reasons: dict[Pair, Duty]) -> Formula:
    """Return a formula for a refutation, which holds in the model's state of a pair and not in the specification's."""
    made: dict[Pair, Formula] = {}
    todo = [first]
    while todo:
        pair = todo[-1]
        duty = reasons[pair]
        missing = [answer for answer in duty.answers if answer not in made]
        if missing and pair not in made:
            todo += missing
            continue
        todo.pop()
        then = conjunction(made[answer] for answer in duty.answers)
        if duty.action == INTERNAL:
            made[pair] = then  # it begins with silent steps itself
        elif duty.action is None:
            made[pair] = Rests(duty.menu, then)
        else:
            made[pair] = WeakStep(TRUE, duty.action, then)
    return made[first]


def _transitions(run: Any) -> tuple[Transition, ...]:
    return tuple(Transition(*step) for step in run)


def _after(run: Any) -> str:
    steps = list(run)
    return f"After {chain(steps)}" if steps else "At the start"


def chain(steps: Any) -> str:
    """Return a run of at least one step as text, the middle of a long one left out."""
    if len(steps) > MOST_SHOWN:
        half = MOST_SHOWN // 2
        left_out = len(steps) - 2 * half
        return f"{chain(steps[:half])} ... {left_out:,} more steps ... {chain(steps[-half:])}"
    first = one_line(str(steps[0][0]))
    return first + "".join(f" --{_shown(action)}--> {one_line(str(target))}" for _, action, target in steps)


def _shown(action: str) -> str:
    return "(silent)" if action == INTERNAL else one_line(action)


def _only(actions: tuple[str, ...], what: str) -> str:
    if not actions:
        return f"nothing is {what}"
    return f"only {_listed(actions, 'and')} {'is' if len(actions) == 1 else 'are'} {what}"


def _listed(names: Any, word: str) -> str:
    shown = [one_line(str(name)) for name in names]
    if len(shown) > MOST_SHOWN:
        shown = [*shown[:MOST_SHOWN], f"{len(shown) - MOST_SHOWN:,} others"]
    if len(shown) < 2:
        return shown[0] if shown else "nothing"
    return f"{', '.join(shown[:-1])} {word} {shown[-1]}"
