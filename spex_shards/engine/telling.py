"""A deviation in sentences: what was observed, whether it is specified, what the verdict means, and what to do."""

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


def told(
    instance: str, declaration: Declaration, transition: Transition, verdict: Verdict, before: Verdict | None
) -> str:
    """Say what a deviation is.

    Args:
        instance: The instance's identifier as text.
        declaration: Its specification.
        transition: What it did, which the model does not know.
        verdict: What the model is with it.
        before: What the model is without it, None if that is not known.
    """
    source, action, target = transition
    if source is None:
        did = f"started in {one_line(target)} ({INITIALISATION})"
    else:
        did = f"made the step {one_line(source)} --[{one_line(action)}]-> {one_line(target)}"
    meaning = _ALREADY if before is verdict is Verdict.VIOLATION else _MEANINGS[verdict]
    return (
        f"instance {instance} of {declaration.name} {did}, which its model does not know. "
        f"{_standing(declaration, transition, verdict, before)} {meaning} {_ADVICE[verdict]}"
    )


def _standing(declaration: Declaration, transition: Transition, verdict: Verdict, before: Verdict | None) -> str:
    """Say whether a step is specified: by the names of its states if the specification has them, else by the verdict."""
    source, action, target = transition
    if source is None:
        return _start(declaration, target)
    if transition in declaration.transitions:
        return "The step is specified."
    if source in declaration.states:
        return _by_name(declaration, source, action)
    if action != INTERNAL and action not in declaration.actions:
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


def _by_name(declaration: Declaration, source: str, action: str) -> str:
    targets = [t.target for t in declaration.transitions if t.source == source and t.action == action]
    if targets:
        return f"In the specification {one_line(action)} leads from {one_line(source)} to {_listed(targets, 'or')}."
    near = [source]
    for state in near:  # grows while it is gone through
        near += [
            t.target
            for t in declaration.transitions
            if t.source == state and t.action == INTERNAL and t.target not in near
        ]
    allowed = [t.action for state in near for t in declaration.transitions if t.source == state]
    if declaration.equivalence != "strong":
        allowed = [one for one in allowed if one != INTERNAL]
    deed = "a silent step" if action == INTERNAL else one_line(action)
    return f"The specification does not allow {deed} in {one_line(source)}, only {_listed(allowed) or 'nothing'}."


def _listed(names: Iterable[str], word: str = "and") -> str:
    texts = [one_line(name) for name in dict.fromkeys(names)]
    if len(texts) > _MOST_SHOWN:
        texts = [*texts[: _MOST_SHOWN - 1], f"{len(texts) - _MOST_SHOWN + 1} others"]
    return f"{', '.join(texts[:-1])} {word} {texts[-1]}" if len(texts) > 1 else "".join(texts)
