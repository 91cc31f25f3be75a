"""Describes a deviation in sentences: the observation, whether it is specified, what the verdict means, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..checking.conformance import Verdict
from ..domain.declaration import Declaration
from ..domain.difference import one_line
from ..domain.transition import INITIALISATION, INTERNAL, Transition

_MOST_SHOWN: Final = 8

_MEANINGS: Final = {
    Verdict.EQUIVALENT: "With this step the model stays equivalent: it still does just what is specified.",
    Verdict.INCOMPLETE: (
        "With this step the model is incomplete: nothing wrong was seen, but not everything that is specified."
    ),
    Verdict.VIOLATION: "With this step the model is a violation: no later observation can repair it.",
}
_ALREADY: Final = "The model is a violation already without this step."
_ADVICE: Final = {
    Verdict.EQUIVALENT: "If it is meant, let the model learn it; else correct the program.",
    Verdict.INCOMPLETE: "Let the model learn it, and what else is missing, by learning mode or a test suite.",
    Verdict.VIOLATION: "Correct the program or the specification; spex.explain(error) names the cause.",
}


class Outline:
    """What a specification allows in each of its states, by name. Make it once: specifications may be large.

    Args:
        declaration: The specification.

    Attributes:
        declaration: The specification.
        actions: Its actions.
    """

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration
        self.actions = frozenset(declaration.actions)
        self._after: dict[str, dict[str, list[str]]] = {state: {} for state in declaration.states}
        for source, action, target in declaration.transitions:
            self._after[str(source)].setdefault(action, []).append(target)

    def has(self, state: str) -> bool:
        """Return whether the specification has a state of that name."""
        return state in self._after

    def targets(self, state: str, action: str) -> list[str]:
        """Return the states that an action leads to from a state."""
        return self._after[state].get(action, [])

    def allowed(self, state: str) -> list[str]:
        """Return the actions that are possible in a state, also after silent steps unless the equivalence is strong."""
        strong = self.declaration.equivalence == "strong"
        near = {state: None}
        todo = [] if strong else [state]
        for here in todo:  # grows while the loop runs
            new = [target for target in self.targets(here, INTERNAL) if target not in near]
            near.update(dict.fromkeys(new))
            todo += new
        return [action for here in near for action in self._after[here] if strong or action != INTERNAL]

    def ways_on(self, state: str | None) -> str:
        """Return what could have happened in a state, as the end of a sentence; nothing if that is not known."""
        if state is None or not self.has(state):
            return ""
        allowed = _listed(self.allowed(state), "or")
        return f"; the specification allows {allowed} there" if allowed else "; the specification allows nothing there"


def told(instance: str, outline: Outline, transition: Transition, verdict: Verdict, before: Verdict | None) -> str:
    """Return the description of a deviation.

    Args:
        instance: The instance's identifier as text.
        outline: The instance's specification.
        transition: The transition that the model does not have.
        verdict: The verdict on the model with that transition.
        before: The verdict on the model without it; None if that is not known.
    """
    source, action, target = transition
    if source is None:
        did = f"started in {one_line(target)} ({INITIALISATION})"
    else:
        did = f"made the step {one_line(source)} --[{one_line(action)}]-> {one_line(target)}"
    meaning = _ALREADY if before is verdict is Verdict.VIOLATION else _MEANINGS[verdict]
    return (
        f"instance {instance} of {outline.declaration.name} {did}, which its model does not know. "
        f"{_standing(outline, transition, verdict, before)} {meaning} {_ADVICE[verdict]}"
    )


def _standing(outline: Outline, transition: Transition, verdict: Verdict, before: Verdict | None) -> str:
    """Return whether a step is specified, as a sentence.

    The names of its states decide, if the specification has them; else the verdicts do.
    """
    source, action, target = transition
    if source is None:
        return _start(outline.declaration, target)
    if outline.has(source):
        return _by_name(outline, source, action, target)
    if action != INTERNAL and action not in outline.actions:
        return f"The specification has no action {one_line(action)}."
    if verdict is not Verdict.VIOLATION:
        return f"The specification has no state {one_line(source)}, but allows the step in what that stands for."
    if before in (None, Verdict.VIOLATION):
        return f"Whether the step is specified does not show, since the specification has no state {one_line(source)}."
    return "The specification does not allow the step there."


def _start(declaration: Declaration, target: str) -> str:
    if target == declaration.initial_state:
        return "That is the specification's initial state."
    if declaration.initial_state is None:
        return "The specification has no transitions."
    return f"The specification starts in {one_line(declaration.initial_state)}."


def _by_name(outline: Outline, source: str, action: str, target: str) -> str:
    targets = outline.targets(source, action)
    if target in targets:
        return "The step is specified."
    if targets:
        return f"In the specification {one_line(action)} leads from {one_line(source)} to {_listed(targets, 'or')}."
    deed = "a silent step" if action == INTERNAL else one_line(action)
    allowed = _listed(outline.allowed(source))
    if not allowed:
        return f"In {one_line(source)} the specification allows nothing, so {deed} is not allowed."
    return f"The specification does not allow {deed} in {one_line(source)}, only {allowed}."


def _listed(names: Iterable[str], word: str = "and") -> str:
    texts = [one_line(name) for name in dict.fromkeys(names)]
    if len(texts) > _MOST_SHOWN:
        texts = [*texts[: _MOST_SHOWN - 1], f"{len(texts) - _MOST_SHOWN + 1} others"]
    return f"{', '.join(texts[:-1])} {word} {texts[-1]}" if len(texts) > 1 else "".join(texts)
