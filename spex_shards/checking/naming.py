"""Compares the names of states as well, for programs that report the specification's own names.

The action of a step and the name of its target are combined into one *label*. Two systems with labels instead of
actions are equivalent if they are equivalent with the same names. So verdicts and causes are found as for any systems.
Silent steps have no label: under branching bisimilarity a name is compared after a visible step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..domain.difference import one_line
from ..domain.lts import LTS
from ..domain.transition import INITIALISATION, INTERNAL, State, Transition
from .cause import Kind
from .explanation import Explanation, explain
from .graph import Equivalence
from .specified import Specified
from .wording import listed, named, shown


class Labels:
    """Two systems with labels instead of actions.

    Args:
        impl: The model.
        spec: The specification.
        kind: The equivalence.

    Attributes:
        impl, spec: The two systems with labels.
    """

    def __init__(self, impl: LTS, spec: LTS, kind: Equivalence) -> None:
        self._silent = kind is not Equivalence.STRONG
        self._labels: dict[tuple[str, str], str] = {}
        self._actions: dict[str, str] = {}
        self._kind = kind
        self.impl, self.spec = (
            LTS(lts.initial_state, [(s, self._label(a, t), t) for s, a, t in lts.transitions]) for lts in (impl, spec)
        )

    def _label(self, action: str, target: State) -> str:
        if action == INTERNAL and self._silent:
            return action
        pair = action, str(target)
        if pair not in self._labels:
            label = f"{action} to {target}"
            while label in self._actions:
                label += "'"
            self._labels[pair], self._actions[label] = label, action
        return self._labels[pair]

    def plain(self, steps: Iterable[Transition]) -> tuple[Transition, ...]:
        """Return steps with actions instead of labels."""
        return tuple(step._replace(action=self._actions.get(step.action, step.action)) for step in steps)

    def explain(self, *, violation: bool, decided: bool) -> Explanation:
        """Explain why the two systems are not equivalent if names must agree."""
        found = explain(self.impl, self.spec, self._kind, violation=violation, decided=decided)
        text = self._misnamed(found) if violation else None
        return replace(
            found,
            kind=Kind.OTHER_NAME if violation else found.kind,
            cause=self.plain(found.cause),
            step=None if found.step is None else self.plain([found.step])[0],
            runs=tuple(map(self.plain, found.runs)),
            specified=None if found.specified is None else self.plain([found.specified])[0],
            missing=self.plain(found.missing),
            extra=self.plain(found.extra),
            unseen=tuple(one._replace(action=self._actions.get(one.action, one.action)) for one in found.unseen),
            text=self._unlabelled(found.text if text is None else text),
            _trace=self.plain(found.trace),
        )

    def _unlabelled(self, text: str) -> str:
        """Return a text with actions instead of labels in its arrows."""
        for label, action in self._actions.items():
            text = text.replace(f"--[{label}]->", f"--[{one_line(action)}]->")
            text = text.replace(f"--{label}-->", f"--{one_line(action)}-->")
        return text

    def _misnamed(self, found: Explanation) -> str | None:
        """Return the text for a cause that is one step to a state with a wrong name; None for any other cause."""
        if found.kind not in (Kind.UNSPECIFIED_STEP, Kind.RENAMED_ACTION):
            return None
        step = found.cause[-1]
        action = self._actions.get(step.action, step.action)
        specified = Specified(self.spec, self._kind)
        state = self._state_before(found, specified)
        names = [t for label, t in specified.after(state) if self._actions.get(label) == action]
        if not names:
            return None
        (plain,) = self.plain([step])
        last = [line for line in found.text.splitlines() if line.startswith("Not seen yet: ")]
        return "\n".join([
            f"{shown(plain)} was seen: the specification calls this state {listed(names, 'or')}, and names must agree.",
            f"By what was seen so far, {named(plain.target)} behaves as the specification says; only the name differs.",
            f"Report {listed(names, 'or')} as the state after {named(action)}, or rename it in the specification.",
            *last,
        ])  # fmt: skip

    @staticmethod
    def _state_before(found: Explanation, specified: Specified) -> State:
        state, own = specified.given.initial_state, 0
        for step in found.runs[0][:-1]:
            own = next((end for end in specified.leads(own, step.action)), own)
            taken = specified.step(state, step.action, own, step.target)
            state = taken[-1].target if taken else state
        return state


def explain_start(start: str, spec: LTS) -> Explanation:
    """Explain that instances start in a state with another name than the specified one."""
    cause = (Transition(None, INITIALISATION, start),)
    own = named(spec.initial_state)
    sentence = f"The model starts in {named(start)}: the specification calls this state {own}, and names must agree."
    text = f"{sentence}\nStart instances in {own}, or rename it in the specification."
    return Explanation(
        kind=Kind.OTHER_NAME,
        cause=cause,
        step=cause[0],
        text=text,
        missing=(),
        extra=cause,
        runs=(cause,),
        _trace=cause,
    )
