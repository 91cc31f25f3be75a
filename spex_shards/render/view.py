"""The content of the report for one model: two drawings, their transitions, and the explanation's steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ..checking.bisimulation import classes
from ..checking.conformance import Result
from ..checking.relations import RelationResult
from ..domain.difference import in_order, shown
from ..domain.frequency import Frequencies
from ..domain.impl_model import ImplModel
from ..domain.lts import LTS
from ..domain.specification import Specification
from ..domain.transition import Transition
from ..drawing.svg import Shown
from ..formats.marks import Mark
from ..review import Coverage, cover
from ..review.deviations import Deviating
from ..review.findings import meaning
from ..review.refining import MEANING
from .formats import model_of
from .refuted import Followed
from .walk import walk

_ROOT: Final = "root"
TINTS: Final = 8
"""So many tints tell classes apart, besides the number."""
MOST_DRAWN: Final = 20_000
"""The most transitions per side; a larger drawing would be unreadable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One model and its specification, ready to be drawn.

    Attributes:
        model: The model.
        specification: The class; None if it is unknown: then there is only one drawing.
        result: The verdict, or whether a relation holds.
        coverage: How much of the specification the model covers; not counted for a relation, by which it may do less.
        sides: "spec" and "impl", each with its transitions; the numbers run through both.
        classes: For each side, state → equivalence class; equivalent states of both sides have the same class.
        tints: Class → tint, for classes with two or more states.
        steps: The explanation's steps, the cause first.
        deviations: The deviations of the instances, if a data directory was given.
        frequencies: How often the model's steps were taken, if that is known.
    """

    model: ImplModel
    specification: type[Specification] | None
    result: Result | RelationResult | None
    coverage: Coverage
    sides: dict[str, list[Shown]]
    classes: dict[str, dict[str, int]]
    tints: dict[int, int]
    steps: list[dict[str, Any]]
    deviations: list[Deviating] | None = None
    frequencies: Frequencies | None = None


def view_of(
    model: ImplModel,
    specification: type[Specification] | None = None,
    result: Result | RelationResult | None = None,
    deviations: list[Deviating] | None = None,
    frequencies: Frequencies | None = None,
) -> View:
    """Return the view of a model.

    Args:
        model: The model.
        specification: The specification that the model is judged by.
        result: The verdict, or whether a relation holds; given exactly if `specification` is.
        deviations: The deviations of the model's instances.
        frequencies: How often the model's steps were taken; None: that is not known.

    Raises:
        ValueError: A side has more than `MOST_DRAWN` transitions.
    """
    size = max(len(model.transitions), 0 if specification is None else len(specification.transitions))
    if size > MOST_DRAWN:
        raise ValueError(
            f"{model.specification}: at most {MOST_DRAWN} transitions can be drawn, there are {size}; "
            "minimise the model first"
        )
    if specification is None or result is None:
        sides = {"impl": _counted([(t, "plain") for t in in_order(model.transitions)], 0, frequencies)}
        own = _classes(model, None, "branching")
        return View(
            model=model, specification=None, result=None, coverage=Coverage(), sides=sides, classes=own,
            tints=_tints(own), steps=[], deviations=deviations, frequencies=frequencies,
        )  # fmt: skip
    if isinstance(result, RelationResult):
        return _related(model, specification, result, deviations, frequencies)
    coverage = cover(model, specification.declaration, result)
    spec = in_order(model_of(specification).transitions)
    extra = deviating(coverage, result)
    numbered = _numbered([(t, "missing" if t in coverage.missing else "shown") for t in spec], 0)
    impl = [(t, "extra" if t in extra else "shown") for t in in_order(model.transitions)]
    sides = {"spec": numbered, "impl": _counted(impl, len(numbered), frequencies)}
    both = _classes(model, specification, specification.equivalence)
    return View(
        model=model, specification=specification, result=result, coverage=coverage, sides=sides, classes=both,
        tints=_tints(both), steps=_steps(result, sides), deviations=deviations, frequencies=frequencies,
    )  # fmt: skip


def _related(
    model: ImplModel,
    cls: type[Specification],
    result: RelationResult,
    deviations: list[Deviating] | None,
    frequencies: Frequencies | None,
) -> View:
    """Return the view of a model by a relation: what it does not do is marked only where that counts."""
    why = result.counterexample
    followed = None if why is None else Followed(why, cls, model.transitions)
    extra, missing = (frozenset(followed.refused), followed.wanted) if followed else (frozenset(), frozenset())
    spec = in_order(model_of(cls).transitions)
    numbered = _numbered([(t, "missing" if t in missing else "plain") for t in spec], 0)
    impl = [(t, "extra" if t in extra else "shown") for t in in_order(model.transitions)]
    sides = {"spec": numbered, "impl": _counted(impl, len(numbered), frequencies)}
    both = _classes(model, cls, cls.equivalence)
    return View(
        model=model, specification=cls, result=result, coverage=Coverage(), sides=sides, classes=both,
        tints=_tints(both), steps=followed.steps(sides) if followed else [], deviations=deviations,
        frequencies=frequencies,
    )  # fmt: skip


def deviating(coverage: Coverage, result: Result) -> set[Transition]:
    """Return the model's transitions that nothing in the specification matches, and the one that is blamed."""
    extra = set(coverage.unexplained)
    if result.explanation is not None:
        blamed = result.explanation.step
        extra |= {*result.explanation.extra, *(result.explanation.cause[-1:] if blamed is None else (blamed,))}
    return extra


def marks_of(
    model: ImplModel, specification: type[Specification], result: Result | RelationResult
) -> dict[Transition, Mark]:
    """Return what is marked in a drawing of a model alone, where what is missing has to be drawn beside it.

    A specified state stands at the model's state of the same name, or else at the one that stands for it alone.
    """
    if isinstance(result, RelationResult):
        return dict(result.told()[1])
    coverage = cover(model, specification.declaration, result)
    own = {state for t in model.transitions for state in (t.source, t.target)}
    called: dict[str, str] = {}
    for state, meant in coverage.met.items():
        if len(meant) == 1 and meant[0] not in own:
            called.setdefault(meant[0], state)
    marks = dict.fromkeys(
        (
            Transition(t.source and called.get(t.source, t.source), t.action, called.get(t.target, t.target))
            for t in coverage.missing
        ),
        Mark.MISSING,
    )
    for transition in model.transitions & marks.keys():
        del marks[transition]
    return marks | dict.fromkeys(deviating(coverage, result), Mark.DEVIATING)


def _numbered(transitions: Iterable[tuple[Transition, str]], first: int) -> list[Shown]:
    return [Shown(first + number, transition, kind) for number, (transition, kind) in enumerate(transitions)]


def _counted(
    transitions: Iterable[tuple[Transition, str]], first: int, frequencies: Frequencies | None
) -> list[Shown]:  # fmt: skip
    numbered = _numbered(transitions, first)
    if frequencies is None:
        return numbered
    return [replace(one, count=frequencies.taken.get(one.transition, 0)) for one in numbered]


def _classes(
    model: ImplModel, specification: type[Specification] | None, equivalence: str
) -> dict[str, dict[str, int]]:
    """Return the equivalence classes of both sides' states; a model without exactly one initial state has none."""
    systems = {"impl": (model.initialisations, model.transitions)}
    if specification is not None and specification.initial_state is not None:
        systems["spec"] = ((specification.initial_state,), frozenset(specification.transitions))
    steps: list[tuple[str, str, str]] = []
    for side, (starts, transitions) in systems.items():
        if len(starts) == 1:
            steps.append((_ROOT, side, f"{side}:{starts[0]}"))
            steps += [
                (f"{side}:{t.source}", t.action, f"{side}:{t.target}")
                for t in in_order(transitions)
                if t.source is not None
            ]
    found: dict[str, dict[str, int]] = {"impl": {}, "spec": {}}
    for state, number in classes(LTS(_ROOT, steps), equivalence).items():
        side, colon, name = str(state).partition(":")
        if colon:
            found[side][name] = number
    return _numbered_by_size(found)


def _numbered_by_size(both: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Number the classes from 1, those with two or more states first."""
    sizes = Counter(number for states in both.values() for number in states.values())
    order = sorted(sizes, key=lambda number: (sizes[number] < 2, number))
    fresh = {number: at for at, number in enumerate(order, 1)}
    return {side: {state: fresh[number] for state, number in states.items()} for side, states in both.items()}


def _tints(both: dict[str, dict[str, int]]) -> dict[int, int]:
    sizes = Counter(number for states in both.values() for number in states.values())
    return {number: number % TINTS for number, size in sorted(sizes.items()) if size > 1}


def _steps(result: Result, sides: dict[str, list[Shown]]) -> list[dict[str, Any]]:
    explanation = result.explanation
    if explanation is None:
        return []
    number_of = {name: {one.transition: one.number for one in listed} for name, listed in sides.items()}
    side = "impl" if explanation.violation else "spec"
    runs = explanation.runs if explanation.violation else (explanation.trace,)
    steps = [step for number, run in enumerate(runs) for step in _told(run, side, sides, number_of, again=number > 0)]
    blamed = [*(("impl", t) for t in explanation.cause), *(("impl", t) for t in explanation.extra)]
    lit = [number_of[name].get(t) for name, t in blamed or [("spec", t) for t in explanation.missing]]
    # The cause comes first; the runs below it show how it comes to that.
    states = steps[-2]["states"] if len(steps) > 1 else []
    cause = {"text": explanation.text, "light": [number for number in lit if number is not None], "states": states}
    return [cause, *steps]


def _told(
    run: Sequence[Transition], side: str, sides: dict[str, list[Shown]], number_of: dict[str, dict[Transition, int]],
    *, again: bool,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the steps of one run, with the other side's answers."""
    words = {"impl": "implementation", "spec": "specification"}
    other = "spec" if side == "impl" else "impl"
    lacks = "does not allow that" if side == "impl" else "was not seen to do that"
    starts = {name: [one for one in listed if one.transition.source is None] for name, listed in sides.items()}
    first = starts[other][0].transition.target if len(starts[other]) == 1 else None
    begun = ", ".join(
        f"the {words[name]} in {listed[0].transition.target}" for name, listed in starts.items() if listed
    )
    steps: list[dict[str, Any]] = [
        {
            "text": f"Another run. Both start: {begun}" if again else f"Both start: {begun}",
            "light": [one.number for listed in starts.values() for one in listed],
            "states": [[name, one.transition.target] for name, listed in starts.items() for one in listed],
        }
    ]
    for step in walk(run, [one.transition for one in sides[other]], first):
        answers = ", ".join(map(shown, step.answer)) or ("nothing, which is enough" if step.answered else lacks)
        lit = [number_of[side].get(step.transition), *(number_of[other].get(t) for t in step.answer)]
        target = [[other, step.answer[-1].target]] if step.answer else []
        steps.append({
            "text": f"The {words[side]} does {shown(step.transition)}; the {words[other]}: {answers}.",
            "light": [number for number in lit if number is not None],
            "states": [[side, step.transition.target], *target],
        })  # fmt: skip
    return steps


def headline(view: View) -> str:
    """Return the verdict in one line."""
    if view.result is None:
        return "no specification is known: the model alone"
    if isinstance(view.result, RelationResult):
        return f"{view.result.relation}: {view.result.verdict}: {MEANING[view.result.verdict]}"
    return f"{view.result.verdict.value}: {meaning(view.result)}"
