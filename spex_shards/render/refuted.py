"""The steps of the report on a relation that does not hold: its counter-example's run, followed by the specification.

::

    run            new --pay--> paid --refund--> gone
    specification  {new}         {paid, owed}      {}: not allowed       the states that it may be in, after each step
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from ..checking.counterexample import Counterexample, Kind
from ..checking.ioco import QUIESCENCE
from ..checking.systems import system_of
from ..checking.weak import Weak
from ..domain.difference import one_line, shown
from ..domain.ports import inputs_among
from ..domain.specification import Specification
from ..domain.transition import INTERNAL, Transition
from ..drawing.svg import Shown

MOST_LISTED: Final = 8
"""How many states and actions a step lists."""

Step = dict[str, Any]
Nodes = frozenset[int]


class Followed:
    """The counter-example's run, and the states that the specification may be in meanwhile.

    Args:
        why: The counter-example.
        cls: The specification.
        model: The model's transitions.
    """

    def __init__(self, why: Counterexample, cls: type[Specification], model: Collection[Transition]) -> None:
        self._why = why
        self._spec = Weak(system_of(cls), collapse=False)
        self._inputs = inputs_among(cls.actions, cls.inputs, cls.outputs) or frozenset()
        end = why.run[-1].target if why.run else None
        self._starts = tuple(t for t in model if t.source is None)
        self._model = model
        self._goes_on = self._at(end)

    @property
    def refused(self) -> tuple[Transition, ...]:
        """The steps of the model that are not allowed; its initialisations, if there are several."""
        if self._why.kind is Kind.START:
            return self._starts
        return self._why.run[-1:] if self._why.kind is Kind.ACTION else ()

    @property
    def wanted(self) -> frozenset[Transition]:
        """The specification's steps of which the model would have to do one where it stops."""
        if self._why.kind is not Kind.STOP:
            return frozenset()
        return frozenset(t for t in self._allowed() if t.action not in self._goes_on)

    def steps(self, sides: dict[str, list[Shown]]) -> list[Step]:
        """Return the steps of the report, the cause first.

        Args:
            sides: What is drawn.
        """
        why, number_of = self._why, {name: {one.transition: one.number for one in sides[name]} for name in sides}
        starts = [(name, one.transition) for name in sides for one in sides[name] if one.transition.source is None]
        if why.kind is Kind.START:
            own = [("impl", t) for name, t in starts if name == "impl"]
            return [_step(why.text, number_of, own, [("impl", t.target) for _, t in own])]
        last = why.run[-1:]
        parts = starts[-1][1].target if not last else last[0].target if why.kind is Kind.STOP else str(last[0].source)
        between = self._before_last() if why.kind is Kind.CHOICE else list(map(str, why.states))
        answers = self._moves(between, why.allowed if why.kind is not Kind.CHOICE else self._at(parts))
        cause = _step(
            why.text, number_of, [*(("impl", t) for t in last), *(("spec", t) for t in answers)],
            [("impl", parts), *(("spec", state) for state in between)],
        )  # fmt: skip
        begun = ", ".join(f"the {_WORDS[name]} in {one_line(t.target)}" for name, t in starts)
        first = _step(f"Both start: {begun}.", number_of, starts, [(name, t.target) for name, t in starts])
        return [cause, first, *self._followed(number_of, str(starts[-1][1].target))]

    def _at(self, state: str | None) -> set[str]:
        """Return the actions of the model in a state."""
        return {t.action for t in self._model if t.source is not None and t.source == state}

    def _before_last(self) -> list[str]:
        """Return the specification's states after all visible actions but the last."""
        nodes: Nodes = frozenset([self._spec.start])
        for action in self._why.observed[:-1]:
            nodes = self._spec.after(nodes, action)
        return [str(state) for state in self._spec.named(nodes)]

    def _allowed(self) -> list[Transition]:
        """Return the specification's steps by the actions that it allows where the run ends."""
        return [t for state in self._why.states for t in self._moves([str(state)], self._why.allowed)]

    def _moves(self, states: Iterable[str], actions: Iterable[str]) -> list[Transition]:
        """Return the specification's steps by some actions, from some states or after their silent steps."""
        wanted, spec = set(actions), self._spec
        numbers = {str(spec.states[node][0]): node for node in range(len(spec.states))}
        near = {here for state in states if state in numbers for here in spec.near(numbers[state])}
        return [
            self._transition(here, *step) for here in sorted(near) for step in spec.steps[here] if step[0] in wanted
        ]

    def _transition(self, node: int, action: str, target: int) -> Transition:
        return Transition(str(self._spec.states[node][0]), action, str(self._spec.states[target][0]))

    def _followed(self, number_of: dict[str, dict[Transition, int]], at: str) -> list[Step]:
        """Return a step of the report for each step of the run, and for each time that the model waits."""
        nodes: Nodes = frozenset([self._spec.start])
        found: list[Step] = []
        waits = self._waits()
        for place, transition in enumerate((*self._why.run, None)):
            for _ in range(waits[place]):
                nodes = frozenset(here for node in nodes for here in self._spec.near(node) if self._may_wait(here))
                can = f"may wait in {self._listed(nodes)}" if nodes else "does not allow that"
                text = f"The implementation waits for an input; the specification {can}."
                found.append(_step(text, number_of, [], [("impl", at), *self._shown(nodes)]))
            if transition is None:
                break
            at = transition.target
            if transition.action == INTERNAL:
                text = f"The implementation does {shown(transition)}, a silent step; the specification need not move."
                found.append(_step(text, number_of, [("impl", transition)], [("impl", at), *self._shown(nodes)]))
                continue
            names = [str(self._spec.states[node][0]) for node in nodes]
            answers = [("spec", t) for t in self._moves(names, [transition.action])]
            after = self._spec.after(nodes, transition.action)
            text = (
                f"The implementation does {shown(transition)}; the specification {self._answer(nodes, place, after)}."
            )
            found.append(_step(text, number_of, [("impl", transition), *answers], [("impl", at), *self._shown(after)]))
            nodes = after
        if self._why.kind is Kind.STOP and not waits[-1]:
            can = ", ".join(map(one_line, sorted(self._goes_on))) or "nothing more"
            text = f"There the implementation was seen to do {can}; the specification allows {self._offers()}."
            found.append(_step(text, number_of, [("spec", t) for t in self._allowed()], [("impl", at)]))
        return found

    def _answer(self, nodes: Nodes, place: int, after: Nodes) -> str:
        """Return how the specification follows one step of the run."""
        why = self._why
        if not after:
            return "does not allow that"
        if why.kind is Kind.CHOICE and place == len(why.run) - 1:
            able = frozenset(node for node in nodes if why.run[place].action in self._spec.moves(node))
            if able != nodes:
                return (
                    f"can follow only if it is in {self._listed(able)}, and not if it is in "
                    f"{self._listed(nodes - able)}: it had to choose before"
                )
        return f"can follow, to {self._listed(after)}"

    def _waits(self) -> list[int]:
        """Return how often the model waits before each step of the run, and at its end."""
        found, place = [0], 0
        visible = [t.action != INTERNAL for t in self._why.run]
        for action in self._why.observed:
            while place < len(visible) and not visible[place]:  # a model that waits has no silent step left
                found.append(0)
                place += 1
            if action == QUIESCENCE:
                found[-1] += 1
            else:
                found.append(0)
                place += 1
        return found + [0] * (len(visible) - place)

    def _may_wait(self, node: int) -> bool:
        return self._spec.at_rest[node] and self._spec.menu(node) <= self._inputs

    def _offers(self) -> str:
        return _listed([action for action in self._why.allowed if action != QUIESCENCE])

    def _listed(self, nodes: Nodes) -> str:
        return _listed(str(state) for state in self._spec.named(nodes))

    def _shown(self, nodes: Nodes) -> list[tuple[str, str]]:
        return [("spec", str(state)) for state in self._spec.named(nodes)]


_WORDS: Final = {"impl": "implementation", "spec": "specification"}


def _step(
    text: str,
    number_of: dict[str, dict[Transition, int]],
    lit: Sequence[tuple[str, Transition]],
    states: Sequence[tuple[str, str]],
) -> Step:
    """Return a step of the report: its text, the transitions and the states that it speaks of."""
    light = [number_of.get(side, {}).get(transition) for side, transition in lit]
    return {
        "text": text,
        "light": [number for number in light if number is not None],
        "states": [list(state) for state in states],
    }


def _listed(names: Iterable[str]) -> str:
    shown_names = [one_line(name) for name in names]
    if len(shown_names) > MOST_LISTED:
        shown_names = [*shown_names[:MOST_LISTED], f"{len(shown_names) - MOST_LISTED:,} others"]
    return " or ".join(shown_names) if len(shown_names) < 3 else f"{', '.join(shown_names[:-1])} or {shown_names[-1]}"
